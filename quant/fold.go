package quant

import (
	"errors"
	"fmt"
	"slices"

	"eisft/internal/scratch"
	"eisft/model"
	"eisft/model/kernels"
)

// folding rewrites a float model into another one that computes the same. Base and
// parameters of the model that it starts from stay as they are; maps of the new one follow
// from the old one's when they are used ([model.Base.Derive]).
type folding struct {
	base   *model.Base
	params *model.Params
	spec   model.Spec
}

func newFolding(m *model.Model) *folding {
	b := *m.Base
	b.Layers = make([]*model.Layer, len(m.Base.Layers))
	for i, l := range m.Base.Layers {
		c := *l
		b.Layers[i] = &c
	}
	return &folding{base: &b, params: copied(m.Params), spec: m.Spec}
}

// copied are parameters with values of their own.
func copied(p *model.Params) *model.Params {
	c, from := model.NewParams(p.Spec, p.Dims, len(p.Layers)), p.List()
	for i, q := range c.List() {
		copy(q.Data, from[i].Data)
	}
	return c
}

// model is what came out.
func (f *folding) model() (*model.Model, error) { return model.New(f.base, f.spec, f.params) }

// seam is a place where a factor can move from an activation into weights: the point, what
// makes it and what reads it. A channel of the point can be divided by any number if what
// makes it is divided, too, and what reads it is multiplied.
type seam struct {
	point string
	layer int // -1: the head's
	// Exactly one of them makes the point.
	norm  *model.Norm
	maker *model.Linear
	// repeat is how often a channel of the maker stands in the point: r query heads read
	// the values of one KV head. group is the number of channels that are repeated together.
	repeat, group int
	readers       []*model.Linear
}

// channels is the number of scales of a seam: the maker's channels.
func (s seam) channels() int {
	if s.norm != nil {
		return len(s.norm.Weight)
	}
	return s.maker.Out
}

// spread repeats a maker's scales for every channel of the point: values of a KV head
// [K,d] for its query heads [K,r,d].
func (s seam) spread(scales []float32) []float32 {
	if s.repeat == 1 {
		return scales
	}
	var out []float32
	for g := range slices.Chunk(scales, s.group) {
		for range s.repeat {
			out = append(out, g...)
		}
	}
	return out
}

// gather is the reverse of spread: the largest of a channel's copies.
func (s seam) gather(x []float32) []float32 {
	if s.repeat == 1 {
		return x
	}
	out := make([]float32, 0, len(x)/s.repeat)
	for g := range slices.Chunk(x, s.group*s.repeat) {
		for i := range s.group {
			most := float32(0)
			for j := range s.repeat {
				most = max(most, g[j*s.group+i])
			}
			out = append(out, most)
		}
	}
	return out
}

// seams lists those of a base in the order of the forward pass. Maps that read the residual
// stream without a norm before them have none.
func seams(b *model.Base) []seam {
	var list []seam
	for i, l := range b.Layers {
		if l.InputNorm != nil {
			list = append(list, seam{point: in(l.Q.Name), layer: i, norm: l.InputNorm, repeat: 1, readers: []*model.Linear{l.Q, l.K, l.V}})
		}
		d := b.Dims
		list = append(list, seam{point: in(l.O.Name), layer: i, maker: l.V, repeat: d.Heads / d.KVHeads, group: d.HeadDim, readers: []*model.Linear{l.O}})
		if l.PostAttentionNorm != nil {
			list = append(list, seam{point: in(l.Gate.Name), layer: i, norm: l.PostAttentionNorm, repeat: 1, readers: []*model.Linear{l.Gate, l.Up}})
		}
		list = append(list, seam{point: in(l.Down.Name), layer: i, maker: l.Up, repeat: 1, readers: []*model.Linear{l.Down}})
	}
	return append(list, seam{point: HeadInput, layer: -1, norm: b.Norm, repeat: 1, readers: []*model.Linear{b.Head}})
}

// seamless names the points whose maps read the residual stream as it is, so that no scale
// can be folded before them.
func seamless(b *model.Base) []string {
	var list []string
	for _, l := range b.Layers {
		if l.InputNorm == nil {
			list = append(list, in(l.Q.Name))
		}
		if l.PostAttentionNorm == nil {
			list = append(list, in(l.Gate.Name))
		}
	}
	return list
}

