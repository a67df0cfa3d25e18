package encoding

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
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
		e := Signed(tc.bits, tc.scale)
		if got := e.Code(tc.x, 0); got != tc.want {
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
		e, once := Format{Bits: bits}.Tensor(-3.3, 3.3), normal(1<<16, 1)
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

func TestScaleOfNothing(t *testing.T) {
	for _, bound := range []float32{0, math.SmallestNonzeroFloat32, 1e-38} {
		if e := (Format{Bits: 16}).Tensor(-bound, bound); e.Scales[0] != 1 {
			t.Errorf("bound %g: scale %g, want 1", bound, e.Scales[0])
		}
	}
}

func BenchmarkFake(b *testing.B) {
	x := normal(256*768, 1)
	e := Signed(16, 1e-4)
	b.SetBytes(int64(4 * len(x)))
	for b.Loop() {
		e.Fake(x)
	}
}

// grid encodes a tensor [2,3,4] in every way there is.
var grid = map[string]Encoding{
	"tensor":                   {Bits: 8, Scales: []float32{0.5}},
	"tensor with a zero point": {Bits: 8, Unsigned: true, Scales: []float32{0.5}, Zeros: []int32{7}},
	"first axis":               {Bits: 16, Scales: []float32{0.5, 2}},
	"middle axis":              {Bits: 4, Scales: []float32{0.5, 2, 4}, Zeros: []int32{1, 0, -3}, Axis: 1},
	"last axis":                {Bits: 4, Unsigned: true, Scales: []float32{0.5, 1, 2, 4}, Zeros: []int32{1, 8, 15, 0}, Axis: 2},
	"blocks of the last axis":  {Bits: 4, Scales: []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, Axis: 2, Block: 2},
	"blocks of the first axis": {Bits: 8, Scales: []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, Axis: 0, Block: 2},
	"blocks of the middle":     {Bits: 8, Scales: []float32{1, 2, 3, 4, 5, 6, 7, 8}, Zeros: []int32{1, 2, 3, 4, 5, 6, 7, 8}, Axis: 1, Block: 3},
}

// param is the formula of ONNX for the index of an element's scale.
func param(e Encoding, a, b, c int) int {
	at, size := []int{a, b, c}, []int{2, 3, 4}
	switch {
	case len(e.Scales) == 1:
		return 0
	case e.Block == 0:
		return at[e.Axis]
	}
	at[e.Axis] /= e.Block
	size[e.Axis] /= e.Block
	return (at[0]*size[1]+at[1])*size[2] + at[2]
}

// TestLayouts: each element takes the scale and zero point that ONNX gives it, in codes,
// in numbers, and in fake quantization.
func TestLayouts(t *testing.T) {
	for name, e := range grid {
		t.Run(name, func(t *testing.T) {
			if _, err := e.ParamShape([]int{2, 3, 4}); err != nil {
				t.Fatal(err)
			}
			x := normal(24, 5)
			codes, back, fake := make([]int32, 24), make([]float32, 24), append([]float32{}, x...)
			Codes(e, codes, x, 2, 3, 4)
			Dequantize(e, back, codes, 2, 3, 4)
			e.Fake(fake, 2, 3, 4)
			lo, hi := e.Limits()
			for i := range 24 {
				p := param(e, i/12, i/4%3, i%4)
				code := math.RoundToEven(float64(x[i]/e.Scales[p])) + float64(e.Zero(p))
				want := int32(max(float64(lo), min(float64(hi), code)))
				number := e.Scales[p] * float32(want-e.Zero(p))
				if codes[i] != want || back[i] != number || fake[i] != number {
					t.Errorf("element %d: code %d, number %g, rounded %g; want %d and %g", i, codes[i], back[i], fake[i], want, number)
				}
			}
		})
	}
}

func TestParamShapeErrors(t *testing.T) {
	for _, tc := range []struct {
		e    Encoding
		want string
	}{
		{Encoding{Bits: 5, Scales: []float32{1}}, "bits is 5; it must be 4, 8 or 16"},
		{Encoding{Bits: 8}, "there is no scale"},
		{Encoding{Bits: 8, Scales: []float32{1}, Zeros: []int32{1, 2}}, "there are 2 zero points for 1 scales"},
		{Encoding{Bits: 8, Scales: []float32{0}}, "scale 0 is 0; it must be a finite number above 0"},
		{Encoding{Bits: 8, Scales: []float32{float32(math.Inf(1))}}, "scale 0 is +Inf; it must be a finite number above 0"},
		{Encoding{Bits: 4, Scales: []float32{1}, Zeros: []int32{8}}, "zero point 0 is 8, outside int4"},
		{Encoding{Bits: 4, Unsigned: true, Scales: []float32{1}, Zeros: []int32{-1}}, "zero point 0 is -1, outside uint4"},
		{Encoding{Bits: 8, Scales: []float32{1, 1}, Axis: 3}, "the encoding's axis 3 does not exist"},
		{Encoding{Bits: 8, Scales: []float32{1, 1}, Axis: 1}, "there are 2 scales; [2 3 4] has 3"},
		{Encoding{Bits: 8, Scales: []float32{1, 1}, Axis: 2, Block: 3}, "axis 2 has 4 elements, no multiple of the block size 3"},
		{Encoding{Bits: 8, Scales: []float32{1, 1}, Axis: -1}, "axis is -1 and block 0; neither may be negative"},
	} {
		if _, err := tc.e.ParamShape([]int{2, 3, 4}); err == nil || err.Error() != tc.want {
			t.Errorf("%+v: %v, want %s", tc.e, err, tc.want)
		}
	}
}

// TestJSON: what is written is read back, also by name.
func TestJSON(t *testing.T) {
	for name, e := range grid {
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var got Encoding
		if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%s: %s became %+v (%v)", name, text, got, err)
		}
	}
	text, _ := json.Marshal(Signed(8, 0.1))
	if want := `{"bits":8,"signed":true,"scale":0.1,"zero_point":0}`; string(text) != want {
		t.Errorf("%s, want %s", text, want)
	}
	for text, want := range map[string]string{
		`{"bits":8}`:                         "either scale or scales",
		`{"bits":8,"scale":1,"scales":[1]}`:  "either scale or scales",
		`{"bits":8,"scale":1,"zeropoint":1}`: `unknown field "zeropoint"`,
		`{"bits":8,"scale":"1"}`:             "cannot unmarshal string",
	} {
		if err := json.Unmarshal([]byte(text), &Encoding{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// TestDifference: encodings differ by anything that a code's meaning depends on.
func TestDifference(t *testing.T) {
	base := Encoding{Bits: 8, Scales: []float32{0.5, 2}, Zeros: []int32{3, 0}, Axis: 1}
	for want, change := range map[string]func(e *Encoding){
		"":                                      func(e *Encoding) { e.Zeros = []int32{3, 0} },
		"its codes are int4, want int8":         func(e *Encoding) { e.Bits = 4 },
		"its codes are uint8, want int8":        func(e *Encoding) { e.Unsigned = true },
		"it has 1 scales, want 2":               func(e *Encoding) { e.Scales = e.Scales[:1] },
		"scale 0 is 0.50000006, want 0.5":       func(e *Encoding) { e.Scales = []float32{math.Nextafter32(0.5, 1), 2} },
		"zero point 1 is 1, want 0":             func(e *Encoding) { e.Zeros = []int32{3, 1} },
		"zero point 0 is 0, want 3":             func(e *Encoding) { e.Zeros = nil },
		"axis 0 in blocks of 0, want axis 1":    func(e *Encoding) { e.Axis = 0 },
		"axis 1 in blocks of 2, want axis 1 in": func(e *Encoding) { e.Block = 2 },
	} {
		e := base
		change(&e)
		got := e.Difference(base)
		if (want == "") != (got == "") || !strings.Contains(got, want) || e.Equal(base) != (want == "") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if e := (Encoding{Bits: 8, Scales: []float32{1}, Axis: 1}); !e.Equal(Signed(8, 1)) {
		t.Error("the axis of a whole tensor's scale makes a difference")
	}
}

// TestTransposed: the transpose of a matrix has the same numbers under it.
func TestTransposed(t *testing.T) {
	for name, e := range map[string]Encoding{
		"tensor":            {Bits: 8, Scales: []float32{0.1}},
		"rows":              {Bits: 8, Scales: []float32{0.1, 0.2, 0.3}, Zeros: []int32{1, 2, 3}},
		"columns":           {Bits: 8, Scales: []float32{0.1, 0.2, 0.3, 0.4}, Axis: 1},
		"blocks in a row":   {Bits: 4, Scales: []float32{1, 2, 3, 4, 5, 6}, Zeros: []int32{1, 2, 3, 4, 5, 6}, Axis: 1, Block: 2},
		"blocks of columns": {Bits: 4, Scales: []float32{1, 2, 3, 4}, Axis: 0, Block: 3},
	} {
		x := normal(12, 5)
		y := Transpose(x, 3, 4)
		e.Fake(x, 3, 4)
		turned := e.Transposed(3, 4)
		turned.Fake(y, 4, 3)
		if !slices.Equal(y, Transpose(x, 3, 4)) {
			t.Errorf("%s: %v, want %v", name, y, Transpose(x, 3, 4))
		}
	}
}

// TestFormats: the range of the numbers is covered, zero has a code, and the error of
// rounding is half a step.
func TestFormats(t *testing.T) {
	for _, f := range []Format{{Bits: 8}, {Bits: 16, Unsigned: true, ZeroPoint: true}, {Bits: 8, ZeroPoint: true}, {Bits: 4, ZeroPoint: true}} {
		for _, span := range [][2]float32{{-3, 1}, {0.5, 2}, {-7, -1}, {-1, 1}} {
			e := f.Tensor(span[0], span[1])
			if err := e.Check(); err != nil {
				t.Fatal(err)
			}
			for _, v := range []float32{span[0], 0, span[1], (span[0] + span[1]) / 3} {
				x := []float32{v}
				e.Fake(x)
				if d := math.Abs(float64(x[0] - v)); d > 0.5001*float64(e.Scales[0]) && v != span[0] && v != span[1] || d > 1.0001*float64(e.Scales[0]) || v == 0 && x[0] != 0 {
					t.Errorf("%s of %v: %g becomes %g, a step is %g", f, span, v, x[0], e.Scales[0])
				}
			}
		}
	}
	rows, err := Format{Bits: 4, Block: 2}.Rows([]float32{8, 0, 0, 16, -1, 4, 0, 0}, 2, 4)
	if want := (Encoding{Bits: 4, Scales: []float32{1, 2, 0.5, 1}, Axis: 1, Block: 2}); err != nil || !reflect.DeepEqual(rows, want) {
		t.Errorf("%+v (%v), want %+v", rows, err, want)
	}
	if _, err := (Format{Bits: 4, Block: 3}).Rows(make([]float32, 8), 2, 4); err == nil || err.Error() != "rows of 4 weights cannot be cut into blocks of 3, nor into any of 8 to 512; take a scheme with one scale a row" {
		t.Errorf("error %v", err)
	}
}
