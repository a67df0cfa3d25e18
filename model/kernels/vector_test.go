package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// oddSizes cover empty slices, every remainder of the vector width and of the unrolled loops.
var oddSizes = []int{0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 100, 127, 257, 1000}

var specials = []float32{
	0, float32(math.Copysign(0, -1)), 1, -1, 0.5, -0.5, 1e-6, -1e-6, 1e-30, -1e-30,
	math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32, 1e-40, -1e-40,
	10, -10, 16.6, -16.6, 17.5, -17.5, 80, -80, 87.3, -87.3, 87.4, -87.4, 88.7, -88.7, 88.73, -88.73, 95, -95,
	103.2, -103.2, 103.9, -103.9, 104.1, -104.1, 1000, -1000, 1e20, -1e20, math.MaxFloat32, -math.MaxFloat32,
	float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()),
}

func normals(r *rand.Rand, n int, scale float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64() * scale)
	}
	return x
}

// ulps returns how many float32 lie between got and want, at least as a fraction.
func ulps(got float32, want float64) float64 {
	switch {
	case math.IsNaN(want) || math.IsNaN(float64(got)):
		if math.IsNaN(want) && math.IsNaN(float64(got)) {
			return 0
		}
		return math.Inf(1)
	case float32(want) == got:
		return 0
	}
	ulp := math.Nextafter32(float32(math.Abs(want)), float32(math.Inf(1))) - float32(math.Abs(want))
	return math.Abs(float64(got)-want) / float64(ulp)
}

func TestExponentialsAreAccurate(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	x := append(normals(r, 20000, 1), normals(r, 20000, 30)...)
	x = append(x, specials...)
	for v := float32(-105); v < 90; v += 0.01 {
		x = append(x, v)
	}
	log1pExp := func(v float64) float64 { return math.Log1p(math.Exp(v)) }
	for _, f := range []struct {
		name string
		run  []func(dst, x []float32)
		one  func(float32) float32
		ulps float64
		want func(float64) float64
	}{
		{"Exp", []func(dst, x []float32){Exp, expGo}, Exp1, 1, math.Exp},
		{"Sigmoid", []func(dst, x []float32){Sigmoid, sigmoidGo}, Sigmoid1, 2, func(v float64) float64 {
			return 1 / (1 + math.Exp(-v))
		}},
		{"LogSigmoid", []func(dst, x []float32){LogSigmoid, logSigmoidGo}, LogSigmoid1, 2.5, func(v float64) float64 {
			if v < -700 {
				return v
			}
			return -log1pExp(-v)
		}},
	} {
		for i, run := range f.run {
			dst := make([]float32, len(x))
			run(dst, x)
			worst, at := 0.0, float32(0)
			for j, v := range x {
				if e := ulps(dst[j], f.want(float64(v))); e > worst {
					worst, at = e, v
				}
			}
			t.Logf("%s/%d: at most %.2f ulp, at %g", f.name, i, worst, at)
			if worst > f.ulps {
				t.Errorf("%s/%d(%g) is %.2f ulp off", f.name, i, at, worst)
			}
		}
		for _, v := range specials {
			if e := ulps(f.one(v), f.want(float64(v))); e > 1 {
				t.Errorf("%s1(%g) = %g, want %g", f.name, v, f.one(v), f.want(float64(v)))
			}
		}
	}
}

func TestKernelsAreTheSameWhereverAnElementStands(t *testing.T) {
	x := normals(rand.New(rand.NewPCG(9, 9)), 16, 5)
	for _, f := range []func(dst, x []float32){Exp, Sigmoid, LogSigmoid} {
		all := make([]float32, len(x))
		f(all, x)
		for i := range x {
			one := make([]float32, 1)
			f(one, x[i:i+1])
			if useVectors() && one[0] != all[i] {
				t.Errorf("alone %g, in a row %g", one[0], all[i])
			}
		}
	}
}

// closeTo reports the first element of got further than tol*(1+|want|) from want; NaN and infinities must agree.
func closeTo(got, want []float32, tol float64) error {
	for i := range want {
		g, w := float64(got[i]), float64(want[i])
		if g == w || math.IsNaN(g) && math.IsNaN(w) {
			continue
		}
		if !(math.Abs(g-w) <= tol*(1+math.Abs(w))) {
			return fmt.Errorf("element %d of %d is %g, want %g", i, len(want), g, w)
		}
	}
	return nil
}

// guarded returns n elements in front of which and behind which guards lie; intact tells if they still do.
func guarded(r *rand.Rand, n int) (x []float32, intact func() bool) {
	const guard, mark = 16, 12345.5
	all := normals(r, n+2*guard, 2)
	for i := range guard {
		all[i], all[guard+n+i] = mark, mark
	}
	return all[guard:][:n:n], func() bool {
		for i := range guard {
			if all[i] != mark || all[guard+n+i] != mark {
				return false
			}
		}
		return true
	}
}

