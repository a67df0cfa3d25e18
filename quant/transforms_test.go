package quant

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"eisft/data"
	"eisft/model"
	"eisft/model/modeltest"
	"eisft/quant/encoding"
)

// demoChannels are statistics of the demo base over a text of its kind.
func demoChannels(t testing.TB) (*model.Model, *Channels) {
	t.Helper()
	m := demoModel(t)
	seen, err := CollectChannels(t.Context(), m, each(rows(t, "calib.parquet", 2, 512)...))
	if err != nil {
		t.Fatal(err)
	}
	return m, seen
}

// TestSmoothQuantBalances: with α = 1/2 activations and weights of a channel have the same
// maximum afterwards (arXiv 2211.10438, section 4), where a point has a scale for each channel.
func TestSmoothQuantBalances(t *testing.T) {
	m, seen := demoChannels(t)
	tm, f, err := Transform(t.Context(), m, &Recipe{Transforms: []string{"smoothquant"}}, seen)
	if err != nil {
		t.Fatal(err)
	}
	after := seen.after(m.Base, &f.Steps[0])
	for _, place := range seams(tm.Base) {
		if place.repeat > 1 {
			continue
		}
		x, w := after.points[place.point].Max, columnMax(place.readers)
		if d := apart(x, w); d > 1e-4 {
			t.Errorf("%s: the maxima of activations and weights differ by %g", place.point, d)
		}
	}
}

// TestAWQLowersItsError: on every point of the demo base the scales that were chosen have no
// larger error than rounding as it is, and on most a smaller one.
func TestAWQLowersItsError(t *testing.T) {
	m, seen := demoChannels(t)
	format := encoding.Format{Bits: 4}
	better, all := 0, 0
	for _, place := range seams(m.Base) {
		if place.layer%4 != 3 && place.layer >= 0 {
			continue
		}
		ch := seen.points[place.point]
		scales, err := awqScales(t.Context(), place, ch, format, 6)
		if err != nil {
			t.Fatal(err)
		}
		chosen, plain := 0.0, 0.0
		for _, l := range place.readers {
			ones := slices.Repeat([]float32{1}, l.In)
			a, errA := roundingError(l, place.spread(scales), ch.Rows, format)
			b, errB := roundingError(l, ones, ch.Rows, format)
			if err := errors.Join(errA, errB); err != nil {
				t.Fatal(err)
			}
			chosen, plain = chosen+a, plain+b
		}
		if chosen > plain*1.0001 {
			t.Errorf("%s: error %g, %g as it is", place.point, chosen, plain)
		}
		all++
		if chosen < 0.97*plain {
			better++
		}
	}
	t.Logf("%d of %d points have an error that is smaller by more than 3 %%", better, all)
	if better < all/2 {
		t.Errorf("%d of %d points gain", better, all)
	}
}

// TestRoundingError compares with the products themselves.
func TestRoundingError(t *testing.T) {
	const in, out, n = 24, 18, 7
	l := model.NewLinear("w", in, out, normal(in*out, 0.3), nil)
	x, s := normal(n*in, 1), make([]float32, in)
	for i := range s {
		s[i] = 0.5 + float32(i)/in
	}
	scaled := slices.Clone(l.Weight())
	multiplyRows(scaled, s)
	w, err := (&Map{Name: "w", Matrix: scaled, Out: out, In: in, Format: encoding.Format{Bits: 4}}).nearest()
	if err != nil {
		t.Fatal(err)
	}
	want, y, z := 0.0, make([]float32, n*out), make([]float32, n*out)
	l.Apply(y, x)
	model.NewLinear("w", in, out, w.Dequantize(), nil).Apply(z, dividedRows(x, s))
	for i := range y {
		want += float64(y[i]-z[i]) * float64(y[i]-z[i])
	}
	got, err := roundingError(l, s, x, encoding.Format{Bits: 4})
	if err != nil || got < 0.999*want || got > 1.001*want {
		t.Errorf("error %g (%v), want %g", got, err, want)
	}
}