// scale divides the channels of a seam's point by scales [channels].
func (f *folding) scale(s seam, scales []float32) {
	wide := s.spread(scales)
	if s.layer < 0 {
		f.base.Norm = dividedNorm(s.norm, scales)
		f.base.Head = f.columns(f.base.Head, HeadName, wide)
		return
	}
	l, p := f.base.Layers[s.layer], &f.params.Layers[s.layer]
	switch s.point {
	case in(l.Q.Name):
		l.InputNorm = dividedNorm(l.InputNorm, scales)
		l.Q, l.K, l.V = f.columns(l.Q, l.Q.Name, wide), f.columns(l.K, l.K.Name, wide), f.columns(l.V, l.V.Name, wide)
		scaleScores(p, scales)
	case in(l.Gate.Name):
		l.PostAttentionNorm = dividedNorm(l.PostAttentionNorm, scales)
		l.Gate, l.Up = f.columns(l.Gate, l.Gate.Name, wide), f.columns(l.Up, l.Up.Name, wide)
	case in(l.Down.Name):
		l.Up, l.Down = f.dividedRows(l.Up, scales), f.columns(l.Down, l.Down.Name, wide)
	case in(l.O.Name):
		l.V, l.O = f.dividedRows(l.V, scales), f.columns(l.O, l.O.Name, wide)
		scaleReadMap(p, wide)
	}
}

// scaleScores: scores read h/s.
func scaleScores(p *model.LayerParams, scales []float32) {
	if s := p.TokenScore(); s != nil {
		weight, _ := s.Reader()
		multiplyRows(weight.Data, scales)
	}
}

// scaleReadMap: the memory holds values v/s, so that it answers a/s; B becomes SBS⁻¹, and
// a/s·SBS⁻¹ is aB/s. scales are those of every query head [H,d].
func scaleReadMap(p *model.LayerParams, scales []float32) {
	if p.ReadMap == nil {
		return
	}
	d := p.ReadMap.Shape[1]
	for at := range p.ReadMap.Data {
		head, i, j := at/(d*d), at/d%d, at%d
		p.ReadMap.Data[at] *= scales[head*d+i] / scales[head*d+j]
	}
}

// dividedNorm is a norm whose result is divided by s.
func dividedNorm(n *model.Norm, s []float32) *model.Norm {
	c := *n
	c.Weight, c.Bias = quotient(n.Weight, s), quotient(n.Bias, s)
	return &c
}

// quotient is x/s; nil of nil.
func quotient(x, s []float32) []float32 {
	if x == nil {
		return nil
	}
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = v / s[i]
	}
	return out
}

// multiplyRows multiplies each row of x by s.
func multiplyRows(x, s []float32) {
	for row := range slices.Chunk(x, len(s)) {
		kernels.Mul(row, s)
	}
}

// columns is the map whose columns are multiplied by s.
func (f *folding) columns(l *model.Linear, name string, s []float32) *model.Linear {
	return f.base.Derive(name, l.In, l.Out, l.Bias, func(dst []float32, lo, hi int) {
		l.Rows(dst, lo, hi)
		multiplyRows(dst[:(hi-lo)*l.In], s)
	})
}

// dividedRows is the map whose results are divided by s.
func (f *folding) dividedRows(l *model.Linear, s []float32) *model.Linear {
	return f.base.Derive(l.Name, l.In, l.Out, quotient(l.Bias, s), func(dst []float32, lo, hi int) {
		l.Rows(dst, lo, hi)
		for i := lo; i < hi; i++ {
			row := dst[(i-lo)*l.In : (i-lo+1)*l.In]
			for j := range row {
				row[j] /= s[i]
			}
		}
	})
}

// turnable tells why the residual stream of a model cannot be rotated.
func turnable(b *model.Base) error {
	const instead = "use r1: none, smoothquant or awq for this family"
	for _, l := range b.Layers {
		for role, n := range l.Norms() {
			if (role == model.NormAttentionOutput || role == model.NormFeedForwardOutput) && !uniform(n) {
				return fmt.Errorf("R1 cannot be folded into this base: the %s norm %s multiplies what layer %d adds to the residual stream by another weight in each channel, which no rotation passes; %s", role, n.Name, l.Index, instead)
			}
		}
		if b.Norm.Center && (l.InputNorm == nil || l.PostAttentionNorm == nil) {
			return fmt.Errorf("R1 cannot be folded into this base: layer %d reads the residual stream without a norm, and the final norm %s subtracts its mean; %s", l.Index, b.Norm.Name, instead)
		}
		for _, n := range []*model.Norm{l.InputNorm, l.PostAttentionNorm} {
			if n != nil && n.Center != b.Norm.Center {
				return fmt.Errorf("R1 cannot be folded into this base: of the norms %s and %s one subtracts the mean and the other does not; %s", n.Name, b.Norm.Name, instead)
			}
		}
	}
	return nil
}

