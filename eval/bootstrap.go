package eval

import (
	"math/rand/v2"
	"slices"
)

// Interval holds a figure's value in 95 of 100 samples like the one it was measured on.
type Interval struct {
	Lo float64 `json:"lo"`
	Hi float64 `json:"hi"`
}

// Resamples is how many samples Bootstrap draws: the ends of an interval move by less than
// a twentieth of its width from one seed to another.
const Resamples = 2000

// bootstrapSeed is what samples are drawn by.
const bootstrapSeed = 1

// Bootstrap returns the interval of a figure that is computed of n independent units, such
// as conversations: figure gets the indices of as many units, drawn with replacement, and
// the interval has 95 % of its values (Efron, "Bootstrap methods: another look at the
// jackknife", 1979; the percentile interval). Questions of one conversation are not
// independent, so that conversations are drawn, not questions. A figure of the difference of
// two models that draws the same units for both gives the paired interval. The same
// arguments give the same interval. With fewer than two units there is none.
func Bootstrap(n int, figure func(units []int) float64) Interval {
	if n < 2 {
		return Interval{}
	}
	random := rand.New(rand.NewPCG(bootstrapSeed, uint64(n)))
	units, values := make([]int, n), make([]float64, 0, Resamples)
	for range Resamples {
		for i := range units {
			units[i] = random.IntN(n)
		}
		if v := figure(units); v == v { // a draw without a question of a bucket has none
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return Interval{}
	}
	slices.Sort(values)
	at := func(share float64) float64 { return values[int(share*float64(len(values)-1)+0.5)] }
	return Interval{at(0.025), at(0.975)}
}

// Units returns 0 to n-1: all units once, of which a figure is the measured one.
func Units(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// Mean is a figure for [Bootstrap]: the sum of sums over the sum of weights, NaN where no
// unit drawn has a weight.
func Mean(sums, weights []float64) func(units []int) float64 {
	return func(units []int) float64 {
		sum, weight := 0.0, 0.0
		for _, u := range units {
			sum, weight = sum+sums[u], weight+weights[u]
		}
		return sum / weight
	}
}
