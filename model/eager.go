package model

import (
	"eisft/model/kernels"
	"eisft/model/scratch"
)

// eager carries out one layer on slices, against a stream's state.
type eager struct {
	stream  *Stream
	layer   int
	rows    int // T
	past    int // stored tokens before this stretch
	angles  angles
	buffers [][]float32
}

func (e *eager) new(n int) []float32 {
	b := scratch.Borrow(n)
	e.buffers = append(e.buffers, b)
	return b
}

func (e *eager) model() *Model        { return e.stream.model }
func (e *eager) params() *LayerParams { return &e.stream.model.Params.Layers[e.layer] }
func (e *eager) state() *LayerState   { return &e.stream.State.Layers[e.layer] }

func (e *eager) Norm(n *Norm, x []float32) []float32 {
	y := e.new(len(x))
	n.Apply(y, x)
	return y
}

// Apply writes the norm of each group of len(n.Weight) values of x.
func (n *Norm) Apply(dst, x []float32) {
	kernels.RMSNorm(dst, x, n.Weight, len(x)/len(n.Weight), len(n.Weight), n.Eps)
}

func (e *eager) Linear(l *Linear, x []float32) []float32 {
	y := e.new(e.rows * l.Out)
	l.Apply(y, x)
	return y
}

func (e *eager) GatedProduct(l *Layer, gate, up []float32) []float32 {
	y := e.new(len(gate))
	l.Activation.Product(y, gate, up)
	return y
}

// Product writes act(gate)·up.
func (a Activation) Product(dst, gate, up []float32) {
	kernels.Parallel(len(gate), 4096, func(lo, hi int) {
		if a == GELUTanh {
			kernels.GELUTanhMul(dst[lo:hi], gate[lo:hi], up[lo:hi])
		} else {
			kernels.SiLUMul(dst[lo:hi], gate[lo:hi], up[lo:hi])
		}
	})
}

// ProductBackward writes the gradients of gate and up.
func (a Activation) ProductBackward(dGate, dUp, dOut, gate, up []float32) {
	kernels.Parallel(len(gate), 4096, func(lo, hi int) {
		if a == GELUTanh {
			kernels.GELUTanhMulGrad(dGate[lo:hi], dUp[lo:hi], dOut[lo:hi], gate[lo:hi], up[lo:hi])
		} else {
			kernels.SiLUMulGrad(dGate[lo:hi], dUp[lo:hi], dOut[lo:hi], gate[lo:hi], up[lo:hi])
		}
	})
}

// Add adds into y, which Forward has just computed and uses nowhere else.
func (e *eager) Add(x, y []float32) []float32 {
	kernels.Add(y, x)
	return y
}

func (e *eager) Remember(_ *Layer, h, k, v []float32) {
	st, m, l := e.stream, e.model(), e.state()
	if st.options.Tape != nil {
		st.options.Tape.Remember(e.layer, h)
	}
	d, w := m.Base.Dims, m.Base.Dims.KVHeads*m.Base.Dims.HeadDim
	l.resize(e.past+e.rows, m.Spec.At(e.layer), d)
	copy(l.K[e.past*w:], k)
	copy(l.V[e.past*w:], v)
	RotateRows(l.Rotated[e.past*w:], k, e.rows, d.KVHeads, d.HeadDim, e.angles.cos, e.angles.sin, false)
	for i := range e.rows * d.KVHeads {
		l.Token[e.past*d.KVHeads+i] = int32(st.State.Seen + i/d.KVHeads)
	}
	if w, c := e.params().TokenScore(); w != nil {
		TokenScore(l.Score[e.past*d.KVHeads:], h, w.Data, c.Data, e.rows)
	}
}

// TokenScore writes hWᵀ + c [T,K] of normed inputs h [T,D], w [K,D] and c [K]:
// the retention score ρ or the write gate's logit (method, section 4).
func TokenScore(dst, h, w, c []float32, rows int) {
	in, out := len(h)/rows, len(c)
	kernels.Gemm(false, true, rows, out, in, 1, h, in, w, in, 0, dst, out)
	addToRows(dst[:rows*out], c)
}

func (e *eager) MemoryInUse() bool { return e.stream.State.Evicted }

func (e *eager) ReadMemory(_ *Layer, q []float32) []float32 {
	m, p := e.model(), e.params()
	read := e.new(e.rows * m.Base.Dims.Heads * (m.Base.Dims.HeadDim + 1))
	Memory{m.Spec, m.Base.Dims}.Read(read, q, e.state().Memory, dataOf(p.FeatureQ), dataOf(p.ReadMap), e.rows)
	return read
}

func (e *eager) GateLogit(_ *Layer, q, read []float32) []float32 {
	m, p := e.model(), e.params()
	g := GateOp{m.Spec.Gate, m.Base.Dims}
	logit := e.new(e.rows * g.Width())
	g.Logit(logit, q, read, p.GateBias.Data, dataOf(p.GateU), e.rows)
	return logit
}

func (e *eager) Attend(_ *Layer, q, k, v []float32, column *Column[[]float32]) []float32 {
	out := e.new(len(q))
	in := NewTokens{Q: q, K: k, V: v, Rows: e.rows}
	if column != nil {
		in.Logit, in.Read = column.Logit, column.Read
	}
	a := e.stream.past(e.layer, e.past, e.angles).Attention
	a.Forward(out, nil, in)
	return out
}

func (e *eager) Mix(_ *Layer, logit, read, local []float32) []float32 {
	m := e.model()
	GateOp{m.Spec.Gate, m.Base.Dims}.Mix(local, logit, read, local, e.rows)
	return local
}

// dataOf returns a parameter's values, or nil of nil.
func dataOf(p *Param) []float32 {
	if p == nil {
		return nil
	}
	return p.Data
}
