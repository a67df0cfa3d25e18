package quant

import (
	"math"
	"math/rand/v2"
	"testing"

	"eisft/model"
)

// TestCodes holds Code to ONNX's QuantizeLinear (opset 21): ties go to the even
// code, what lies beyond saturates, 16 bits are -32768 to 32767.
func TestCodes(t *testing.T) {
	for _, tc := range []struct {
		bits  int
		scale float32
		x     float32
		want  int32
	}{
		{8, 1, 0, 0},
		{8, 1, 0.5, 0},
		{8, 1, -0.5, 0},
		{8, 1, 1.5, 2},
		{8, 1, 2.5, 2},
		{8, 1, -1.5, -2},
		{8, 1, -2.5, -2},
		{8, 1, 0.49999997, 0},
		{8, 1, 0.50000006, 1},
		{8, 1, 126.5, 126},
		{8, 1, 127.4, 127},
		{8, 1, 128, 127},
		{8, 1, -128, -128},
		{8, 1, -128.6, -128},
		{8, 1, 3e38, 127},
		{8, 1, float32(math.Inf(-1)), -128},
		{8, 0.1, 0.25, 2}, // 0.25/0.1 is 2.5 in float32
		{8, 0.02, 0.05, 2},
		{8, 0x1p-149, 1, 127}, // the quotient overflows
		{16, 1, 32766.5, 32766},
		{16, 1, 32767.5, 32767},
		{16, 1, -32768.5, -32768},
		{16, 1, 4e9, 32767},
		{16, 0.25, 0.375, 2},
		{16, 0.25, 0.625, 2},
	} {
		e := Encoding{tc.bits, tc.scale}
		if got := e.Code(tc.x); got != tc.want {
			t.Errorf("%d bits, scale %g: code of %g is %d, want %d", tc.bits, tc.scale, tc.x, got, tc.want)
		}
		x := []float32{tc.x}
		if e.Fake(x); x[0] != tc.scale*float32(tc.want) {
			t.Errorf("%d bits, scale %g: %g becomes %g, want %g", tc.bits, tc.scale, tc.x, x[0], tc.scale*float32(tc.want))
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

func TestFakeTwiceIsFakeOnce(t *testing.T) {
	for _, bits := range []int{8, 16} {
		e, once := symmetric(bits, 3.3), normal(1<<16, 1)
		e.Fake(once)
		twice := append([]float32{}, once...)
		e.Fake(twice)
		for i := range once {
			if once[i] != twice[i] {
				t.Fatalf("%d bits: %g becomes %g", bits, once[i], twice[i])
			}
		}
	}
}

// TestFakeEqualsIntegers compares a product of rounded floats with what an
// integer accelerator computes from the codes.
func TestFakeEqualsIntegers(t *testing.T) {
	const rows, in, out = 5, 96, 48
	l := model.NewLinear("w", in, out, normal(in*out, 0.2), nil)
	w, err := quantizeWeight("w", l, 8)
	if err != nil {
		t.Fatal(err)
	}
	x, y := normal(rows*in, 1), make([]float32, rows*out)
	e := symmetric(16, maxAbs(x))
	codes := make([]int64, len(x))
	for i, v := range x {
		codes[i] = int64(e.Code(v))
	}
	e.Fake(x)
	model.NewLinear("w", in, out, w.Dequantize(), nil).Apply(y, x)
	for r := range rows {
		for o := range out {
			sum := int64(0)
			for i := range in {
				sum += codes[r*in+i] * int64(w.Codes[o*in+i])
			}
			want := float64(sum) * float64(e.Scale) * float64(w.Scales[o])
			if got := float64(y[r*out+o]); math.Abs(got-want) > 1e-5 {
				t.Fatalf("row %d, output %d: %g, from the codes %g", r, o, got, want)
			}
		}
	}
}

func TestScaleOfNothing(t *testing.T) {
	for _, bound := range []float32{0, math.SmallestNonzeroFloat32, 1e-38} {
		if e := symmetric(16, bound); e.Scale != 1 {
			t.Errorf("bound %g: scale %g, want 1", bound, e.Scale)
		}
	}
}

func BenchmarkFake(b *testing.B) {
	x := normal(256*768, 1)
	e := symmetric(16, maxAbs(x))
	b.SetBytes(int64(4 * len(x)))
	for b.Loop() {
		e.Fake(x)
	}
}
