package model

import "math"

// GateMass is one more column of the softmax, with the logit log(mass + ε) + b: what the
// memory has for the query, φ(q)z, stands beside the exponentials of the keys.
const GateMass Gate = "mass"

var massGate = gateForm{
	column: true,
	params: []gateParam{{"bias", perHead, 0}},
	term:   massTerm, termBackward: massTermBackward,
}

func massTerm(g GateOp, logit []float32, in GateInputs) {
	for at := range logit {
		logit[at] += float32(math.Log(float64(g.mass(in.Read, at)) + memoryEps))
	}
}

func massTermBackward(g GateOp, grads GateInputs, dLogit []float32, in GateInputs) {
	e := g.Dims.HeadDim + 1
	for at, up := range dLogit {
		grads.Read[at*e+e-1] += up / (g.mass(in.Read, at) + memoryEps)
	}
}

// mass returns the mass of the at-th read of a head.
func (g GateOp) mass(read []float32, at int) float32 {
	e := g.Dims.HeadDim + 1
	return read[at*e+e-1]
}
