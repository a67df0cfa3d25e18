package quant

import (
	"math"

	"eisft/internal/scratch"
	"eisft/model"
	"eisft/model/kernels"
	"eisft/quant/encoding"
)

// Weight is the quantized matrix of a frozen map: W[o,i] is what Codes[o,i] stands for
// under the encoding of a matrix [Out,In].
type Weight struct {
	Name    string // of the map: "model.layers.0.self_attn.q_proj"
	Out, In int
	encoding.Encoding
	Codes []int8 // [Out,In]

	product kernels.Stored // the codes as kernels multiply with them, if they lie in a file; see [shelf.products]
}

// Format returns how the weights are encoded.
func (w *Weight) Format() encoding.Format {
	return encoding.Format{Bits: w.Bits, Unsigned: w.Unsigned, ZeroPoint: w.Zeros != nil, Block: w.Block, LowPower: w.Channels != nil}
}

// Dequantize returns the matrix that the codes stand for, [Out,In].
func (w *Weight) Dequantize() []float32 {
	matrix := make([]float32, len(w.Codes))
	encoding.Dequantize(w.Encoding, matrix, w.Codes, w.Out, w.In)
	return matrix
}

// linear returns a map of base with these weights in place of those of l. It runs from the
// codes, unless their shape is none that kernels multiply with, or they have zero points.
func (w *Weight) linear(base *model.Base, l *model.Linear) *model.Linear {
	codes, ok := w.product, w.product.Data != nil
	if !ok && w.multiplied() {
		codes, ok = kernels.StoreCodes(w.Bits, w.Codes, w.Scales, w.Out, w.In, w.Block)
	}
	if ok {
		return base.Coded(w.Name, w.In, w.Out, codes, l.Bias)
	}
	return model.NewLinear(w.Name, w.In, w.Out, w.Dequantize(), l.Bias)
}

// multiplied says whether the encoding is of a kind that kernels multiply with.
func (w *Weight) multiplied() bool {
	scales := w.Out
	if w.Block > 0 {
		scales *= w.In / w.Block
	}
	return w.Symmetric() && len(w.Scales) == scales && (w.Axis == 1) == (w.Block > 0)
}

// Bytes returns the size of codes, scales and zero points; a multiple of a channel's scale
// takes 4 bits.
func (w *Weight) Bytes() int {
	if w.LowPower() {
		return (len(w.Codes)*w.Bits+7)/8 + 4*len(w.Channels) + (len(w.Scales)+1)/2
	}
	return (len(w.Codes)*w.Bits+7)/8 + 4*len(w.Scales) + (len(w.Zeros)*w.Bits+7)/8
}

// fidelity compares the codes with the float weights of a map that they stand for: the share
// that lies beyond the codes, and the signal-to-noise ratio in dB.
func (w *Weight) fidelity(l *model.Linear) (clipped, decibel float64) {
	beyond, signal, noise := 0, 0.0, 0.0
	length, scale := w.Index(len(w.Codes), w.Out, w.In)
	matrix := scratch.Borrow(min(w.Out, max(1, rowFloats/w.In)) * w.In)
	defer scratch.Release(matrix)
	_ = w.inRows(func(first, last int) error {
		l.Rows(matrix, first, last)
		at := first * w.In
		for i, x := range matrix[:(last-first)*w.In] {
			s := scale((at + i) / length)
			v := float64(x)
			e := v - float64(w.Scales[s])*float64(int32(w.Codes[at+i])-w.Zero(s))
			signal, noise = signal+v*v, noise+e*e
			if w.Saturates(v, s) {
				beyond++
			}
		}
		return nil
	})
	return float64(beyond) / float64(len(w.Codes)), sqnr(signal, noise)
}

// maxSQNR is beyond what float32 itself resolves.
const maxSQNR = 150

// sqnr is the signal-to-quantization-noise ratio in dB, at most maxSQNR.
func sqnr(signal, noise float64) float64 {
	if noise <= signal*math.Pow(10, -maxSQNR/10) {
		return maxSQNR
	}
	return 10 * math.Log10(signal/noise)
}
