package model

import "math"

// GateMass is one more column of the softmax, with the logit log(mass + ε) + b: what the
// memory has for the query, φ(q)z, stands beside the exponentials of the keys.
const GateMass Gate = "mass"

var massGate = gateForm{
	column: true, byMass: true,
	params: []gateParam{{"bias", perHead, 0}},
	term:   massTerm, termBackward: massTermBackward,
}

func massTerm(g GateOp, logit []float32, in GateInputs) {
	for at := range logit {
		logit[at] += g.logMass(in.Read, at)
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

// logMass is log(mass + ε) of the at-th read of a head.
func (g GateOp) logMass(read []float32, at int) float32 {
	return float32(math.Log(float64(g.mass(read, at)) + memoryEps))
}

// MeanMass words the at-th logit of the mass gate as graphs do (docs/graphs.md, section 4),
// where n tokens were written to the memory of a block s: without the mass and less log
// StateScale, and with the logarithm of n apart; the exponential of their sum is multiplied
// by the mean mass in the state's scale.
func (g GateOp) MeanMass(s Spec, logit, read []float32, at, n int) (bias, logTokens, mass float32) {
	scale := s.StateScale()
	bias = logit[at] - g.logMass(read, at) - float32(math.Log(scale))
	tokens := s.EmptyTokens()
	if n > 0 {
		tokens = float64(n)
		mass = g.mass(read, at) / float32(n) * float32(scale)
	}
	return bias, float32(math.Log(tokens)), max(mass, LeastMass)
}
