package lower

import (
	"math"
	"slices"

	"eisft/export/ir"
	"eisft/export/manifest"
	"eisft/internal/enum"
	"eisft/model"
)

// gates says how each gate of package model is worded in ONNX ops.
var gates = enum.NewTable[model.Gate, gateForm]("gate").
	With(model.GateScalar, gateForm{}).
	With(model.GateVector, gateForm{}).
	With(model.GateQuery, gateForm{term: (*layer).queryTerm}).
	With(model.GateSlot, gateForm{term: (*layer).queryTerm, join: (*layer).joinColumn}).
	With(model.GateMass, gateForm{join: (*layer).joinByMass, maskColumn: manifest.ColumnLogTokens})

// gateForm is the twin of a gate's entry in package model.
type gateForm struct {
	// term is what the logit has beside the bias [K,r,T,1]; nil: nothing.
	term func(l *layer, q *ir.Value) *ir.Value
	// join makes the block's output of what a column of the softmax has got; nil for a
	// gate that mixes.
	join func(l *layer, s columnShares) *ir.Value
	// maskColumn is what the mask's last column holds while the memory is in use; "" is
	// manifest.ColumnZero.
	maskColumn string
}

// columnShares is a softmax with the memory as its last column, before it is joined.
type columnShares struct {
	keys   *ir.Value // probabilities of the keys [K,r,T,C+T]
	local  *ir.Value // the values that they weigh [K,r,T,d]
	column *ir.Value // probability of the memory [K,r,T,1]
	read   *ir.Value // what it answers [K,r,T,d]
}

// MemoryColumn returns what the last column of the mask of a block with a memory holds
// while that is in use, one of the manifest's words.
func MemoryColumn(s model.Spec) string {
	if column := gates.Get(s.Gate).maskColumn; column != "" {
		return column
	}
	return manifest.ColumnZero
}

// GateLogit is model.GateOp.Logit as [K,r,T,1], [K,r,1,1], or [K,r,1,d] for the vector
// gate.
func (l *layer) GateLogit(_ *model.Layer, q, _ *ir.Value) *ir.Value {
	d, p := l.src.Model.Base.Dims, l.params.Gate[0]
	form := gates.Get(l.src.Model.Spec.Gate)
	data := p.Data
	if form.maskColumn == manifest.ColumnLogTokens { // joinByMass
		data = slices.Clone(data)
		for i := range data {
			data[i] -= float32(math.Log(l.src.Model.Spec.StateScale()))
		}
	}
	bias := l.Const(p.Name, []int{d.KVHeads, d.Heads / d.KVHeads, 1, len(p.Data) / d.Heads}, data)
	term := form.term
	if term == nil {
		return bias
	}
	return l.Add(term(l, q), bias)
}

// queryTerm is q·u/√d.
func (l *layer) queryTerm(q *ir.Value) *ir.Value {
	d, u := l.src.Model.Base.Dims, l.params.Gate[1]
	scaled := make([]float32, len(u.Data))
	for i, v := range u.Data {
		scaled[i] = v / float32(math.Sqrt(float64(d.HeadDim)))
	}
	return l.MatMul(l.heads(q), l.Const(u.Name, []int{d.KVHeads, d.Heads / d.KVHeads, d.HeadDim, 1}, scaled))
}

// Mix is model.GateOp.Mix. The mask's last column closes the gate while the memory is
// not in use.
func (l *layer) Mix(_ *model.Layer, logit, read, local *ir.Value) *ir.Value {
	w := l.Sigmoid(l.Add(logit, l.view.memoryMask))
	return l.Add(local, l.Mul(w, l.Sub(read, local)))
}

// joinColumn weighs the read as if it were one more value.
func (l *layer) joinColumn(s columnShares) *ir.Value {
	return l.Add(s.local, l.Mul(s.column, s.read))
}

// joinByMass weighs the memory's column of the mass gate, whose logit in package model
// is b + log(n·m) of the mass n·m, without a logarithm of it: y is the softmax's last
// column for the logit b + log(n/s), and the factor s·m, which the scaled state gives, on
// its exponential changes the sum of all probabilities from 1 to Σp + y·s·m, where p are
// those of the keys. Of 1 - y, nothing would be left beside the many tokens that m is a
// mean over; and with log n in place of log(n/s), little of p in float16.
func (l *layer) joinByMass(s columnShares) *ir.Value {
	memory := l.Mul(s.column, l.mass)
	return l.Div(l.Add(s.local, l.Mul(memory, s.read)), l.Add(l.ReduceSum(s.keys, 3), memory))
}