// twins pairs every elementwise kernel with its plain Go form. Both get the same inputs a, b, c and outputs p, q.
var twins = []struct {
	name        string
	kernel, ref func(p, q, a, b, c []float32)
}{
	{
		"axpy",
		func(p, _, a, _, _ []float32) { axpy(0.7, a, p) },
		func(p, _, a, _, _ []float32) { axpyGo(0.7, a, p) },
	},
	{"add", func(p, _, a, _, _ []float32) { add(p, a) }, func(p, _, a, _, _ []float32) { addGo(p, a) }},
	{"mul", func(p, _, a, _, _ []float32) { mul(p, a) }, func(p, _, a, _, _ []float32) { mulGo(p, a) }},
	{"scale", func(p, _, _, _, _ []float32) { scale(0.3, p) }, func(p, _, _, _, _ []float32) { scaleGo(0.3, p) }},
	{"exp", func(p, _, a, _, _ []float32) { exp(p, a) }, func(p, _, a, _, _ []float32) { expGo(p, a) }},
	{"sigmoid", func(p, _, a, _, _ []float32) { sigmoid(p, a) }, func(p, _, a, _, _ []float32) { sigmoidGo(p, a) }},
	{
		"logSigmoid",
		func(p, _, a, _, _ []float32) { logSigmoid(p, a) },
		func(p, _, a, _, _ []float32) { logSigmoidGo(p, a) },
	},
	{
		"softmaxGrad",
		func(p, _, a, b, _ []float32) { softmaxGrad(p, a, b, 0.4) },
		func(p, _, a, b, _ []float32) { softmaxGradGo(p, a, b, 0.4) },
	},
	{
		"siluMul",
		func(p, _, a, b, _ []float32) { siluMul(p, a, b) },
		func(p, _, a, b, _ []float32) { siluMulGo(p, a, b) },
	},
	{
		"siluMulGrad",
		func(p, q, a, b, c []float32) { siluMulGrad(p, q, a, b, c) },
		func(p, q, a, b, c []float32) { siluMulGradGo(p, q, a, b, c) },
	},
	{
		"geluTanhMul",
		func(p, _, a, b, _ []float32) { geluTanhMul(p, a, b) },
		func(p, _, a, b, _ []float32) { geluTanhMulGo(p, a, b) },
	},
	{
		"geluTanhMulGrad",
		func(p, q, a, b, c []float32) { geluTanhMulGrad(p, q, a, b, c) },
		func(p, q, a, b, c []float32) { geluTanhMulGradGo(p, q, a, b, c) },
	},
	{
		"mulScaled",
		func(p, _, a, b, _ []float32) { mulScaled(p, a, b, 1.3) },
		func(p, _, a, b, _ []float32) { mulScaledGo(p, a, b, 1.3) },
	},
	{
		"normGrad",
		func(p, _, a, b, c []float32) { normGrad(p, a, b, c, 1.3, 0.2) },
		func(p, _, a, b, c []float32) { normGradGo(p, a, b, c, 1.3, 0.2) },
	},
}

// TestFakeIsNearest: the kernel of rounding gives the bits of plain Go, ties, limits, NaN and signs of zero included.
func TestFakeIsNearest(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 13))
	for _, limits := range [][2]float32{{-8, 7}, {-128, 127}, {0, 65535}, {-3, 252}} {
		for _, scale := range []float32{1, 0.1, 3e-5, 1e30, 0x1p-126} {
			for _, n := range oddSizes {
				x, intact := guarded(r, n)
				for i := range x {
					switch i % 3 {
					case 0:
						x[i] *= scale * limits[1]
					case 1:
						x[i] = scale * (limits[0] - 3 + float32(r.IntN(2*int(limits[1]-limits[0]+6)))/2)
					default:
						x[i] = specials[r.IntN(len(specials))]
					}
				}
				want := append([]float32{}, x...)
				fakeGo(want, scale, limits[0], limits[1])
				Fake(x, scale, limits[0], limits[1])
				for i := range x {
					if got, want := math.Float32bits(x[i]), math.Float32bits(want[i]); got != want && !(x[i] != x[i] && math.IsNaN(float64(math.Float32frombits(want)))) {
						t.Fatalf("limits %g, scale %g, element %d of %d is %g, want %g", limits, scale, i, n, x[i], math.Float32frombits(want))
					}
				}
				if !intact() {
					t.Fatalf("%d elements: something else was written", n)
				}
			}
		}
	}
}

