package quant

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"eisft/model"
	"eisft/model/kernels"
	"eisft/quant/encoding"
)

// nearest rounds a map's weights to the nearest codes.
func nearest(l *model.Linear, f encoding.Format) (*Weight, error) {
	return (&Map{Name: l.Name, Matrix: l.Weight(), Out: l.Out, In: l.In, Format: f}).nearest()
}

func TestQuantizeWeight(t *testing.T) {
	l := model.NewLinear("w", 4, 3, []float32{
		1.27, -0.635, 0.005, 0.0151, // scale 0.01
		0, 0, 0, 0,
		-254, 127, 3, 1, // scale 2: 63.5, 1.5 and 0.5 go to the even code
	}, nil)
	w, err := nearest(l, encoding.Format{Bits: 8})
	if err != nil {
		t.Fatal(err)
	}
	if want := []float32{1.27 / 127, 1, 2}; !slices.Equal(w.Scales, want) {
		t.Errorf("scales %v, want %v", w.Scales, want)
	}
	if want := []int8{127, -64, 0, 2, 0, 0, 0, 0, -127, 64, 2, 0}; !slices.Equal(w.Codes, want) {
		t.Errorf("codes %v, want %v", w.Codes, want)
	}
	if clipped, _ := w.fidelity(l); clipped != 0 {
		t.Errorf("clip rate %g, want 0", clipped)
	}
	if want := []float32{-254, 128, 4, 0}; !slices.Equal(w.Dequantize()[8:], want) {
		t.Errorf("dequantized %v, want %v", w.Dequantize()[8:], want)
	}
}

func TestQuantizeDamagedWeight(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		_, err := nearest(model.NewLinear("w", 2, 2, []float32{1, 2, 3, float32(bad)}, nil), encoding.Format{Bits: 8})
		if want := "w.weight: row 1 holds NaN or infinity; the checkpoint is damaged"; err == nil || err.Error() != want {
			t.Errorf("%g: error %v, want %s", bad, err, want)
		}
	}
}

// TestFakeEqualsIntegers compares a product of rounded floats with what an
// integer accelerator computes from the codes.
func TestFakeEqualsIntegers(t *testing.T) {
	const rows, in, out = 5, 96, 48
	l := model.NewLinear("w", in, out, normal(in*out, 0.2), nil)
	w, err := nearest(l, encoding.Format{Bits: 8})
	if err != nil {
		t.Fatal(err)
	}
	x, y := normal(rows*in, 1), make([]float32, rows*out)
	e := encoding.Format{Bits: 16}.Tensor(slices.Min(x), slices.Max(x))
	codes := make([]int64, len(x))
	for i, v := range x {
		codes[i] = int64(e.Code(v, 0))
	}
	e.Fake(x)
	model.NewLinear("w", in, out, w.Dequantize(), nil).Apply(y, x)
	for r := range rows {
		for o := range out {
			sum := int64(0)
			for i := range in {
				sum += codes[r*in+i] * int64(w.Codes[o*in+i])
			}
			want := float64(sum) * float64(e.Scales[0]) * float64(w.Scales[o])
			if got := float64(y[r*out+o]); math.Abs(got-want) > 1e-5 {
				t.Fatalf("row %d, output %d: %g, from the codes %g", r, o, got, want)
			}
		}
	}
}

// normal returns n numbers of a normal distribution.
func normal(n int, deviation float64) []float32 {
	random := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(deviation * random.NormFloat64())
	}
	return x
}

// TestSQNR compares with what is known of a uniform signal: 6.02 dB a bit.
func TestSQNR(t *testing.T) {
	const n = 1 << 16
	x := make([]float32, n)
	for i := range x {
		x[i] = (float32(i)+0.5)/n*2 - 1
	}
	l := model.NewLinear("w", n, 1, x, nil)
	w, err := nearest(l, encoding.Format{Bits: 8})
	if err != nil {
		t.Fatal(err)
	}
	_, got := w.fidelity(l)
	if want := 20 * math.Log10(2*127); math.Abs(got-want) > 0.1 {
		t.Errorf("weights: %.2f dB, want %.2f", got, want)
	}
	for _, bits := range []int{8, 16} {
		o := &Observer{}
		o.Observe(x)
		f := encoding.Format{Bits: bits}
		_, levels := f.Limits()
		got, want := sqnr(o.noise(f.Tensor(-1, 1))), 20*math.Log10(2*float64(levels))
		if math.Abs(got-want) > 0.1 {
			t.Errorf("histogram at %d bits: %.2f dB, want %.2f", bits, got, want)
		}
	}
	if got := sqnr(1, 0); got != maxSQNR {
		t.Errorf("without noise: %g dB, want %d", got, maxSQNR)
	}
	if got := sqnr(0, 0); got != maxSQNR {
		t.Errorf("without signal: %g dB, want %d", got, maxSQNR)
	}
}

// TestRunsFromCodes applies maps that run from their codes, with float32 copies and without: outputs and gradients have
// the bits of the float32 weights that the codes stand for. What kernels do not multiply with is in float32. Where a
// library computes products, a single row's outputs are the built-in kernels', see [model.Linear.Apply].
func TestRunsFromCodes(t *testing.T) {
	const rows, in, out = 3, 128, 48
	l := model.NewLinear("w", in, out, normal(in*out, 0.2), normal(out, 1))
	x, dy := normal(rows*in, 1), normal(rows*out, 1)
	for _, c := range []struct {
		format encoding.Format
		coded  bool
	}{
		{encoding.Format{Bits: 8}, true},
		{encoding.Format{Bits: 4}, true},
		{encoding.Format{Bits: 4, Block: 16, LowPower: true}, true},
		{encoding.Format{Bits: 4, Block: 32}, true},
		{encoding.Format{Bits: 4, Block: 64}, true},
		{encoding.Format{Bits: 4, Block: 8}, false},
		{encoding.Format{Bits: 8, ZeroPoint: true}, false},
	} {
		w, err := nearest(l, c.format)
		if err != nil {
			t.Fatal(err)
		}
		want := model.NewLinear("w", in, out, w.Dequantize(), l.Bias)
		for _, copies := range []int64{0, math.MaxInt64} {
			base := demoModel(t).Base
			base.CopyWeights(copies)
			got := w.linear(base, l)
			if coded := got.Stored() != nil; coded != c.coded {
				t.Fatalf("%+v: runs from codes: %t, want %t", c.format, coded, c.coded)
			}
			for _, n := range []int{1, rows} {
				y, z := make([]float32, n*out), make([]float32, n*out)
				got.Apply(y, x[:n*in])
				want.Apply(z, x[:n*in])
				dx, dz := make([]float32, n*in), make([]float32, n*in)
				got.Backward(dx, dy[:n*out])
				want.Backward(dz, dy[:n*out])
				same := slices.Equal(y, z)
				if n == 1 && !kernels.Packs() {
					same = slices.EqualFunc(y, z, func(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-5 })
				}
				if !same || !slices.Equal(dx, dz) {
					t.Errorf("%+v, %d rows, copies of %d bytes: other numbers", c.format, n, copies)
				}
			}
			if !slices.Equal(got.Weight(), want.Weight()) {
				t.Errorf("%+v: other weights", c.format)
			}
		}
	}
}
