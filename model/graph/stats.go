package graph

import (
	"eisft/internal/scratch"
	"eisft/model"
)

// observeGate notes the memory's shares in the run that is going on; lse is
// that of the softmax which the memory is a column of, or nil.
func (b *blockNodes) observeGate(logit, lse []float32) {
	if b.frame.run.stats == nil {
		return
	}
	shares := scratch.Borrow(len(logit))
	defer scratch.Release(shares)
	gate := model.GateOp{Gate: b.spec().Gate, Dims: b.dims()}
	gate.Shares(shares, logit, lse)
	b.frame.run.stats.ObserveGate(shares, gate.Dims.Heads, gate.Width()/gate.Dims.Heads)
}
