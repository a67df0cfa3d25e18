package kernels

import "math"

// Softmax replaces the row x by its softmax and returns log(sum(e**x)) of what it was. The row's maximum is
// subtracted first, so nothing overflows. A row of -Inf alone (nothing visible) or an empty one becomes zeros and
// returns -Inf; a row with NaN or +Inf becomes NaN.
func Softmax(x []float32) (logSumExp float32) {
	sum, m := SoftmaxExp(x)
	if sum == 0 {
		return float32(math.Inf(-1))
	}
	scale(1/sum, x)
	return m + float32(math.Log(float64(sum)))
}

// SoftmaxExp is [Softmax] without the division: it replaces x by e**(x-shift) and returns their sum, so that the
// division can wait until after a product with fewer columns.
func SoftmaxExp(x []float32) (sum, shift float32) {
	shift = shiftOf(x)
	return expSum(x, x, shift), shift
}

// ExpShifted replaces x, none of which is above shift by more than rounding, by e**(x-shift).
func ExpShifted(x []float32, shift float32) { expSum(x, x, shift) }

// SoftmaxGradAt is [SoftmaxGrad] in place where s, the sum of dy*y, is known.
func SoftmaxGradAt(dy, y []float32, s float32) { softmaxGrad(dy[:len(y)], dy, y, s) }

// SoftmaxGrad writes the gradient of a softmax row to dx, given its output y and the output's gradient dy:
// dx = y*(dy - sum(dy*y)). dx may be dy.
func SoftmaxGrad(dx, dy, y []float32) {
	dx, dy = dx[:len(y)], dy[:len(y)]
	softmaxGrad(dx, dy, y, dot(dy, y))
}

// LogSumExp returns log(sum(e**x)), -Inf for an empty row or one of -Inf alone.
func LogSumExp(x []float32) float32 {
	m := shiftOf(x)
	return m + float32(math.Log(float64(sumExp(x, m))))
}

// shiftOf returns what to subtract from x before its exponential: the maximum, or 0 where that is -Inf, from which
// -Inf cannot be subtracted.
func shiftOf(x []float32) float32 {
	if m := maxOf(x); !math.IsInf(float64(m), -1) {
		return m
	}
	return 0
}
