package quant

import (
	"fmt"
	"math"

	"eisft/model"
	"eisft/model/kernels"
)

// Weight is the quantized matrix of a frozen map: W[o,i] ≈ Scales[o]·Codes[o,i].
type Weight struct {
	Name    string // of the map: "model.layers.0.self_attn.q_proj"
	Out, In int
	Bits    int
	Codes   []int8    // [Out,In]
	Scales  []float32 // [Out]
}

// quantizeWeight rounds each output channel to the nearest of 2^bits-1 levels,
// the largest magnitude being the last one: scale = max|w|/127 for 8 bits.
func quantizeWeight(name string, l *model.Linear, bits int) (*Weight, error) {
	w := &Weight{Name: name, Out: l.Out, In: l.In, Bits: bits, Codes: make([]int8, l.Out*l.In), Scales: make([]float32, l.Out)}
	matrix := l.Weight()
	for o := range w.Out {
		bound := maxAbs(matrix[o*w.In : (o+1)*w.In])
		if !finite(bound) {
			return nil, fmt.Errorf("%s.weight: row %d holds NaN or infinity; the checkpoint is damaged", name, o)
		}
		w.Scales[o] = symmetric(bits, bound).Scale
	}
	kernels.Parallel(w.Out, 64, func(lo, hi int) {
		for o := lo; o < hi; o++ {
			e := Encoding{bits, w.Scales[o]}
			for i, v := range matrix[o*w.In : (o+1)*w.In] {
				w.Codes[o*w.In+i] = int8(e.Code(v))
			}
		}
	})
	return w, nil
}

// Dequantize returns the matrix that the codes stand for, [Out,In].
func (w *Weight) Dequantize() []float32 {
	matrix := make([]float32, len(w.Codes))
	for o, s := range w.Scales {
		for i, c := range w.Codes[o*w.In : (o+1)*w.In] {
			matrix[o*w.In+i] = s * float32(c)
		}
	}
	return matrix
}

// Bytes returns the size of codes and scales.
func (w *Weight) Bytes() int { return len(w.Codes) + 4*len(w.Scales) }

// fidelity compares the codes with the float weights they stand for: the share
// that lies beyond the last code, and the signal-to-noise ratio in dB.
func (w *Weight) fidelity(matrix []float32) (clipped, decibel float64) {
	beyond, signal, noise := 0, 0.0, 0.0
	for o, s := range w.Scales {
		code := Encoding{w.Bits, s}
		for i := o * w.In; i < (o+1)*w.In; i++ {
			v := float64(matrix[i])
			e := v - float64(s)*float64(w.Codes[i])
			signal, noise = signal+v*v, noise+e*e
			if code.saturates(math.Abs(v)) {
				beyond++
			}
		}
	}
	return float64(beyond) / float64(len(matrix)), sqnr(signal, noise)
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

// maxAbs returns the largest magnitude, NaN if there is one.
func maxAbs(x []float32) float32 {
	m := float32(0)
	for _, v := range x {
		if a := abs(v); !(a <= m) {
			m = a
			if m != m {
				break
			}
		}
	}
	return m
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

func finite(x float32) bool { return abs(x) <= math.MaxFloat32 }
