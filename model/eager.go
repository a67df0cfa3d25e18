package model

import (
	"eisft/internal/scratch"
	"eisft/model/kernels"
)

// eager carries out layers on slices, for some of the rows of a stretch.
type eager struct {
	*floats
	first, rows int // of the stretch's rows
	buffers     [][]float32
	logits      []float32 // where the head's product goes; nil of a layer's rows
}

func (e *eager) new(n int) []float32 {
	b := scratch.Borrow(n)
	e.buffers = append(e.buffers, b)
	return b
}

// release gives back all buffers.
func (e *eager) release() {
	scratch.Release(e.buffers...)
	e.buffers = e.buffers[:0]
}

func (e *eager) params(l *Layer) *LayerParams { return &e.model.Params.Layers[l.Index] }

func (e *eager) Norm(n *Norm, x []float32) []float32 {
	y := e.new(len(x))
	n.Apply(y, x)
	return y
}

func (e *eager) Linear(l *Linear, x []float32) []float32 {
	y := e.logits
	if y == nil {
		y = e.new(e.rows * l.Out)
	}
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

func (e *eager) Copy(x []float32) []float32 {
	y := e.new(len(x))
	copy(y, x)
	return y
}

// Residual adds into y, which Forward has just computed and uses nowhere else.
func (e *eager) Residual(l *Layer, x, y []float32) []float32 {
	l.Scaled(y)
	kernels.Add(y, x)
	return y
}

func (e *eager) Remember(layer *Layer, h, k, v []float32) {
	l, d, at := &e.state.Layers[layer.Index], e.model.Base.Dims, e.past(layer.Index)+e.first
	w := e.rows * d.KVHeads * d.HeadDim
	l.K.Put(at, k[:w])
	l.V.Put(at, v[:w])
	cos, sin := e.tables[e.place(layer.Index)].from(e.first, e.rows)
	e.turnStored(layer, at, at+e.rows, cos, sin)
	for i := range e.rows * d.KVHeads {
		l.Token[at*d.KVHeads+i] = int32(e.state.Seen() + e.first + i/d.KVHeads)
	}
	if s := e.params(layer).TokenScore(); s != nil {
		s.Apply(l.Score[at*d.KVHeads:], h, e.rows)
	} else if l.Score != nil { // an eviction's: nobody has looked at the tokens yet
		clear(l.Score[at*d.KVHeads : (at+e.rows)*d.KVHeads])
	}
	if e.normed != nil {
		copy(e.normed[e.first*d.Hidden:], h)
	}
}

func (e *eager) MemoryInUse() bool { return e.state.Evicted() }

func (e *eager) ReadMemory(l *Layer, q []float32) []float32 {
	m, p := e.model, e.params(l)
	read := e.new(e.rows * m.Base.Dims.Heads * (m.Base.Dims.HeadDim + 1))
	Memory{m.Spec, m.Base.Dims}.Read(read, q, e.state.Layers[l.Index].Memory, dataOf(p.FeatureQ), dataOf(p.ReadMap), e.rows)
	return read
}

func (e *eager) GateLogit(l *Layer, q, read []float32) []float32 {
	m, p := e.model, e.params(l)
	g := GateOp{m.Spec.Gate, m.Base.Dims}
	logit := e.new(e.rows * g.Width())
	g.Logit(logit, GateInputs{q, read, DataOf(p.Gate)})
	return logit
}

// Attend finds the keys and values where Remember has put them.
func (e *eager) Attend(l *Layer, q, _, _ []float32, column *Column[[]float32]) []float32 {
	out := e.new(len(q))
	in := NewTokens{Q: q, Rows: e.rows}
	if column != nil {
		in.Logit, in.Read = column.Logit, column.Read
	}
	a := e.attentionOf(l)
	var logSums []float32
	if e.options.Tape != nil {
		logSums = e.options.Tape.LogSums(l.Index, e.first, e.rows)
	}
	a.attend(out, logSums, in, e.keys)
	return out
}

// attentionOf describes what the rows see of the layer that Meet has prepared.
func (e *eager) attentionOf(l *Layer) Attention {
	a := e.attention
	a.Past, a.First = a.Past+e.first, a.First+e.first
	a.Cos, a.Sin = e.tables[e.place(l.Index)].from(e.first, e.rows)
	return a
}

func (e *eager) Mix(_ *Layer, logit, read, local []float32) []float32 {
	m := e.model
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
