package quant

import (
	"fmt"
	"math"
	"slices"

	"eisft/internal/ranks"
	"eisft/internal/scratch"
	"eisft/model/kernels"
	"eisft/quant/encoding"
)

// want is what of a Hessian a rule looks at.
type want int

const (
	wantNone   want = iota
	wantBlocks      // of the inputs that share a scale, alone
	wantUpper       // the half of all that tells the rest
	wantAll
)

// Hessian is XᵀX [In,In] of the inputs X [tokens,In] of one map or more that read the same
// tensor: half the second derivative of the squared error of an output, by the weights of
// its row.
type Hessian struct {
	In     int
	Tokens int
	Block  int       // if not 0, only blocks of so many inputs on the diagonal are known
	Upper  bool      // of each panel of rows, what lies left of its first input is not kept
	Values []float32 // [In,In]; the blocks one after the other, [In,Block]; or the panels

	group ranks.Group // which have a part of the panels each, until they meet
}

// sized gives a Hessian its shape, what a rule wants of it, and zeros in the memory of values.
func sized(in int, most want, block int, values []float32, g ranks.Group) *Hessian {
	h := &Hessian{In: in, Upper: most == wantUpper, group: g}
	n := in * in
	switch {
	case most == wantBlocks:
		h.Block, n = block, in*block
	case h.Upper:
		n = before(in, (in+panel-1)/panel)
	}
	h.Values = slices.Grow(values[:0], n)[:n]
	clear(h.Values)
	return h
}

// before returns how many values lie in the first panels of an upper half, at most in².
func before(in, panels int) int {
	n := 0
	for p := range panels {
		n += min(panel, in-p*panel) * (in - p*panel)
	}
	return n
}

// at returns the matrix whose diagonal begins with input i, which must be the first of its
// block if there are blocks, and the length of its rows in memory.
func (h *Hessian) at(i int) (values []float32, stride int) {
	switch {
	case h.Block > 0:
		return h.Values[i*h.Block:], h.Block
	case h.Upper:
		first := i / panel * panel
		stride = h.In - first
		return h.Values[before(h.In, i/panel)+(i-first)*(stride+1):], stride
	}
	return h.Values[i*h.In+i:], h.In
}

// panel is how many rows of a product are computed at once where half of a symmetric
// matrix is enough.
const panel = 256

// add takes up inputs x [n,In]. Of several ranks each multiplies for its panels alone, and all for blocks, which
// are little work.
func (h *Hessian) add(x []float32) {
	n := len(x) / h.In
	h.Tokens += n
	if h.Block > 0 {
		kernels.Each(h.In/h.Block, func(b int) {
			at := b * h.Block
			values, stride := h.at(at)
			kernels.GemmSerial(true, false, h.Block, h.Block, n, 1, x[at:], h.In, x[at:], h.In, 1, values, stride)
		})
		return
	}
	for at := 0; at < h.In; at += panel {
		if !mine(h.group, at/panel) {
			continue
		}
		rows := min(panel, h.In-at)
		values, stride := h.at(at)
		kernels.Gemm(true, false, rows, h.In-at, n, 1, x[at:], h.In, x[at:], h.In, 1, values, stride)
	}
}

// meet gives all ranks the panels of each.
func (h *Hessian) meet() error {
	if h.Block > 0 {
		return nil
	}
	size := h.group.Size()
	for at := 0; at < h.In; at += size * panel {
		parts := make([][]float32, size)
		for i := range parts {
			if first := at + i*panel; first < h.In {
				parts[i] = h.panel(first)
			}
		}
		if err := everyone(h.group, parts); err != nil {
			return err
		}
	}
	return nil
}

// panel returns the rows that begin with input i, the first of a panel, in whatever way they are kept.
func (h *Hessian) panel(i int) []float32 {
	rows := min(panel, h.In-i)
	if h.Upper {
		return h.Values[before(h.In, i/panel):][:rows*(h.In-i)]
	}
	return h.Values[i*h.In:][:rows*h.In]
}

// finish fills in what lies below the diagonal, and reports inputs that are no numbers.
func (h *Hessian) finish(name string) error {
	if i := h.broken(); i >= 0 {
		return fmt.Errorf("input %d of %s holds NaN or infinity on these samples, or numbers whose squares do", i, name)
	}
	if h.Block > 0 || h.Upper {
		return nil
	}
	for r := range h.In {
		for c := range r / panel * panel {
			h.Values[r*h.In+c] = h.Values[c*h.In+r]
		}
	}
	return nil
}

// broken returns the first input whose square is no number, -1 if there is none.
func (h *Hessian) broken() int {
	for i := range h.In {
		first := i
		if h.Block > 0 {
			first = i / h.Block * h.Block
		}
		values, stride := h.at(first)
		if v := float64(values[(i-first)*(stride+1)]); math.IsNaN(v) || math.IsInf(v, 0) {
			return i
		}
	}
	return -1
}

// errors measures what the differences d [rows,In] between weights and what they are
// rounded to do to the outputs: of each row, or of each block of it with its own scale, the
// sum dHdᵀ of the squared errors over the tokens. A block is measured alone, as if the rest
// of its row were not rounded.
func (h *Hessian) errors(sum []float64, d []float32, e encoding.Encoding) {
	in, rows := h.In, len(d)/h.In
	y := scratch.Borrow(len(d))
	defer scratch.Release(y)
	block := e.Block
	if block == 0 {
		block = in
		h.halves(y, d)
	} else {
		kernels.Each(in/block, func(b int) {
			at := b * block
			values, stride := h.at(at)
			kernels.GemmSerial(false, false, rows, block, block, 1, d[at:], in, values, stride, 0, y[at:], in)
		})
	}
	blocks := in / block
	kernels.Parallel(rows, max(1, 1<<14/in), func(lo, hi int) {
		for i := lo * blocks; i < hi*blocks; i++ {
			sum[i] = dot64(d[i*block:(i+1)*block], y[i*block:(i+1)*block])
		}
	})
}

// halves writes y = d·h, with 2h for what lies right of the blocks of the diagonal and nothing
// for what lies left of them: y·d is the same, in half the time.
func (h *Hessian) halves(y, d []float32) {
	in, rows, add := h.In, len(d)/h.In, float32(0)
	for at := 0; at < in; at += panel {
		values, stride := h.at(at)
		n := min(panel, in-at)
		kernels.Gemm(false, false, rows, n, n, 1, d[at:], in, values, stride, add, y[at:], in)
		if next := at + n; next < in {
			kernels.Gemm(false, false, rows, in-next, n, 2, d[at:], in, values[n:], stride, add, y[next:], in)
		}
		add = 1
	}
}

// dot64 is the sum of products, in float64.
func dot64(a, b []float32) float64 {
	sum := 0.0
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return sum
}
