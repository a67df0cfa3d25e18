package model

// Ops is one way of carrying out the EdgeInfinite block. The block is
// described once, in Forward and what it calls; a backend says what its values are
// and how each step is done: on slices (Stream), as nodes of an autodiff graph
// (package graph), with observed or fake-quantized tensors (package quant), or
// as nodes of a fixed-shape ONNX graph (package export).
//
// Values are [T, features], token-major. A backend knows the layer's stored
// state; it decides how the stored keys, the slots and the memory are held.
type Ops[V any] interface {
	// Norm is the norm n of each group of len(n.Weight) features.
	Norm(n *Norm, x V) V
	// Copy is x as a value of its own, in the place of a norm that a layer does not have:
	// what decorates the backend may change what maps read, but not the residual stream.
	Copy(x V) V
	// Linear is a frozen map, xWᵀ + b.
	Linear(l *Linear, x V) V
	// GatedProduct is act(gate)·up.
	GatedProduct(l *Layer, gate, up V) V
	// Residual is the residual sum x + r·y, with the layer's ResidualScale r.
	Residual(l *Layer, x, y V) V

	// Remember gives the backend what the state keeps of the new tokens: keys
	// and values before rotary embedding, and the normed input h, from which
	// the retention score and the write weight follow (docs/method.md, section 4). In a
	// layer without an input norm h is the layer's input.
	Remember(l *Layer, h, k, v V)
	// MemoryInUse says whether anything has left the window yet. Until then
	// the block has no memory term.
	MemoryInUse() bool
	// ReadMemory is the memory's answer to each query head, [T, H·(d+1)]: d
	// values and the mass they were divided by.
	ReadMemory(l *Layer, q V) V
	// GateLogit is the gate before its sigmoid or softmax: [T, H], or
	// [T, H·d] for the vector gate.
	GateLogit(l *Layer, q, read V) V
	// Attend is softmax attention over all visible keys, whose logits are capped where the
	// layer has an AttentionSoftcap; the column, if not nil, takes part as one more key
	// with its own logit and value.
	Attend(l *Layer, q, k, v V, column *Column[V]) V
	// Mix is σ(logit)·read + (1-σ(logit))·local.
	Mix(l *Layer, logit, read, local V) V
}

// Column is the memory as one more column of the softmax.
type Column[V any] struct {
	Logit, Read V
}

// Forward is one decoder layer of the base with the EdgeInfinite block in
// place of its attention: x [T,D] to [T,D].
func Forward[V any](o Ops[V], s Spec, l *Layer, x V) V {
	return finish(o, s, l, x, begin(o, l, x))
}

// begin is what comes before attention: tokens know nothing of each other yet.
func begin[V any](o Ops[V], l *Layer, x V) projected[V] {
	return project(o, l, normOrCopy(o, l.InputNorm, x))
}

// finish is attention and what follows.
func finish[V any](o Ops[V], s Spec, l *Layer, x V, p projected[V]) V {
	return AfterAttention(o, l, x, attention(o, s, l, p))
}

// AfterAttention is what a layer that reads x [T,D] makes of what its attention puts out,
// attended [T,H·d]: the layer's output [T,D]. No token knows of another.
func AfterAttention[V any](o Ops[V], l *Layer, x, attended V) V {
	x = o.Residual(l, x, normIf(o, l.AttentionOutputNorm, o.Linear(l.O, attended)))
	h := normOrCopy(o, l.PostAttentionNorm, x)
	h = o.Linear(l.Down, o.GatedProduct(l, o.Linear(l.Gate, h), o.Linear(l.Up, h)))
	return o.Residual(l, x, normIf(o, l.FeedForwardOutputNorm, h))
}

// normOrCopy is what the maps of a layer read of the residual stream x.
func normOrCopy[V any](o Ops[V], n *Norm, x V) V {
	if n == nil {
		return o.Copy(x)
	}
	return o.Norm(n, x)
}

// normIf applies a norm that most families do not have.
func normIf[V any](o Ops[V], n *Norm, x V) V {
	if n == nil {
		return x
	}
	return o.Norm(n, x)
}

// ForwardAttention is the block with its output projection: what distillation
// fits to the base's own attention. q [T,H·d], k and v [T,K·d] are before rotary embedding.
func ForwardAttention[V any](o Ops[V], s Spec, l *Layer, q, k, v V) V {
	return o.Linear(l.O, attention(o, s, l, projected[V]{q, k, v}))
}

// projected are queries, keys and values before rotary embedding.
type projected[V any] struct{ q, k, v V }

// project computes them from the normed input and lets the state know them.
func project[V any](o Ops[V], l *Layer, h V) projected[V] {
	p := projected[V]{o.Linear(l.Q, h), o.Linear(l.K, h), o.Linear(l.V, h)}
	if l.QNorm != nil {
		p.q, p.k = o.Norm(l.QNorm, p.q), o.Norm(l.KNorm, p.k)
	}
	o.Remember(l, h, p.k, p.v)
	return p
}

// attention is the block itself (docs/method.md, section 3).
func attention[V any](o Ops[V], s Spec, l *Layer, p projected[V]) V {
	if !s.HasMemory() || !o.MemoryInUse() {
		return o.Attend(l, p.q, p.k, p.v, nil)
	}
	read := o.ReadMemory(l, p.q)
	logit := o.GateLogit(l, p.q, read)
	if s.GateIsColumn() {
		return o.Attend(l, p.q, p.k, p.v, &Column[V]{logit, read})
	}
	return o.Mix(l, logit, read, o.Attend(l, p.q, p.k, p.v, nil))
}