func TestElementwiseKernelsAgreeWithPlainGo(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 11))
	for _, k := range twins {
		for _, n := range oddSizes {
			a, b, c := normals(r, n, 3), normals(r, n, 3), normals(r, n, 3)
			p, pIntact := guarded(r, n)
			q, qIntact := guarded(r, n)
			p2, q2 := append([]float32{}, p...), append([]float32{}, q...)
			k.kernel(p, q, a, b, c)
			k.ref(p2, q2, a, b, c)
			for _, err := range []error{closeTo(p, p2, 2e-6), closeTo(q, q2, 2e-6)} {
				if err != nil {
					t.Errorf("%s: %v", k.name, err)
				}
			}
			if !pIntact() || !qIntact() {
				t.Errorf("%s: wrote outside its %d elements", k.name, n)
			}
		}
	}
}

func TestElementwiseKernelsAgreeOnSpecialValues(t *testing.T) {
	// Where the square of the gate overflows, GELU's gradient is 0*Inf at elements that depend on rounding.
	limited := map[string]float32{"geluTanhMulGrad": 1e15, "geluTanhMul": 1e15}
	for _, k := range twins {
		var x []float32
		for _, v := range specials {
			if limit, ok := limited[k.name]; !ok || float32(math.Abs(float64(v))) < limit {
				x = append(x, v)
			}
		}
		n := len(x)
		for shift := range n { // every pair of special values
			b := append(append([]float32{}, x[shift:]...), x[:shift]...)
			p, q, p2, q2 := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
			k.kernel(p, q, x, b, x)
			k.ref(p2, q2, x, b, x)
			for _, err := range []error{closeTo(p, p2, 1e-5), closeTo(q, q2, 1e-5)} {
				if err != nil {
					t.Fatalf("%s, shift %d: %v", k.name, shift, err)
				}
			}
		}
	}
}

func TestReductionsAgreeWithPlainGo(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 13))
	for _, n := range oddSizes {
		a, b, c := normals(r, n, 1), normals(r, n, 1), normals(r, n, 1)
		m := maxOfGo(a)
		for _, f := range []struct {
			name      string
			got, want float32
		}{
			{"dot", dot(a, b), dotGo(a, b)},
			{"dot3", dot3(a, b, c), dot3Go(a, b, c)},
			{"maxOf", maxOf(a), m},
			{"sumExp", sumExp(a, m), sumExpGo(a, m)},
		} {
			if err := closeTo([]float32{f.got}, []float32{f.want}, 1e-6*math.Sqrt(float64(n+1))); err != nil {
				t.Errorf("%s, n=%d: %v", f.name, n, err)
			}
		}
		p, intact := guarded(r, n)
		q := make([]float32, n)
		s, s2 := expSum(p, a, m), expSumGo(q, a, m)
		if err := closeTo(append(p, s), append(q, s2), 1e-5); err != nil || !intact() {
			t.Errorf("expSum, n=%d: %v, guards intact: %v", n, err, intact())
		}
	}
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, x := range [][]float32{
		{nan, 1}, {1, nan}, {nan, nan}, {-inf, nan}, {-inf, -inf, -inf}, {inf, 1}, {-5, -3, -4, -6, -7, -8, -9, -10, -2.5},
	} {
		if got, want := maxOf(x), maxOfGo(x); got != want {
			t.Errorf("maxOf(%v) = %g, want %g", x, got, want)
		}
	}
}

// TestInstructionSetsAgree: the widest vectors give the bits of narrower ones, sums included, which are in the same order.
func TestInstructionSetsAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(14, 15))
	for _, n := range append(oddSizes, len(specials)) {
		a, b, c := normals(r, n, 30), normals(r, n, 3), normals(r, n, 3)
		if n == len(specials) {
			copy(a, specials)
		}
		for _, k := range twins {
			all := func() []float32 {
				p, q := make([]float32, n), make([]float32, n)
				k.kernel(p, q, a, b, c)
				return append(p, q...)
			}
			wide, narrow := all(), []float32(nil)
			withoutAVX512(func() { narrow = all() })
			if !sameBits(wide, narrow) {
				t.Errorf("%s of %d elements: %v\nwith AVX2 %v", k.name, n, wide, narrow)
			}
		}
		for _, x := range [][]float32{a, b} {
			all := func() []float32 {
				p := make([]float32, n)
				m := maxOf(x)
				return append(p, m, expSum(p, x, m), sumExp(x, m))
			}
			wide, narrow := all(), []float32(nil)
			withoutAVX512(func() { narrow = all() })
			if !sameBits(wide, narrow) {
				t.Errorf("sums of %d exponentials: %v, with AVX2 %v", n, wide, narrow)
			}
		}
	}
}
