//go:build !(amd64 || arm64) || purego

package kernels

const useAVX512 = false

func useVectors() bool { return false }

func builtinName() string { return "built-in (portable)" }

func dot(a, b []float32) float32                           { return dotGo(a, b) }
func axpy(alpha float32, x, y []float32)                   { axpyGo(alpha, x, y) }
func add(dst, x []float32)                                 { addGo(dst, x) }
func mul(dst, x []float32)                                 { mulGo(dst, x) }
func scale(alpha float32, x []float32)                     { scaleGo(alpha, x) }
func fake(x []float32, scale, lo, hi float32)              { fakeGo(x, scale, lo, hi) }
func exp(dst, x []float32)                                 { expGo(dst, x) }
func sigmoid(dst, x []float32)                             { sigmoidGo(dst, x) }
func logSigmoid(dst, x []float32)                          { logSigmoidGo(dst, x) }
func maxOf(x []float32) float32                            { return maxOfGo(x) }
func expSum(dst, x []float32, shift float32) float32       { return expSumGo(dst, x, shift) }
func sumExp(x []float32, shift float32) float32            { return sumExpGo(x, shift) }
func softmaxGrad(dx, dy, y []float32, s float32)           { softmaxGradGo(dx, dy, y, s) }
func siluMul(dst, gate, up []float32)                      { siluMulGo(dst, gate, up) }
func siluMulGrad(dGate, dUp, dy, gate, up []float32)       { siluMulGradGo(dGate, dUp, dy, gate, up) }
func geluTanhMul(dst, gate, up []float32)                  { geluTanhMulGo(dst, gate, up) }
func geluTanhMulGrad(dGate, dUp, dy, gate, up []float32)   { geluTanhMulGradGo(dGate, dUp, dy, gate, up) }
func mulScaled(dst, x, w []float32, alpha float32)         { mulScaledGo(dst, x, w, alpha) }
func dot3(a, b, c []float32) float32                       { return dot3Go(a, b, c) }
func normGrad(dx, dy, x, w []float32, alpha, beta float32) { normGradGo(dx, dy, x, w, alpha, beta) }
func rotate(dst, src []float32, heads, half int, cos, sin []float32, sign float32) {
	rotateGo(dst, src, heads, half, cos, sin, sign)
}
func bf16ToF32(dst []float32, src []byte) { bf16ToF32Go(dst, src) }
func f16sToF32(dst []float32, src []byte) { f16sToF32Go(dst, src) }
func f32sToF16(dst []byte, src []float32) { f32sToF16Go(dst, src) }
func widenI8(dst []float32, src []byte)   { widenI8Go(dst, src) }
func roundI8(dst []byte, src []float32)   { roundI8Go(dst, src) }
func orAll(x []byte) byte                 { return orAllGo(x) }
