package quant

import (
	"iter"
	"math"
	"sync"
)

// Observer collects the statistics of one tensor: its range, and a histogram of
// its magnitudes. A bin holds the numbers with the same exponent and the same
// first seven bits of mantissa (0.8 % apart at most), so that no bin ever has to
// be moved and the order of what is seen does not matter. Bins come in pages of
// one exponent: at most 258 KB, usually 30. Several goroutines may observe.
type Observer struct {
	Min, Max float32
	Count    uint64
	mutex    sync.Mutex
	pages    [256]*[binsPerPage]uint64
}

const (
	pageBits    = 7
	binsPerPage = 1 << pageBits
	binShift    = 23 - pageBits // bits of the mantissa that a bin leaves out
)

// Observe takes up values.
func (o *Observer) Observe(x []float32) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if o.Count == 0 && len(x) > 0 {
		o.Min, o.Max = x[0], x[0]
	}
	o.Count += uint64(len(x))
	for _, v := range x {
		if v < o.Min {
			o.Min = v
		}
		if v > o.Max {
			o.Max = v
		}
		b := math.Float32bits(v) &^ (1 << 31) >> binShift
		page := &o.pages[b>>pageBits]
		if *page == nil {
			*page = new([binsPerPage]uint64)
		}
		(*page)[b%binsPerPage]++
	}
}

// MaxAbs returns the largest magnitude.
func (o *Observer) MaxAbs() float32 { return max(o.Max, -o.Min) }

// finite says whether neither NaN nor infinity was seen.
func (o *Observer) finite() bool { return o.pages[255] == nil }

// bin is one filled bin: n values with magnitudes in [lo,hi), at about mid.
type bin struct {
	lo, mid, hi float64
	n           uint64
}

// bins lists the filled bins, smallest magnitudes first.
func (o *Observer) bins() iter.Seq[bin] {
	return func(yield func(bin) bool) {
		for p, page := range o.pages {
			if page == nil {
				continue
			}
			for i, n := range page {
				if n == 0 {
					continue
				}
				b := bin{lo: edge(p<<pageBits + i), hi: edge(p<<pageBits + i + 1), n: n}
				b.hi = min(b.hi, float64(o.MaxAbs()))
				b.mid = (b.lo + b.hi) / 2
				if !yield(b) {
					return
				}
			}
		}
	}
}

// edge is the smallest magnitude of a bin.
func edge(b int) float64 { return float64(math.Float32frombits(uint32(b) << binShift)) }

// clipped returns the share of values beyond the last code of an encoding.
func (o *Observer) clipped(e Encoding) float64 {
	n := uint64(0)
	for b := range o.bins() {
		if e.saturates(b.lo) {
			n += b.n
		}
	}
	return float64(n) / float64(o.Count)
}

// noise estimates the sum of squares of what was seen, and of the error that an
// encoding makes of it: x² where x rounds to zero, a uniform rounding error's
// step²/12 up to the bound, and the distance to the bound beyond it.
func (o *Observer) noise(e Encoding) (signal, noise float64) {
	step, bound := float64(e.Scale), e.bound()
	for b := range o.bins() {
		n, square := float64(b.n), b.mid*b.mid
		signal += n * square
		switch {
		case b.mid < step/2:
			noise += n * square
		case b.mid <= bound:
			noise += n * step * step / 12
		default:
			noise += n * (b.mid - bound) * (b.mid - bound)
		}
	}
	return signal, noise
}

// Octave counts the magnitudes in [2^Exponent, 2^(Exponent+1)).
type Octave struct {
	Exponent int    `json:"exponent"`
	Count    uint64 `json:"count"`
}

// octaves is the histogram by powers of two; zeros are left out.
func (o *Observer) octaves() []Octave {
	var out []Octave
	for p, page := range o.pages {
		if page == nil || p == 0 {
			continue
		}
		n := uint64(0)
		for _, c := range page {
			n += c
		}
		out = append(out, Octave{p - 127, n})
	}
	return out
}
