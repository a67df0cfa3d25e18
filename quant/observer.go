package quant

import (
	"iter"
	"math"
	"sync"

	"eisft/quant/encoding"
)

// Observer collects the statistics of one tensor: its range, and a histogram of
// its magnitudes, those of positive and negative numbers apart. A bin holds the numbers with the same exponent and the same
// first seven bits of mantissa (0.8 % apart at most), so that no bin ever has to
// be moved and the order of what is seen does not matter. Bins come in pages of
// one sign and exponent: at most 516 KB, usually 60. Several goroutines may observe.
type Observer struct {
	Min, Max float32
	Count    uint64
	// LeastMax is the least of the largest values of what was observed at once: of scores,
	// of which each query's are, the smallest maximum of a softmax.
	LeastMax float32
	mutex    sync.Mutex
	pages    [2][256]*[binsPerPage]uint64 // by sign and exponent
}

const (
	pageBits    = 7
	binsPerPage = 1 << pageBits
	binShift    = 23 - pageBits // bits of the mantissa that a bin leaves out
)

// Observe takes up values.
func (o *Observer) Observe(x []float32) {
	if len(x) == 0 {
		return
	}
	o.mutex.Lock()
	defer o.mutex.Unlock()
	least, most := x[0], x[0]
	for _, v := range x {
		if v < least {
			least = v
		}
		if v > most {
			most = v
		}
		bits := math.Float32bits(v)
		b := bits &^ (1 << 31) >> binShift
		page := &o.pages[bits>>31][b>>pageBits]
		if *page == nil {
			*page = new([binsPerPage]uint64)
		}
		(*page)[b%binsPerPage]++
	}
	if o.Count == 0 {
		o.Min, o.Max, o.LeastMax = least, most, most
	}
	o.Min, o.Max, o.LeastMax = min(o.Min, least), max(o.Max, most), min(o.LeastMax, most)
	o.Count += uint64(len(x))
}

// MaxAbs returns the largest magnitude.
func (o *Observer) MaxAbs() float32 { return max(o.Max, -o.Min) }

// finite says whether neither NaN nor infinity was seen.
func (o *Observer) finite() bool { return o.pages[0][255] == nil && o.pages[1][255] == nil }

// bin is one filled bin: n values with magnitudes in [lo,hi), at about mid; so many of
// them are negative.
type bin struct {
	lo, mid, hi float64
	n, negative uint64
}

// bins lists the filled bins, smallest magnitudes first.
func (o *Observer) bins() iter.Seq[bin] {
	return func(yield func(bin) bool) {
		for i := 0; i < 256*binsPerPage; i++ {
			if o.pages[0][i>>pageBits] == nil && o.pages[1][i>>pageBits] == nil {
				i += binsPerPage - 1
				continue
			}
			b := bin{lo: edge(i), hi: edge(i + 1), n: o.count(0, i) + o.count(1, i), negative: o.count(1, i)}
			b.hi = min(b.hi, float64(o.MaxAbs()))
			b.mid = (b.lo + b.hi) / 2
			if b.n > 0 && !yield(b) {
				return
			}
		}
	}
}

// count returns the values of a sign (1: negative) in the bin b.
func (o *Observer) count(sign, b int) uint64 {
	if page := o.pages[sign][b>>pageBits]; page != nil {
		return page[b%binsPerPage]
	}
	return 0
}

// edge is the smallest magnitude of a bin.
func edge(b int) float64 { return float64(math.Float32frombits(uint32(b) << binShift)) }

// clipped returns the share of values beyond the codes of an encoding.
func (o *Observer) clipped(e encoding.Encoding) float64 {
	n := uint64(0)
	for b := range o.bins() {
		if e.Saturates(b.lo, 0) {
			n += b.n - b.negative
		}
		if e.Saturates(-b.lo, 0) {
			n += b.negative
		}
	}
	return float64(n) / float64(o.Count)
}

// noise estimates the sum of squares of what was seen, and of the error that an
// encoding makes of it: x² where x rounds to zero, a uniform rounding error's
// step²/12 within reach, and the distance to its end beyond it.
func (o *Observer) noise(e encoding.Encoding) (signal, noise float64) {
	step := float64(e.Scales[0])
	lo, hi := e.Reach(0)
	square := func(x float64) float64 {
		switch {
		case math.Abs(x) < step/2:
			return x * x
		case x < lo:
			return (x - lo) * (x - lo)
		case x > hi:
			return (x - hi) * (x - hi)
		default:
			return step * step / 12
		}
	}
	for b := range o.bins() {
		signal += float64(b.n) * (b.mid * b.mid)
		if lo == -hi { // both signs have the same error
			noise += float64(b.n) * square(b.mid)
			continue
		}
		noise += float64(b.n-b.negative)*square(b.mid) + float64(b.negative)*square(-b.mid)
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
	for p := 1; p < 256; p++ {
		n := uint64(0)
		for i := range binsPerPage {
			n += o.count(0, p<<pageBits+i) + o.count(1, p<<pageBits+i)
		}
		if n > 0 {
			out = append(out, Octave{p - 127, n})
		}
	}
	return out
}