// TestLearningIsBetter: on layers of the demo base the learned rotations have less noise in
// their own objective than the random Hadamard that they start from, by at least
// a twentieth after few steps, and are the same from the same seed.
func TestLearningIsBetter(t *testing.T) {
	m, seen := demoChannels(t)
	learn := func(seed int64, steps int) *Folded {
		_, f, err := Transform(t.Context(), m, &Recipe{
			Scheme: testW4, Transforms: []string{"rotate"}, Seed: seed, Rotate: Rotate{R1: "learned", R2: "learned", Steps: steps},
		}, seen)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := learn(1, 20)
	random := rand.New(rand.NewPCG(1, 0x707461746f72))
	hadamard, _ := randomRotation(m.Base.Dims.Hidden, random)
	l := &learner{weights: noiseShare(encoding.Format{Bits: 4}), head: noiseShare(encoding.Format{Bits: 8}), activation: noiseShare(encoding.Format{Bits: 16})}
	p := &streamProblem{base: m.Base, seen: seen, learner: l}
	before, err := objective(t.Context(), p, hadamard, m.Base.Dims.Hidden)
	if err != nil {
		t.Fatal(err)
	}
	after, err := objective(t.Context(), p, f.Steps[0].Residual, m.Base.Dims.Hidden)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("noise %.4g, %.4g after learning; %s", before, after, strings.Join(f.Notes, "; "))
	if !(after < 0.95*before) {
		t.Errorf("noise %.4g, %.4g after learning", before, after)
	}
	if s := &f.Steps[0]; s.fits(m) != nil {
		t.Error(s.fits(m))
	}
	few := learn(1, 2)
	if again := learn(1, 2); !reflect.DeepEqual(again.Steps, few.Steps) {
		t.Error("the same seed gives another rotation")
	}
	if other := learn(2, 2); reflect.DeepEqual(other.Steps, few.Steps) {
		t.Error("another seed gives the same rotation")
	}
}

// TestLearnedGradient compares the gradient of a term with finite differences of the p-norm's
// form of its noise.
func TestLearnedGradient(t *testing.T) {
	const d, n = 6, 9
	smooth := func(x term, q []float32) float64 {
		y, width := x.turned(q, d)
		total, signal := 0.0, 0.0
		for row := range slices.Chunk(y, width) {
			total += powerNorm(row)
			for _, v := range row {
				signal += float64(v) * float64(v)
			}
		}
		return x.share * float64(width) * total / signal
	}
	q := randomOrthogonal(d, rand.New(rand.NewPCG(1, 1)))
	for _, x := range []term{{x: normal(n*d, 1), n: n, share: 0.3}, {x: normal(n*d, 1), n: n, write: true, share: 0.3}} {
		g, skew := make([]float32, d*d), make([]float32, d*d)
		x.gradient(g, q, d)
		direction(skew, g, q, d)
		norm := 0.0
		for _, v := range skew {
			norm += float64(v) * float64(v)
		}
		const step = 1e-2 // along −A: the slope is −‖A‖²/2
		down, up := slices.Clone(skew), slices.Clone(skew)
		for i := range skew {
			down[i] *= step
			up[i] *= -step
		}
		qDown, qUp := slices.Clone(q), slices.Clone(q)
		cayley(qDown, down, d)
		cayley(qUp, up, d)
		slope := (smooth(x, qUp) - smooth(x, qDown)) / (2 * step)
		if want := norm / 2; slope < 0.97*want || slope > 1.03*want {
			t.Errorf("written %t: slope %g, want %g", x.write, slope, want)
		}
	}
}

// TestPowerGradient compares with finite differences, on a row whose numbers are of one size.
func TestPowerGradient(t *testing.T) {
	row := []float32{1, -0.9, 0.95, 0.2, -1, 0.99}
	g := slices.Clone(row)
	powerGradient(g, 2)
	for i := range row {
		up, down := slices.Clone(row), slices.Clone(row)
		up[i] += 1e-2
		down[i] -= 1e-2
		if want := (powerNorm(up) - powerNorm(down)) / float64(up[i]-down[i]); math.Abs(want-float64(g[i])) > 2e-3 {
			t.Errorf("dimension %d: %g, want %g", i, g[i], want)
		}
	}
}

// powerNorm is ‖row‖ₚ².
func powerNorm(row []float32) float64 {
	sum := 0.0
	for _, v := range row {
		sum += math.Pow(math.Abs(float64(v)), learnNorm)
	}
	return math.Pow(sum, 2.0/learnNorm)
}

func TestTransformErrors(t *testing.T) {
	m, seen := demoChannels(t)
	vector := *m
	vector.Spec.Gate = model.GateVector
	for _, tc := range []struct {
		name string
		m    *model.Model
		r    Recipe
		seen *Channels
		want string
	}{
		{"name", m, Recipe{Transforms: []string{"smoothquat"}}, seen, `transform is "smoothquat"; did you mean "smoothquant"? It must be one of smoothquant, awq, rotate`},
		{"twice", m, Recipe{Transforms: []string{"rotate", "rotate"}}, seen, "transform rotate is there twice; name each once"},
		{"no statistics", m, Recipe{Transforms: []string{"awq"}}, nil, "transform awq needs statistics of channels"},
		{"alpha", m, Recipe{Transforms: []string{"smoothquant"}, SmoothQuant: SmoothQuant{Alpha: 1.5}}, seen, "transform smoothquant: smoothquant.alpha is 1.5; want a share above 0, up to 1"},
		{"grid", m, Recipe{Transforms: []string{"awq"}, AWQ: AWQ{Grid: -1}}, seen, "transform awq: awq.grid is -1; want"},
		{"scheme", m, Recipe{Scheme: "w8", Transforms: []string{"awq"}}, seen, `transform awq: scheme is "w8"`},
		{"rotation", m, Recipe{Transforms: []string{"rotate"}, Rotate: Rotate{R1: "hadamart"}}, seen, `transform rotate: rotate.r1 is "hadamart"; did you mean "hadamard"?`},
		{"other rotation", m, Recipe{Transforms: []string{"rotate"}, Rotate: Rotate{R2: "x"}}, seen, `transform rotate: rotate.r2 is "x"`},
		{"nothing", m, Recipe{Transforms: []string{"rotate"}, Rotate: Rotate{R1: "none", R2: "none"}}, seen, "transform rotate: rotate.r1 and rotate.r2 are both none"},
		{"steps", m, Recipe{Scheme: "w8a16", Transforms: []string{"rotate"}, Rotate: Rotate{R1: "learned", Steps: -2}}, seen, "transform rotate: rotate.steps is -2"},
		{"vector gate", &vector, Recipe{Scheme: "w8a16", Transforms: []string{"rotate"}, Rotate: Rotate{R1: "none"}}, seen, "transform rotate: R2 cannot be folded into this block: gate: vector"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, _, err := Transform(t.Context(), tc.m, &tc.r, tc.seen); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("error %v, want %s", err, tc.want)
			}
		})
	}
	for _, name := range TransformNames() {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := Recipe{Scheme: testW4, Transforms: []string{name}, Rotate: Rotate{R1: "learned"}}
		if _, _, err := Transform(ctx, m, &r, seen); !errors.Is(err, context.Canceled) {
			t.Errorf("%s, cancelled: %v", name, err)
		}
		if wants, err := WantsChannels(&r); !wants || err != nil {
			t.Errorf("%s wants statistics: %t (%v)", name, wants, err)
		}
	}
	if wants, err := WantsChannels(&Recipe{Transforms: []string{"rotate"}}); wants || err != nil {
		t.Errorf("a random rotation wants statistics (%v)", err)
	}
}

