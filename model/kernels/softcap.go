package kernels

import "math"

// Softcap writes c·tanh(x/c) over x, for c above 0: the cap of Gemma 2's logits (https://arxiv.org/abs/2408.00118,
// section 2).
func Softcap(x []float32, c float32) {
	inv := 1 / c
	for i, v := range x {
		x[i] = c * tanh(v*inv)
	}
}

// SoftcapGrad multiplies dx, the gradients of the results y of Softcap, by its derivative 1-(y/c)².
func SoftcapGrad(dx, y []float32, c float32) {
	need("SoftcapGrad: y", len(y), len(dx))
	inv := 1 / c
	for i, v := range y[:len(dx)] {
		t := v * inv
		dx[i] *= 1 - t*t
	}
}

// tanh is exact to two units in the last place: below 0.625 by the odd polynomial of the Cephes library's tanhf, since
// 1-2/(e²ˣ+1) loses what is small there.
func tanh(x float32) float32 {
	a := float32(math.Abs(float64(x)))
	if a < 0.625 {
		z := x * x
		p := ((((-5.70498872745e-3*z+2.06390887954e-2)*z-5.37397155531e-2)*z+1.33314422036e-1)*z - 3.33332819422e-1) * z
		return p*x + x
	}
	t := 1 - 2/(Exp1(2*a)+1)
	return float32(math.Copysign(float64(t), float64(x)))
}
