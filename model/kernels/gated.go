package kernels

import "math"

// SiLUMul writes silu(gate)*up to dst, with silu(x) = x*sigmoid(x): the activation of Llama's feed-forward block
// (SwiGLU, https://arxiv.org/abs/2002.05202). gate and up are at least as long as dst, which may be one of them.
func SiLUMul(dst, gate, up []float32) {
	gate, up = gate[:len(dst)], up[:len(dst)]
	for i, g := range gate {
		dst[i] = g * Sigmoid1(g) * up[i]
	}
}

// SiLUMulGrad writes the gradients of SiLUMul with respect to gate and up, given the output's gradient dy. All are
// at least as long as dy; dGate and dUp may be any of the inputs.
func SiLUMulGrad(dGate, dUp, dy, gate, up []float32) {
	n := len(dy)
	dGate, dUp, gate, up = dGate[:n], dUp[:n], gate[:n], up[:n]
	for i, g := range gate {
		s, d, u := Sigmoid1(g), dy[i], up[i]
		dGate[i] = d * u * s * (1 + g*(1-s))
		dUp[i] = d * g * s
	}
}

// GELUTanhMul writes gelu(gate)*up to dst with GELU's tanh approximation, the activation of Gemma's feed-forward
// block: gelu(x) = x/2*(1+tanh(√(2/π)*(x+0.044715x³))) (https://arxiv.org/abs/1606.08415). gate and up are at
// least as long as dst, which may be one of them.
func GELUTanhMul(dst, gate, up []float32) {
	gate, up = gate[:len(dst)], up[:len(dst)]
	for i, g := range gate {
		dst[i] = g * Sigmoid1(geluArg(g)) * up[i]
	}
}

// GELUTanhMulGrad writes the gradients of GELUTanhMul with respect to gate and up, given the output's gradient dy.
// All are at least as long as dy; dGate and dUp may be any of the inputs.
func GELUTanhMulGrad(dGate, dUp, dy, gate, up []float32) {
	n := len(dy)
	dGate, dUp, gate, up = dGate[:n], dUp[:n], gate[:n], up[:n]
	for i, g := range gate {
		s, d, u := Sigmoid1(geluArg(g)), dy[i], up[i]
		slope := geluScale * (1 + 3*geluCubic*g*g)
		dGate[i] = d * u * s * (1 + g*(1-s)*slope)
		dUp[i] = d * g * s
	}
}

const geluCubic = 0.044715

var geluScale = float32(2 * math.Sqrt(2/math.Pi))

// geluArg returns z with gelu(x) = x*sigmoid(z), since (1+tanh(z/2))/2 = sigmoid(z).
func geluArg(x float32) float32 { return geluScale * (x + geluCubic*x*x*x) }