// uniform says whether a norm is a root-mean-square norm with one weight for all channels: it
// commutes with rotations.
func uniform(n *model.Norm) bool {
	return !n.Center && n.Bias == nil && !slices.ContainsFunc(n.Weight, func(w float32) bool { return w != n.Weight[0] })
}

// turnStream rotates the residual stream, x → xQ with Q [D,D] orthogonal (QuaRot, arXiv
// 2404.00456, section 4; SpinQuant's R1, 2405.16406). Weights and biases of norms go into
// the maps behind them first. Where norms subtract the mean (LayerNorm), that goes into what
// writes to the stream: its mean is then zero, and a root-mean-square norm does the same
// (SliceGPT, arXiv 2401.15024, section 3.2).
func (f *folding) turnStream(q []float32) error {
	if err := turnable(f.base); err != nil {
		return err
	}
	p := q
	if f.base.Norm.Center {
		p = centered(q, f.base.Dims.Hidden)
	}
	f.turnEmbedding(p)
	for i, l := range f.base.Layers {
		l.Q, l.K, l.V = f.turnReader(l.Q, l.Q.Name, l.InputNorm, q), f.turnReader(l.K, l.K.Name, l.InputNorm, q), f.turnReader(l.V, l.V.Name, l.InputNorm, q)
		if s := f.params.Layers[i].TokenScore(); s != nil {
			turnScore(s, l.InputNorm, q)
		}
		l.InputNorm = bare(l.InputNorm)
		l.O = f.turnWriter(l.O, p)
		l.Gate, l.Up = f.turnReader(l.Gate, l.Gate.Name, l.PostAttentionNorm, q), f.turnReader(l.Up, l.Up.Name, l.PostAttentionNorm, q)
		l.PostAttentionNorm = bare(l.PostAttentionNorm)
		l.Down = f.turnWriter(l.Down, p)
	}
	f.base.Head = f.turnReader(f.base.Head, HeadName, f.base.Norm, q)
	f.base.Norm = bare(f.base.Norm)
	return nil
}

// centered is CQ with C = I − 11ᵀ/D: xCQ is x without its mean, rotated.
func centered(q []float32, d int) []float32 {
	p, mean := slices.Clone(q), make([]float32, d)
	for row := range slices.Chunk(q, d) {
		kernels.Axpy(1/float32(d), row, mean)
	}
	for row := range slices.Chunk(p, d) {
		kernels.Axpy(-1, mean, row)
	}
	return p
}

// bare is a root-mean-square norm without weights, nil of nil.
func bare(n *model.Norm) *model.Norm {
	if n == nil {
		return nil
	}
	return &model.Norm{Name: n.Name, Weight: slices.Repeat([]float32{1}, len(n.Weight)), Eps: n.Eps}
}

// turnEmbedding rotates the table; a norm over its rows is computed once for all of them.
func (f *folding) turnEmbedding(p []float32) {
	from, old := *f.base, f.base.Embed
	d := old.In
	f.base.Embed = f.base.Derive(old.Name, d, old.Out, nil, func(dst []float32, lo, hi int) {
		rows := scratch.Borrow((hi - lo) * d)
		defer scratch.Release(rows)
		old.Rows(rows, lo, hi)
		if from.EmbeddingNorm != nil {
			from.FinishEmbeddings(rows)
		}
		kernels.Gemm(false, false, hi-lo, d, d, 1, rows, d, p, d, 0, dst, d)
	})
	if from.EmbeddingNorm != nil {
		f.base.EmbeddingNorm, f.base.EmbeddingScale = nil, 1
	}
}

// turnReader is the map of xQ that gives what l gives of the norm n of x, or of x (nil):
// (W∘w)Q, and the bias b + Wβ of a norm with weight w and bias β.
func (f *folding) turnReader(l *model.Linear, name string, n *model.Norm, q []float32) *model.Linear {
	bias := l.Bias
	if n != nil && n.Bias != nil {
		bias = make([]float32, l.Out)
		copy(bias, l.Bias)
		l.Blocks(func(lo, hi int, w []float32) {
			for i := lo; i < hi; i++ {
				bias[i] += kernels.Dot(w[(i-lo)*l.In:(i-lo+1)*l.In], n.Bias)
			}
		})
	}
	return f.base.Derive(name, l.In, l.Out, bias, func(dst []float32, lo, hi int) {
		rows := scratch.Borrow((hi - lo) * l.In)
		defer scratch.Release(rows)
		l.Rows(rows, lo, hi)
		if n != nil {
			multiplyRows(rows, n.Weight)
		}
		kernels.Gemm(false, false, hi-lo, l.In, l.In, 1, rows, l.In, q, l.In, 0, dst, l.In)
	})
}

