package kernels

import "math"

// Exp1 returns e**x.
func Exp1(x float32) float32 { return float32(math.Exp(float64(x))) }

// Sigmoid1 returns 1/(1+e**-x).
func Sigmoid1(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }

// LogSigmoid1 returns log(1/(1+e**-x)), exact for large |x| of either sign.
func LogSigmoid1(x float32) float32 {
	v := float64(x)
	return float32(math.Min(v, 0) - math.Log1p(math.Exp(-math.Abs(v))))
}

// Exp writes e**x to dst, which is at least as long as x and may be x.
func Exp(dst, x []float32) {
	exp(dst[:len(x)], x)
}

// Sigmoid writes 1/(1+e**-x) to dst, which is at least as long as x and may be x.
func Sigmoid(dst, x []float32) {
	sigmoid(dst[:len(x)], x)
}

// LogSigmoid writes log(sigmoid(x)) to dst, which is at least as long as x and may be x.
func LogSigmoid(dst, x []float32) {
	logSigmoid(dst[:len(x)], x)
}
