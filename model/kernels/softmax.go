package kernels

import "math"

// Softmax replaces the row x by its softmax and returns log(sum(e**x)) of what it was. The row's maximum is
// subtracted first, so nothing overflows. A row of -Inf alone (nothing visible) or an empty one becomes zeros and
// returns -Inf; a row with NaN or +Inf becomes NaN.
func Softmax(x []float32) (logSumExp float32) {
	m := maxOf(x)
	if math.IsInf(float64(m), -1) {
		clear(x)
		return m
	}
	var sum float32
	for i, v := range x {
		x[i] = Exp1(v - m)
		sum += x[i]
	}
	Scale(1/sum, x)
	return m + float32(math.Log(float64(sum)))
}

// SoftmaxGrad writes the gradient of a softmax row to dx, given its output y and the output's gradient dy:
// dx = y*(dy - sum(dy*y)). dx may be dy.
func SoftmaxGrad(dx, dy, y []float32) {
	dx, dy = dx[:len(y)], dy[:len(y)]
	s := Dot(dy, y)
	for i, v := range y {
		dx[i] = v * (dy[i] - s)
	}
}

// LogSumExp returns log(sum(e**x)), -Inf for an empty row or one of -Inf alone.
func LogSumExp(x []float32) float32 {
	m := maxOf(x)
	if math.IsInf(float64(m), -1) {
		return m
	}
	var sum float32
	for _, v := range x {
		sum += Exp1(v - m)
	}
	return m + float32(math.Log(float64(sum)))
}

// maxOf returns the largest element of x, -Inf when x is empty and NaN when x holds one.
func maxOf(x []float32) float32 {
	m := float32(math.Inf(-1))
	for _, v := range x {
		m = max(m, v)
	}
	return m
}