// turnWriter is the map that gives yP where l gives y: PᵀW, and the bias bP.
func (f *folding) turnWriter(l *model.Linear, p []float32) *model.Linear {
	d, bias := l.Out, l.Bias
	if bias != nil {
		bias = make([]float32, d)
		kernels.Gemm(false, false, 1, d, d, 1, l.Bias, d, p, d, 0, bias, d)
	}
	return f.base.Derive(l.Name, l.In, d, bias, func(dst []float32, lo, hi int) {
		w := scratch.Borrow(d * l.In)
		defer scratch.Release(w)
		l.Rows(w, 0, d)
		kernels.Gemm(true, false, hi-lo, l.In, d, 1, p[lo:], d, w, l.In, 0, dst, l.In)
	})
}

// turnScore does to a score of the normed input what turnReader does to a map.
func turnScore(s *model.TokenScore, n *model.Norm, q []float32) {
	weight, bias := s.Reader()
	d := weight.Shape[1]
	for g := range bias.Data {
		w := weight.Data[g*d : (g+1)*d]
		if n != nil {
			if n.Bias != nil {
				bias.Data[g] += kernels.Dot(w, n.Bias)
			}
			kernels.Mul(w, n.Weight)
		}
		kernels.Gemm(false, false, 1, d, d, 1, slices.Clone(w), d, q, d, 0, w, d)
	}
}

// errVectorGate is why values cannot be rotated beside a vector gate.
var errVectorGate = errors.New("R2 cannot be folded into this block: gate: vector weighs every dimension of a head's values, which no rotation passes; use r2: none, or a block with another gate")

// turnValues rotates the values of a layer's KV heads, v_g → v_gR_g with r [K,d,d]
// (SpinQuant's R2, arXiv 2405.16406, section 3.1). The memory then holds rotated values and
// answers aR; the read map B becomes RᵀBR.
func (f *folding) turnValues(layer int, r []float32) error {
	if f.spec.HasMemory() && f.spec.Gate == model.GateVector {
		return errVectorGate
	}
	l, p, dims := f.base.Layers[layer], &f.params.Layers[layer], f.base.Dims
	d, group := dims.HeadDim, dims.Heads/dims.KVHeads
	of := func(kv int) []float32 { return r[kv*d*d : (kv+1)*d*d] }
	value, output := l.V, l.O
	bias := slices.Clone(value.Bias)
	for kv := 0; bias != nil && kv < dims.KVHeads; kv++ {
		kernels.Gemm(false, false, 1, d, d, 1, value.Bias[kv*d:], d, of(kv), d, 0, bias[kv*d:], d)
	}
	l.V = f.base.Derive(value.Name, value.In, value.Out, bias, func(dst []float32, lo, hi int) {
		w := scratch.Borrow(d * value.In)
		defer scratch.Release(w)
		for kv := lo / d; kv*d < hi; kv++ {
			from, to := max(lo, kv*d), min(hi, (kv+1)*d)
			value.Rows(w, kv*d, (kv+1)*d)
			kernels.Gemm(true, false, to-from, value.In, d, 1, of(kv)[from-kv*d:], d, w, value.In, 0, dst[(from-lo)*value.In:], value.In)
		}
	})
	l.O = f.base.Derive(output.Name, output.In, output.Out, output.Bias, func(dst []float32, lo, hi int) {
		w := scratch.Borrow((hi - lo) * output.In)
		defer scratch.Release(w)
		output.Rows(w, lo, hi)
		for h := range dims.Heads {
			kernels.Gemm(false, false, hi-lo, d, d, 1, w[h*d:], output.In, of(h/group), d, 0, dst[h*d:], output.In)
		}
	})
	turnReadMap(p, r, group)
	return nil
}

// turnReadMap replaces the read map B of each head by RᵀBR, with r [K,d,d] and a number of
// heads for each KV head.
func turnReadMap(p *model.LayerParams, r []float32, group int) {
	if p.ReadMap == nil {
		return
	}
	d := p.ReadMap.Shape[1]
	half := make([]float32, d*d)
	for h := range p.ReadMap.Shape[0] {
		b, q := p.ReadMap.Data[h*d*d:(h+1)*d*d], r[h/group*d*d:]
		kernels.Gemm(true, false, d, d, d, 1, q, d, b, d, 0, half, d)
		kernels.Gemm(false, false, d, d, d, 1, half, d, q, d, 0, b, d)
	}
}
