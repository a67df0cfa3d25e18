package kernels

// SiLUMul writes silu(gate)*up to dst, with silu(x) = x*sigmoid(x): the activation of Llama's feed-forward block
// (SwiGLU, https://arxiv.org/abs/2002.05202). gate and up are at least as long as dst, which may be one of them.
func SiLUMul(dst, gate, up []float32) {
	siluMul(dst, gate[:len(dst)], up[:len(dst)])
}

// SiLUMulGrad writes the gradients of SiLUMul with respect to gate and up, given the output's gradient dy. All are
// at least as long as dy; dGate and dUp may be any of the inputs.
func SiLUMulGrad(dGate, dUp, dy, gate, up []float32) {
	n := len(dy)
	siluMulGrad(dGate[:n], dUp[:n], dy, gate[:n], up[:n])
}

// GELUTanhMul writes gelu(gate)*up to dst with GELU's tanh approximation, the activation of Gemma's feed-forward
// block: gelu(x) = x/2*(1+tanh(√(2/π)*(x+0.044715x³))) (https://arxiv.org/abs/1606.08415). gate and up are at
// least as long as dst, which may be one of them.
func GELUTanhMul(dst, gate, up []float32) {
	geluTanhMul(dst, gate[:len(dst)], up[:len(dst)])
}

// GELUTanhMulGrad writes the gradients of GELUTanhMul with respect to gate and up, given the output's gradient dy.
// All are at least as long as dy; dGate and dUp may be any of the inputs.
func GELUTanhMulGrad(dGate, dUp, dy, gate, up []float32) {
	n := len(dy)
	geluTanhMulGrad(dGate[:n], dUp[:n], dy, gate[:n], up[:n])
}
