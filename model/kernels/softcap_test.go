package kernels

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestSoftcap compares with tanh in float64: small arguments, both sides of the seam between
// polynomial and exponential, and what is not finite.
func TestSoftcap(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 42))
	for _, c := range []float32{0.5, 30, 50} {
		x := append(normals(r, 1000, 20), 0, 1e-8, -1e-3, 0.62*c, 0.63*c, -0.625*c, 1e9, -1e9)
		y := append([]float32{}, x...)
		Softcap(y, c)
		for i, v := range x {
			want := float64(c) * math.Tanh(float64(v)/float64(c))
			if off := math.Abs(float64(y[i]) - want); off > 3e-7*math.Abs(want) {
				t.Errorf("%g·tanh(%g/%g) is %g, want %g", c, v, c, y[i], want)
			}
		}
	}
	y := []float32{float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}
	Softcap(y, 2)
	if y[0] != 2 || y[1] != -2 || y[2] == y[2] {
		t.Errorf("infinities and NaN become %v, want 2, -2 and NaN", y)
	}
}

func TestSoftcapGrad(t *testing.T) {
	r := rand.New(rand.NewPCG(43, 44))
	x, dy, y := normals(r, 21, 3), normals(r, 21, 1), make([]float32, 21)
	forward := func() float64 { copy(y, x); Softcap(y, 2.5); return dot64(y, dy) }
	forward()
	dx := append([]float32{}, dy...)
	SoftcapGrad(dx, y, 2.5)
	checkGrad(t, "SoftcapGrad", x, dx, forward)
}
