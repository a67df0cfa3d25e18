package lower

import (
	"math"

	"eisft/export/ir"
	"eisft/export/manifest"
	"eisft/model"
)

// memoryEps keeps the read of an empty memory at zero. The state holds means over the
// tokens written, so this is model's 1e-6 divided by manifest.EmptyMemoryTokens.
const memoryEps = 1e-6 / manifest.EmptyMemoryTokens

// MemoryInUse is true wherever the block has a memory: a graph of fixed shape always
// reads it, and the mask's last column says whether the read counts.
func (l *layer) MemoryInUse() bool { return true }

// ReadMemory is model.Memory.Read; the mass is kept apart.
func (l *layer) ReadMemory(_ *model.Layer, q *ir.Value) *ir.Value {
	d := l.src.Model.Base.Dims
	group := d.Heads / d.KVHeads
	phi := l.feature(l.heads(q), l.params.FeatureQ, d.KVHeads, group)
	read := l.lookUp(phi, l.index, &l.mass)
	if m := l.params.ReadMap; m != nil {
		read = l.Add(read, l.MatMul(read, l.Const(m.Name, []int{d.KVHeads, group, d.HeadDim, d.HeadDim}, m.Data)))
	}
	return read.Named("read")
}

// lookUp is φM/(φz+ε) of layer i's memory; mass, if not nil, receives φz.
func (b *builder) lookUp(phi *ir.Value, i int, mass **ir.Value) *ir.Value {
	z := b.MatMul(phi, b.pastWeight[i])
	if mass != nil {
		*mass = z
	}
	return b.Div(b.MatMul(phi, b.pastMemory[i]), b.Add(z, b.Scalar(memoryEps)))
}

// feature is model.FeatureMap.Forward of x [K,r,..,d], with the maps A of the heads
// [K·r,d,f]. It words exp(x) for x ≤ 0 as σ(x)/σ(-x).
func (b *builder) feature(x *ir.Value, a *model.Param, kv, group int) *ir.Value {
	if b.src.Model.Spec.Feature == model.FeatureELU {
		low := b.Min(x, b.Scalar(0))
		exp := b.Div(b.Sigmoid(low), b.Sigmoid(b.Mul(low, b.Scalar(-1))))
		return b.Add(b.Relu(x), exp)
	}
	y := b.MatMul(x, b.Const(a.Name, []int{kv, group, a.Shape[1], a.Shape[2]}, a.Data))
	return b.Concat(3, b.Softmax(y), b.Softmax(b.Mul(y, b.Scalar(-1))))
}

// GateLogit is model.GateOp.Logit as [K,r,T,1], [K,r,1,1], or [K,r,1,d] for the vector
// gate. The mass gate's logarithm is left to joinByMass.
func (l *layer) GateLogit(_ *model.Layer, q, _ *ir.Value) *ir.Value {
	d := l.src.Model.Base.Dims
	group, p := d.Heads/d.KVHeads, l.params.GateBias
	bias := l.Const(p.Name, []int{d.KVHeads, group, 1, len(p.Data) / d.Heads}, p.Data)
	u := l.params.GateU
	if u == nil {
		return bias
	}
	scaled := make([]float32, len(u.Data))
	for i, v := range u.Data {
		scaled[i] = v / float32(math.Sqrt(float64(d.HeadDim)))
	}
	return l.Add(l.MatMul(l.heads(q), l.Const(u.Name, []int{d.KVHeads, group, d.HeadDim, 1}, scaled)), bias)
}

// Mix is model.GateOp.Mix. The mask's last column closes the gate while the memory is
// not in use.
func (l *layer) Mix(_ *model.Layer, logit, read, local *ir.Value) *ir.Value {
	w := l.Sigmoid(l.Add(logit, l.view.memoryMask))
	return l.Add(local, l.Mul(w, l.Sub(read, local)))
}
