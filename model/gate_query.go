package model

import (
	"math"

	"eisft/model/kernels"
)

// The gates whose logit comes from the query: q·u/√d + b, with u [H,d].
const (
	GateQuery Gate = "query" // mixes
	GateSlot  Gate = "slot"  // one more column of the softmax
)

var (
	queryGate = gateForm{
		params: []gateParam{{"bias", perHead, initialMix}, {"query", perDimension, 0}},
		term:   queryTerm, termBackward: queryTermBackward,
	}
	slotGate = gateForm{
		column: true,
		params: []gateParam{{"bias", perHead, -4}, {"query", perDimension, 0}},
		term:   queryTerm, termBackward: queryTermBackward,
	}
)

// queryTerm is q·u/√d.
func queryTerm(g GateOp, logit []float32, in GateInputs) {
	d, u, scale := g.Dims.HeadDim, in.Params[1], g.queryScale()
	for at := range logit {
		h := at % g.Dims.Heads
		logit[at] += scale * kernels.Dot(in.Q[at*d:(at+1)*d], u[h*d:(h+1)*d])
	}
}

func queryTermBackward(g GateOp, grads GateInputs, dLogit []float32, in GateInputs) {
	d, u, du, scale := g.Dims.HeadDim, in.Params[1], grads.Params[1], g.queryScale()
	for at, up := range dLogit {
		h := at % g.Dims.Heads
		if grads.Q != nil {
			kernels.Axpy(scale*up, u[h*d:(h+1)*d], grads.Q[at*d:(at+1)*d])
		}
		kernels.Axpy(scale*up, in.Q[at*d:(at+1)*d], du[h*d:(h+1)*d])
	}
}

// queryScale is 1/√d.
func (g GateOp) queryScale() float32 { return float32(1 / math.Sqrt(float64(g.Dims.HeadDim))) }
