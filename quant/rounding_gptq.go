package quant

import (
	"cmp"
	"fmt"
	"slices"

	"eisft/internal/scratch"
	"eisft/model/kernels"
	"eisft/quant/encoding"
)

// RoundGPTQ rounds the weights of one input after the other and lets those of the inputs
// that follow make up for what this does to the output (GPTQ, arXiv 2210.17323, algorithm
// 1): with H = XᵀX + λI, λ the damping times the mean of the diagonal, and U the upper
// Cholesky factor of H⁻¹, column i's error (w-ŵ)/U_ii times U_i,j is taken from every later
// column j. Scales come first, from the rule that gptq.scales names, so that they may serve
// blocks in any order of the inputs (as with the reference's static_groups).
const RoundGPTQ = "gptq"

// The defaults of GPTQ's keys, those of its reference.
const (
	defaultGPTQBlock = 128
	defaultDamping   = 0.01
)

func gptqWants(*Recipe, encoding.Format) want { return wantAll }

func gptqScales(r *Recipe, m *Map) (encoding.Encoding, error) {
	rule, err := scaleRules.Find(cmp.Or(r.GPTQ.Scales, RoundSeqMSE))
	if err != nil {
		return encoding.Encoding{}, err
	}
	return rule(r, m)
}

// factor is what GPTQ makes of a Hessian. Inputs are in reverse: the last one is rounded
// first.
type factor struct {
	block   int
	inputs  []int     // which input each row and column is of
	inverse []float32 // [In,In]: the inverse L⁻¹ of H = LLᵀ, which is U in reverse
}

// gptqFactor factors a Hessian in its own memory. Inputs that no sample has used are 0 there:
// their weights are rounded to the nearest codes and change no other.
func gptqFactor(r *Recipe, h *Hessian) (*factor, error) {
	n, mean := h.In, 0.0
	order := make([]int, n)
	for i := range order {
		order[i] = n - 1 - i
		mean += float64(h.Values[i*n+i]) / float64(n)
	}
	if r.GPTQ.ActOrder {
		slices.SortStableFunc(order, func(a, b int) int {
			switch x, y := h.Values[a*n+a], h.Values[b*n+b]; {
			case x < y:
				return -1
			case x > y:
				return 1
			default:
				return 0
			}
		})
	}
	damping := float64(r.GPTQ.Damping)
	if damping == 0 {
		damping = defaultDamping
	}
	if mean == 0 { // nothing but zeros was seen
		mean = 1
	}
	reorder(h.Values, n, order)
	for i := range n {
		h.Values[i*n+i] += float32(damping * mean)
	}
	f := &factor{block: r.GPTQ.Block, inputs: order, inverse: h.Values}
	if f.block <= 0 {
		f.block = defaultGPTQBlock
	}
	if err := inverseFactor(f.inverse, n); err != nil {
		return nil, fmt.Errorf("gptq: %w with a damping of %g; raise gptq.damping", err, damping)
	}
	h.Values = nil
	return f, nil
}

// reorder gives rows and columns of a square matrix [n,n] another order, in place: the i-th
// becomes what the order[i]-th was.
func reorder(a []float32, n int, order []int) {
	row := make([]float32, n)
	for r := range n {
		old := a[r*n : (r+1)*n]
		copy(row, old)
		for c, from := range order {
			old[c] = row[from]
		}
	}
	done := make([]bool, n)
	for start := range n {
		if done[start] {
			continue
		}
		copy(row, a[start*n:(start+1)*n])
		at := start
		for ; order[at] != start; at = order[at] {
			copy(a[at*n:(at+1)*n], a[order[at]*n:])
			done[at] = true
		}
		copy(a[at*n:(at+1)*n], row)
		done[at] = true
	}
}

// gptqCodes rounds a map's weights under given scales.
func gptqCodes(m *Map, e encoding.Encoding, f *factor) []int8 {
	n := m.In
	w, failed := scratch.Borrow(m.Out*n), scratch.Borrow(m.Out*f.block)
	defer scratch.Release(w, failed)
	codes := make([]int8, m.Out*n)
	for r := range m.Out {
		for c, input := range f.inputs {
			w[r*n+c] = m.Matrix[r*n+input]
		}
	}
	for end := n; end > 0; end -= min(f.block, end) {
		g := gptqBlock{m: m, e: e, f: f, from: max(0, end-f.block), to: end, w: w, failed: failed, codes: codes}
		kernels.Parallel(m.Out, 8, g.rows)
		if g.from > 0 { // the other blocks make up for this one's errors
			k := g.to - g.from
			kernels.Gemm(false, false, m.Out, g.from, k, -1, failed, k, f.inverse[g.from*n:], n, 1, w, n)
		}
	}
	return codes
}

// gptqBlock are some columns that are rounded together.
type gptqBlock struct {
	m        *Map
	e        encoding.Encoding
	f        *factor
	from, to int       // columns, the last one first
	w        []float32 // [Out,In], as they have become
	failed   []float32 // [Out,to-from]: each column's error, divided by its pivot
	codes    []int8    // [Out,In], in the map's order
}

// rows rounds the columns of rows lo to hi.
func (g *gptqBlock) rows(lo, hi int) {
	n, k, blocks := g.m.In, g.to-g.from, len(g.e.Scales)/g.m.Out
	for r := lo; r < hi; r++ {
		row, failed := g.w[r*n:(r+1)*n], g.failed[r*k:(r+1)*k]
		for c := g.to - 1; c >= g.from; c-- {
			input := g.f.inputs[c]
			scale := r * blocks
			if g.e.Block > 0 {
				scale += input / g.e.Block
			}
			code := g.e.Code(row[c], scale)
			g.codes[r*n+input] = int8(code)
			pivots := g.f.inverse[c*n+g.from : c*n+c+1]
			miss := (row[c] - g.e.Scales[scale]*float32(code-g.e.Zero(scale))) / pivots[c-g.from]
			failed[c-g.from] = miss
			kernels.Axpy(-miss, pivots[:c-g.from], row[g.from:c])
		}
	}
}
