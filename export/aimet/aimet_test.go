package aimet_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"eisft/export/aimet"
	"eisft/quant/encoding"
)

// tensors are one of each kind: [In,Out] matrices with scales for output channels, as the
// graphs store them, and activations.
func tensors() []aimet.Tensor {
	r := rand.New(rand.NewPCG(1, 2))
	scales := func(n int) []float32 {
		list := make([]float32, n)
		for i := range list {
			list[i] = float32(0.01 + r.Float64())
		}
		return list
	}
	multiples := make([]int32, 4*3)
	for i := range multiples {
		multiples[i] = 1 + r.Int32N(16)
	}
	lowPower := encoding.Encoding{Bits: 4, Axis: 0, Block: 2}
	if err := lowPower.SetMultiples([]float32{0.0078125, 0.0234375, 0.75}, multiples); err != nil {
		panic(err)
	}
	return []aimet.Tensor{
		{Name: "hidden", Shape: []int{1, 4, 8}, Encoding: encoding.Encoding{Bits: 16, Unsigned: true, Scales: []float32{0.001}, Zeros: []int32{30000}}},
		{Name: "key", Shape: []int{1, 4, 8}, Encoding: encoding.Signed(8, 0.25)},
		{Name: "channels", Shape: []int{8, 3}, Param: true, Encoding: encoding.Encoding{Bits: 8, Scales: scales(3), Axis: 1}},
		{Name: "asymmetric", Shape: []int{8, 3}, Param: true, Encoding: encoding.Encoding{Bits: 8, Scales: scales(3), Zeros: []int32{1, -2, 3}, Axis: 1}},
		{Name: "groups", Shape: []int{8, 3}, Param: true, Encoding: encoding.Encoding{Bits: 4, Scales: scales(12), Axis: 0, Block: 2}},
		{Name: "lpbq", Shape: []int{8, 3}, Param: true, Encoding: lowPower},
	}
}

// entry is an encoding of either version, as a reader of the specification has it.
type entry struct {
	Name       string    `json:"name"`
	Type       string    `json:"enc_type"`
	DType      string    `json:"dtype"`
	Bits       int       `json:"bw"`
	Symmetric  bool      `json:"is_sym"`
	Scale      []float64 `json:"scale"`
	Offset     []int     `json:"offset"`
	Block      int       `json:"block_size"`
	Compressed int       `json:"compressed_bw"`
	// The integers are a flat list in version 1.0.0, nested in 2.0.0.
	Multiples any    `json:"per_block_int_scale"`
	Output    string `json:"output_dtype"`
	YScale    any    `json:"y_scale"`
	YZero     any    `json:"y_zero_point"`
	Axis      *int   `json:"axis"`
	Steps     any    `json:"per_channel_float_scale"`
}

// flat are the numbers of nested lists, and the sizes of these.
func flat(x any) (numbers []float64, shape []int) {
	switch v := x.(type) {
	case float64:
		return []float64{v}, nil
	case []any:
		for _, part := range v {
			n, s := flat(part)
			numbers, shape = append(numbers, n...), s
		}
		return numbers, append([]int{len(v)}, shape...)
	}
	return nil, nil
}

func read(t *testing.T, version func([]aimet.Tensor) ([]byte, error), list []aimet.Tensor) map[string]entry {
	t.Helper()
	raw, err := version(list)
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Version     string  `json:"version"`
		Activations []entry `json:"activation_encodings"`
		Params      []entry `json:"param_encodings"`
		Encodings   []entry `json:"encodings"`
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		t.Fatal(err)
	}
	params := map[string]bool{}
	for _, x := range list {
		params[x.Name] = x.Param
	}
	all := map[string]entry{}
	for what, part := range map[string][]entry{"activation": f.Activations, "param": f.Params, "": f.Encodings} {
		for _, e := range part {
			if what != "" && params[e.Name] != (what == "param") {
				t.Errorf("%s is among those of kind %s", e.Name, what)
			}
			all[e.Name] = e
		}
	}
	if len(all) != len(list) || (f.Version == "1.0.0") != (len(f.Encodings) == 0) {
		t.Errorf("version %s: %d encodings of %d tensors", f.Version, len(all), len(list))
	}
	return all
}