// benchmarks of a layer of the demo base and of its size.

func BenchmarkCollectChannels(b *testing.B) {
	m := demoModel(b)
	text := data.Encoded{IDs: modeltest.Tokens(m, 512)}
	for b.Loop() {
		if _, err := CollectChannels(b.Context(), m, each(text)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(512*b.N)/b.Elapsed().Seconds(), "tokens/s")
}

// BenchmarkTransform chooses and folds each transform of the demo base, and computes every
// map of what comes out once.
func BenchmarkTransform(b *testing.B) {
	m, seen := demoChannels(b)
	for name, r := range map[string]Recipe{
		"smoothquant": {Transforms: []string{"smoothquant"}},
		"awq":         {Scheme: testW4, Transforms: []string{"awq"}},
		"hadamard":    {Transforms: []string{"rotate"}},
		"learned-10":  {Scheme: testW4, Transforms: []string{"rotate"}, Rotate: Rotate{R1: "learned", R2: "none", Steps: 10}},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				tm, _, err := Transform(b.Context(), m, &r, seen)
				if err != nil {
					b.Fatal(err)
				}
				for _, f := range frozen(tm.Base) {
					f.Weight()
				}
			}
		})
	}
}

// BenchmarkLearnStep is a step of learning R1 on a layer of a model of 0.5 billion
// parameters (D = 896, a feed-forward layer of 4,864).
func BenchmarkLearnStep(b *testing.B) {
	const d, wide = 896, 4864
	x := normal(wide*d, 0.05)
	p := fixedProblem{
		{x: x[:5*readerRows*d], n: 5 * readerRows, share: 1},
		{x: x[:d*d], n: d, write: true, share: 1},
		{x: x, n: wide, write: true, share: 1},
	}
	q, _ := randomRotation(d, rand.New(rand.NewPCG(1, 2)))
	l := &learner{steps: 1, random: rand.New(rand.NewPCG(1, 2))}
	for b.Loop() {
		g, skew := make([]float32, d*d), make([]float32, d*d)
		for _, t := range p.batch(l.random) {
			t.gradient(g, q, d)
		}
		direction(skew, g, q, d)
		normalize(skew, d)
		cayley(q, skew, d)
	}
}
