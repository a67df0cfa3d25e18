package model

import (
	"eisft/internal/enum"
	"eisft/model/kernels"
)

// Gate is a way for the memory's read to enter the attention (docs/method.md, section 3).
type Gate string

// gates are all gates. Each stands in a file of its own or beside those with the same
// formula; how its logit is worded in ONNX ops is an entry of the table in package
// export/lower.
var gates = enum.NewTable[Gate, gateForm]("gate").
	With(GateScalar, scalarGate).
	With(GateVector, vectorGate).
	With(GateQuery, queryGate).
	With(GateSlot, slotGate).
	With(GateMass, massGate)

// Gates lists the gates.
func Gates() []Gate { return gates.Names() }

// gateForm is what sets a gate apart from the others. Its logit is the bias b, and a
// term where the gate has one.
type gateForm struct {
	// column: the read enters as one more column of the softmax, with the logit in the
	// place of q·k. Otherwise it is mixed with the attention by the weight σ(logit).
	column bool
	// byMass: the logit holds log(mass + ε) of the memory's read.
	byMass bool
	// params are what is trained. The first is b, which is as wide as a token's logit.
	params []gateParam
	// term adds to the logits [T,H] of b alone, and termBackward adds its gradients;
	// both are nil for a gate without.
	term         func(g GateOp, logit []float32, in GateInputs)
	termBackward func(g GateOp, grads GateInputs, dLogit []float32, in GateInputs)
}

// gateParam is a trained parameter of a gate, "layers.N.gate.NAME" in an adapter.
type gateParam struct {
	name    string
	shape   func(d Dims) []int
	initial float32
}

// perHead and perDimension are the shapes [H] and [H,d].
func perHead(d Dims) []int      { return []int{d.Heads} }
func perDimension(d Dims) []int { return []int{d.Heads, d.HeadDim} }

// initialMix is where the bias of a gate that mixes starts: w = σ(-2) = 0.12. Gates start
// nearly closed, so that the untrained block is close to sinks + window.
const initialMix = -2

// GateOp computes how strongly the memory's read enters, and mixes it in where
// the gate is not a column of the softmax (docs/method.md, section 3).
type GateOp struct {
	Gate Gate
	Dims Dims
}

// GateInputs are what a gate's logit is computed from, or the gradients of these.
type GateInputs struct {
	Q      []float32   // queries before rotary embedding [T,H·d]; gradient: nil if it is not wanted
	Read   []float32   // of the memory [T, H·(d+1)]
	Params [][]float32 // as in LayerParams.Gate
}

func (g GateOp) form() gateForm { return gates.Get(g.Gate) }

// Width returns the columns of the logits: H, or H·d for the vector gate.
func (g GateOp) Width() int { return product(g.form().params[0].shape(g.Dims)) }

// Logit writes [T, Width], for T as many tokens as dst has room for.
func (g GateOp) Logit(dst []float32, in GateInputs) {
	b := in.Params[0]
	for t := 0; t < len(dst); t += len(b) {
		copy(dst[t:t+len(b)], b)
	}
	if term := g.form().term; term != nil {
		term(g, dst, in)
	}
}

// LogitBackward adds the gradients of in for the upstream gradient dLogit [T, Width].
func (g GateOp) LogitBackward(grads GateInputs, dLogit []float32, in GateInputs) {
	db := grads.Params[0]
	for t := 0; t < len(dLogit); t += len(db) {
		kernels.Add(db, dLogit[t:t+len(db)])
	}
	if term := g.form().termBackward; term != nil {
		term(g, grads, dLogit, in)
	}
}

// perHeadLogits returns how many logits a head has: 1, or d for the vector gate.
func (g GateOp) perHeadLogits() int { return g.Width() / g.Dims.Heads }

// Mix writes w·a + (1-w)·local [T,H·d] with w = σ(logit), where a are the
// values of read (Infini-attention, eq. 6). dst may be local.
func (g GateOp) Mix(dst, logit, read, local []float32, rows int) {
	d, n := g.Dims.HeadDim, g.perHeadLogits()
	for at := range rows * g.Dims.Heads {
		for i := range d {
			w := kernels.Sigmoid1(logit[at*n+i%n])
			dst[at*d+i] = w*read[at*(d+1)+i] + (1-w)*local[at*d+i]
		}
	}
}

// Shares writes which share of the attention's mass the memory has [T, Width]:
// σ(logit), or exp(logit - lse) where it is a column of the softmax with lse
// [T,H] of Attention.Forward (nil otherwise).
func (g GateOp) Shares(dst, logit, lse []float32) {
	if lse == nil {
		kernels.Sigmoid(dst, logit)
		return
	}
	copy(dst, logit)
	kernels.Axpy(-1, lse, dst)
	kernels.Exp(dst, dst)
}

// MixBackward adds the gradients of logit, read and local (nil if it is not
// wanted) for the upstream gradient dOut [T,H·d].
func (g GateOp) MixBackward(dLogit, dRead, dLocal, dOut, logit, read, local []float32, rows int) {
	d, n := g.Dims.HeadDim, g.perHeadLogits()
	for at := range rows * g.Dims.Heads {
		for i := range d {
			w, up := kernels.Sigmoid1(logit[at*n+i%n]), dOut[at*d+i]
			dRead[at*(d+1)+i] += w * up
			if dLocal != nil {
				dLocal[at*d+i] += (1 - w) * up
			}
			dl := w * (1 - w) * up * (read[at*(d+1)+i] - local[at*d+i])
			dLogit[at*n+i%n] += dl
		}
	}
}
