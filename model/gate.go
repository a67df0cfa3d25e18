package model

import (
	"math"

	"eisft/model/kernels"
)

// GateOp computes how strongly the memory's read enters, and mixes it in where
// the gate is not a column of the softmax (method, section 3).
type GateOp struct {
	Gate Gate
	Dims Dims
}

// Width returns the columns of the logits: H, or H·d for the vector gate.
func (g GateOp) Width() int {
	if g.Gate == GateVector {
		return g.Dims.Heads * g.Dims.HeadDim
	}
	return g.Dims.Heads
}

func (g GateOp) usesQuery() bool { return g.Gate == GateQuery || g.Gate == GateSlot }

// Logit writes [T, Width]: b for the scalar and vector gates, q·u/√d + b for
// query and slot, b + log(mass + 1e-6) for mass. q is [T,H·d] before rotary
// embedding, read [T, H·(d+1)], b and u as in LayerParams (u may be nil).
func (g GateOp) Logit(dst, q, read, b, u []float32, rows int) {
	width, d := g.Width(), g.Dims.HeadDim
	scale := float32(1 / math.Sqrt(float64(d)))
	for t := range rows {
		row := dst[t*width : (t+1)*width]
		copy(row, b)
		for h := range g.Dims.Heads {
			switch {
			case g.usesQuery():
				at := (t*g.Dims.Heads + h) * d
				row[h] += scale * kernels.Dot(q[at:at+d], u[h*d:(h+1)*d])
			case g.Gate == GateMass:
				row[h] += float32(math.Log(float64(g.mass(read, t, h)) + memoryEps))
			}
		}
	}
}

func (g GateOp) mass(read []float32, t, h int) float32 {
	e := g.Dims.HeadDim + 1
	return read[(t*g.Dims.Heads+h)*e+g.Dims.HeadDim]
}

// LogitBackward adds the gradients of q, read, b and u (dU may be nil) for the
// upstream gradient dLogit [T, Width]. dQ is nil if it is not wanted.
func (g GateOp) LogitBackward(dQ, dRead, dB, dU, dLogit, q, read, u []float32, rows int) {
	width, d := g.Width(), g.Dims.HeadDim
	scale := float32(1 / math.Sqrt(float64(d)))
	for t := range rows {
		row := dLogit[t*width : (t+1)*width]
		kernels.Add(dB, row)
		for h := range g.Dims.Heads {
			switch {
			case g.usesQuery():
				at := (t*g.Dims.Heads + h) * d
				if dQ != nil {
					kernels.Axpy(scale*row[h], u[h*d:(h+1)*d], dQ[at:at+d])
				}
				kernels.Axpy(scale*row[h], q[at:at+d], dU[h*d:(h+1)*d])
			case g.Gate == GateMass:
				dRead[(t*g.Dims.Heads+h)*(d+1)+d] += row[h] / (g.mass(read, t, h) + memoryEps)
			}
		}
	}
}

// weight returns σ of the logit of head h, dimension i.
func (g GateOp) weight(logit []float32, t, h, i int) float32 {
	if g.Gate == GateVector {
		return kernels.Sigmoid1(logit[(t*g.Dims.Heads+h)*g.Dims.HeadDim+i])
	}
	return kernels.Sigmoid1(logit[t*g.Dims.Heads+h])
}

// Mix writes w·a + (1-w)·local [T,H·d] with w = σ(logit), where a are the
// values of read (Infini-attention, eq. 6). dst may be local.
func (g GateOp) Mix(dst, logit, read, local []float32, rows int) {
	d := g.Dims.HeadDim
	for at := range rows * g.Dims.Heads {
		t, h := at/g.Dims.Heads, at%g.Dims.Heads
		for i := range d {
			w := g.weight(logit, t, h, i)
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
	d := g.Dims.HeadDim
	for at := range rows * g.Dims.Heads {
		t, h := at/g.Dims.Heads, at%g.Dims.Heads
		for i := range d {
			w, up := g.weight(logit, t, h, i), dOut[at*d+i]
			dRead[at*(d+1)+i] += w * up
			if dLocal != nil {
				dLocal[at*d+i] += (1 - w) * up
			}
			dl := w * (1 - w) * up * (read[at*(d+1)+i] - local[at*d+i])
			if g.Gate == GateVector {
				dLogit[at*d+i] += dl
			} else {
				dLogit[at] += dl
			}
		}
	}
}
