package eval

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestBootstrap: of 200 conversations with one question each, the interval of a share is
// that of the normal approximation, 1.96·√(p(1−p)/n) to both sides; of conversations whose
// ten questions all have the same answer it is as wide as with one question each.
func TestBootstrap(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	const n, p = 200, 0.8
	sums, weights := make([]float64, n), make([]float64, n)
	for i := range sums {
		weights[i] = 1
		if random.Float64() < p {
			sums[i] = 1
		}
	}
	share := Mean(sums, weights)(Units(n))
	half := 1.96 * math.Sqrt(share*(1-share)/n)
	got := Bootstrap(n, Mean(sums, weights))
	if math.Abs(got.Lo-(share-half)) > 0.012 || math.Abs(got.Hi-(share+half)) > 0.012 {
		t.Errorf("%+v, want %g to %g", got, share-half, share+half)
	}
	if again := Bootstrap(n, Mean(sums, weights)); again != got {
		t.Errorf("again %+v", again)
	}
	tens, ten := make([]float64, n), make([]float64, n)
	for i := range tens {
		tens[i], ten[i] = 10*sums[i], 10
	}
	if clustered := Bootstrap(n, Mean(tens, ten)); clustered != got {
		t.Errorf("ten questions each that all agree: %+v, want %+v", clustered, got)
	}
}

// TestBootstrapPaired: two models that differ in one conversation of twenty differ by an
// interval that is much narrower than that of either.
func TestBootstrapPaired(t *testing.T) {
	const n = 20
	a, b, ones := make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range a {
		ones[i], a[i], b[i] = 1, float64(i%2), float64(i%2)
	}
	b[1] = 0
	difference := func(units []int) float64 { return Mean(b, ones)(units) - Mean(a, ones)(units) }
	each, paired := Bootstrap(n, Mean(a, ones)), Bootstrap(n, difference)
	if paired.Lo < -0.2 || paired.Hi != 0 || each.Hi-each.Lo < 0.3 {
		t.Errorf("the difference %+v, one model %+v", paired, each)
	}
}

// TestBootstrapEdges: one unit has no interval, and draws without a weight do not count.
func TestBootstrapEdges(t *testing.T) {
	if got := Bootstrap(1, Mean([]float64{1}, []float64{1})); got != (Interval{}) {
		t.Errorf("one unit: %+v", got)
	}
	if got := Bootstrap(2, Mean([]float64{0, 0}, []float64{0, 0})); got != (Interval{}) {
		t.Errorf("no weight: %+v", got)
	}
	if got := Bootstrap(2, Mean([]float64{0, 3}, []float64{0, 1})); got != (Interval{3, 3}) {
		t.Errorf("a weight in one of two: %+v", got)
	}
}
