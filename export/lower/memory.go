package lower

import (
	"eisft/export/ir"
	"eisft/model"
)

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

// lookUp is φM/φz of layer i's memory; mass, if not nil, receives φz in the state's scale.
func (b *builder) lookUp(phi *ir.Value, i int, mass **ir.Value) *ir.Value {
	z := b.Max(b.MatMul(phi, b.pastWeight[i]), b.Scalar(model.LeastMass))
	if mass != nil {
		*mass = z
	}
	return b.Div(b.MatMul(phi, b.pastMemory[i]), z)
}