func same(a float64, b float32) bool { return float32(a) == b }

// TestVersion1 reads back what was written and compares every scale.
func TestVersion1(t *testing.T) {
	list := tensors()
	all := read(t, aimet.Version1, list)
	for i, want := range []entry{
		{Type: "PER_TENSOR", Bits: 16, Offset: []int{-30000}},
		{Type: "PER_TENSOR", Bits: 8, Symmetric: true, Offset: []int{-128}},
		{Type: "PER_CHANNEL", Bits: 8, Symmetric: true, Offset: []int{-128, -128, -128}},
		{Type: "PER_CHANNEL", Bits: 8, Offset: []int{-129, -126, -131}},
		{Type: "PER_BLOCK", Bits: 4, Symmetric: true, Offset: slices.Repeat([]int{-8}, 12), Block: 2},
		{Type: "LPBQ", Bits: 8, Compressed: 4, Symmetric: true, Offset: []int{-128, -128, -128}, Block: 2},
	} {
		x := list[i]
		got := all[x.Name]
		if got.Type != want.Type || got.DType != "INT" || got.Bits != want.Bits || got.Symmetric != want.Symmetric || !slices.Equal(got.Offset, want.Offset) || got.Block != want.Block || got.Compressed != want.Compressed {
			t.Errorf("%s: %+v, want %+v", x.Name, got, want)
		}
		multiples, _ := flat(got.Multiples)
		for j, s := range x.Scales {
			k := j // of the list in the file: by channel, then by block
			if x.Block > 0 {
				k = j%3*4 + j/3
			}
			scale := got.Scale[min(k, len(got.Scale)-1)]
			if multiples != nil {
				scale = float64(float32(got.Scale[j%3]) * float32(multiples[k]))
			}
			if !same(scale, s) {
				t.Errorf("%s: scale %d is %g, want %g", x.Name, j, scale, s)
			}
		}
	}
}

// TestVersion2 reads back what was written: the numbers of ONNX's QuantizeLinear.
func TestVersion2(t *testing.T) {
	list := tensors()
	all := read(t, aimet.Version2, list)
	for _, x := range list {
		got := all[x.Name]
		scales, shape := flat(got.YScale)
		if x.Name == "lpbq" {
			steps, stepShape := flat(got.Steps)
			multiples, blocks := flat(got.Multiples)
			if got.YScale != nil || !slices.Equal(stepShape, []int{1, 3}) {
				t.Fatalf("%+v", got)
			}
			shape = blocks
			for j, m := range multiples {
				if m != math.Trunc(m) || m < 1 || m > 16 {
					t.Errorf("integer scale %g", m)
				}
				scales = append(scales, float64(float32(m)*float32(steps[j%3])))
			}
		}
		params, err := x.ParamShape(x.Shape)
		if err != nil {
			t.Fatal(err)
		}
		if got.Output != x.Type() || got.Block != x.Block || !slices.Equal(shape, params) && len(params) > 0 || (got.Axis != nil) != (len(params) > 0) || got.Axis != nil && *got.Axis != x.Axis {
			t.Errorf("%s: %+v of shape %v, want %s %v", x.Name, got, shape, x.Type(), params)
		}
		zeros, _ := flat(got.YZero)
		if (zeros == nil) != x.Symmetric() {
			t.Errorf("%s: zero points %v", x.Name, zeros)
		}
		for j, s := range x.Scales {
			if !same(scales[j], s) || zeros != nil && int32(zeros[j]) != x.Zero(j) {
				t.Errorf("%s: scale %d is %g, want %g", x.Name, j, scales[j], s)
			}
		}
	}
}

// TestBlocksOfOthers: blocks that are no matrix's cannot be written, and are not written
// wrongly.
func TestBlocksOfOthers(t *testing.T) {
	x := []aimet.Tensor{{Name: "w", Shape: []int{2, 4, 3}, Encoding: encoding.Encoding{Bits: 4, Scales: make([]float32, 12), Axis: 1, Block: 2}}}
	for i := range x[0].Scales {
		x[0].Scales[i] = 1
	}
	for _, version := range []func([]aimet.Tensor) ([]byte, error){aimet.Version1, aimet.Version2} {
		if _, err := version(x); err == nil {
			t.Error("no error")
		}
	}
}
