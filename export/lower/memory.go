package lower

import (
	"eisft/export/ir"
	"eisft/model"
)

// leastMass keeps the read of an empty memory at zero, as ε does in package model: no
// mass of the scaled state counts as less. Added to a mean, model's ε would be gone in
// float16, and so would a mean that is not scaled.
const leastMass = 0x1p-13

// StateScale is the factor by which the memory's state is held above the means over the
// tokens written, so that float16 has room for it: of φ's that are shares of 1, means are
// small; those of ELU+1 are of the order of 1, and their products over a head's elements
// beyond it.
func StateScale(s model.Spec) float64 { return features.Get(s.Feature).stateScale }

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

// EmptyTokens is the number of tokens of which an empty memory's least mass is that of
// package model, its ε of 1e-6: in the mass gate even this takes a share.
func EmptyTokens(s model.Spec) float64 { return 1e-6 * StateScale(s) / leastMass }

// lookUp is φM/φz of layer i's memory; mass, if not nil, receives φz in the state's scale.
func (b *builder) lookUp(phi *ir.Value, i int, mass **ir.Value) *ir.Value {
	z := b.Max(b.MatMul(phi, b.pastWeight[i]), b.Scalar(leastMass))
	if mass != nil {
		*mass = z
	}
	return b.Div(b.MatMul(phi, b.pastMemory[i]), z)
}
