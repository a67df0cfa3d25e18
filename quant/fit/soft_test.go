package fit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"eisft/model/modeltest"
	"eisft/quant"
	"eisft/quant/encoding"
)

// formats are those that weights may have.
var formats = map[string]encoding.Format{
	"rows":        {Bits: 4},
	"8 bits":      {Bits: 8},
	"zero points": {Bits: 4, ZeroPoint: true},
	"blocks":      {Bits: 4, Block: 8},
	"low power":   {Bits: 4, Block: 8, LowPower: true},
}

// rounded returns a random matrix [6,32], rounded to the nearest codes.
func rounded(t testing.TB, f encoding.Format) (*quant.Weight, []float32) {
	t.Helper()
	const out, in = 6, 32
	r := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, out*in)
	for i := range x {
		x[i] = float32(r.NormFloat64()) * float32(1+i/in)
	}
	e, err := f.Rows(x, out, in)
	if err != nil {
		t.Fatal(err)
	}
	w := &quant.Weight{Name: "w", Out: out, In: in, Encoding: e, Codes: make([]int8, len(x))}
	encoding.Codes(e, w.Codes, x, out, in)
	return w, x
}

var everything = quant.Reconstruct{Rounding: true, Scales: true, LR: 0.1, ScaleLR: 0.01}

// TestSoftGradients compares the gradients of offsets and scales with differences, with
// the regularizer and without.
func TestSoftGradients(t *testing.T) {
	for name, f := range formats {
		for _, power := range []int{0, 2, 5} {
			t.Run(fmt.Sprintf("%s/power %d", name, power), func(t *testing.T) {
				w, x := rounded(t, f)
				s, r := newSoft(w, x, everything), rand.New(rand.NewPCG(3, 4))
				upstream := make([]float32, len(x))
				for i := range upstream {
					upstream[i] = float32(r.NormFloat64())
					s.v.x[i] = float32(4*r.Float64() - 2) // inside of where the sigmoid is clipped
				}
				for i := range s.t.x {
					s.t.x[i] = float32(r.NormFloat64() * 0.1)
				}
				weight := float32(0)
				if power > 0 {
					weight = 0.7
				}
				s.compute()
				copy(s.grad, upstream)
				s.backward(weight, power)
				g := modeltest.Gradients{Value: func() (sum float64) {
					s.compute()
					for i, v := range s.matrix {
						sum += float64(v) * float64(upstream[i])
						if power > 0 {
							h := 1.2/(1+math.Exp(-float64(s.v.x[i]))) - 0.1
							sum += float64(weight) * (1 - math.Pow(math.Abs(2*h-1), float64(power)))
						}
					}
					return sum
				}}
				g.Check(t, modeltest.Tensor{Name: "offsets", X: s.v.x, Grad: slices.Clone(s.v.grad)}, modeltest.Tensor{Name: "scales", X: s.t.x, Grad: slices.Clone(s.t.grad)})
			})
		}
	}
}

// TestSoft: at first each weight is itself, within the codes, and the nearer code is the one
// that it was rounded to; what comes out has whole codes, and scales by their factors.
func TestSoft(t *testing.T) {
	for name, f := range formats {
		t.Run(name, func(t *testing.T) {
			w, x := rounded(t, f)
			want := slices.Clone(x)
			s := newSoft(w, x, everything)
			s.compute()
			length, scale := w.Index(len(x), w.Out, w.In)
			for i, v := range s.matrix {
				step := w.Scales[scale(i/length)]
				if d := math.Abs(float64(v - want[i])); d > 0.011*float64(step) && !w.Saturates(float64(want[i]), scale(i/length)) && d > 1.001*float64(step) {
					t.Errorf("weight %d is %g, not %g; a step is %g", i, v, want[i], step)
				}
			}
			if h := s.hard(); !slices.Equal(h.Codes, w.Codes) || !h.Equal(w.Encoding) {
				t.Errorf("codes %v, want %v", h.Codes, w.Codes)
			}
			for i := range s.t.x {
				s.t.x[i] = 0.1
			}
			for i := range s.v.x {
				s.v.x[i] = 5 // the code above
			}
			h := s.hard()
			if _, err := h.ParamShape([]int{w.Out, w.In}); err != nil { // that multiples are whole, too
				t.Error(err)
			}
			for i, c := range h.Codes {
				if c != s.below[i]+1 {
					t.Errorf("code %d is %d, want %d", i, c, s.below[i]+1)
				}
			}
			for i, v := range h.Scales {
				if r := float64(v / w.Scales[i]); math.Abs(r-math.Exp(0.1)) > 1e-4 {
					t.Errorf("scale %d is %g times the first", i, r)
				}
			}
			if w.LowPower() && !slices.Equal(h.Multiples(), w.Multiples()) {
				t.Errorf("multiples %v became %v", w.Multiples(), h.Multiples())
			}
		})
	}
	for name, o := range map[string]quant.Reconstruct{"offsets alone": {Rounding: true}, "scales alone": {Scales: true}} {
		w, x := rounded(t, formats["rows"])
		s := newSoft(w, x, o)
		s.compute()
		s.grad[0] = 1
		s.backward(1, 2)
		s.step(1, everything)
		if h := s.hard(); !slices.Equal(h.Codes, w.Codes) || h.Equal(w.Encoding) == o.Scales {
			t.Errorf("%s: scales are the same: %v", name, h.Equal(w.Encoding))
		}
	}
}

// BenchmarkSoft is what a step does beside the program, for the largest map of a model of half
// a billion parameters.
func BenchmarkSoft(b *testing.B) {
	const out, in = 4864, 896
	r, x := rand.New(rand.NewPCG(1, 2)), make([]float32, out*in)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	e, err := encoding.Format{Bits: 4}.Rows(x, out, in)
	if err != nil {
		b.Fatal(err)
	}
	w := &quant.Weight{Name: "w", Out: out, In: in, Encoding: e, Codes: make([]int8, len(x))}
	encoding.Codes(e, w.Codes, x, out, in)
	s := newSoft(w, x, everything)
	b.SetBytes(4 * int64(len(x)))
	for i := 1; b.Loop(); i++ {
		s.compute()
		s.backward(1, 10)
		s.step(i, everything)
	}
}
