package ir_test

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/export/ir"
	"eisft/export/ort"
	"eisft/export/ort/orttest"
	"eisft/quant/encoding"
)

func f32(v ...float32) []float32 { return v }

// opCase is a graph over one input x and what ONNX Runtime must compute of it.
type opCase struct {
	name  string
	shape []int64
	x     any
	build func(g *ir.Graph, x *ir.Value) *ir.Value
	want  any
	dims  []int
}

var m23 = f32(1, 2, 3, 4, 5, 6)

var opCases = []opCase{
	{
		"MatMul",
		[]int64{2, 3},
		m23,
		func(g *ir.Graph, x *ir.Value) *ir.Value {
			return g.MatMul(x, g.Const("w", []int{3, 2}, f32(1, 0, 0, 1, 1, 1)))
		},
		f32(4, 5, 10, 11),
		[]int{2, 2},
	},
	{
		"MatMul of batches",
		[]int64{2, 1, 2, 1},
		f32(1, 2, 3, 4),
		func(g *ir.Graph, x *ir.Value) *ir.Value {
			return g.MatMul(x, g.Const("w", []int{3, 1, 1}, f32(1, 10, 100)))
		},
		f32(1, 2, 10, 20, 100, 200, 3, 4, 30, 40, 300, 400),
		[]int{2, 3, 2, 1},
	},
	{"Add", []int64{2, 3}, m23, func(g *ir.Graph, x *ir.Value) *ir.Value {
		return g.Add(x, g.Const("row", []int{3}, f32(10, 20, 30)))
	}, f32(11, 22, 33, 14, 25, 36), []int{2, 3}},
	{"Sub broadcasts both", []int64{2, 1}, f32(1, 2), func(g *ir.Graph, x *ir.Value) *ir.Value {
		return g.Sub(x, g.Const("row", []int{1, 3}, f32(10, 20, 30)))
	}, f32(-9, -19, -29, -8, -18, -28), []int{2, 3}},
	{"Mul", []int64{3}, f32(1, 2, 3), func(g *ir.Graph, x *ir.Value) *ir.Value {
		return g.Mul(x, g.Scalar(-0.5))
	}, f32(-0.5, -1, -1.5), []int{3}},
	{"Div", []int64{3}, f32(1, 2, 4), func(g *ir.Graph, x *ir.Value) *ir.Value {
		return g.Div(g.Scalar(1), x)
	}, f32(1, 0.5, 0.25), []int{3}},
	{"Max", []int64{3}, f32(-1, 0.5, 4), func(g *ir.Graph, x *ir.Value) *ir.Value {
		return g.Max(x, g.Scalar(0.25))
	}, f32(0.25, 0.5, 4), []int{3}},
	{"Min", []int64{3}, f32(-1, 0.5, 4), func(g *ir.Graph, x *ir.Value) *ir.Value {
		return g.Min(x, g.Scalar(0.25))
	}, f32(-1, 0.25, 0.25), []int{3}},
	{"Sqrt", []int64{3}, f32(0, 4, 9), func(g *ir.Graph, x *ir.Value) *ir.Value {
		return g.Sqrt(x)
	}, f32(0, 2, 3), []int{3}},
	{"Sigmoid", []int64{2}, f32(0, 2), func(g *ir.Graph, x *ir.Value) *ir.Value {
		return g.Sigmoid(x)
	}, f32(0.5, 0.8807971), []int{2}},
	{"Relu", []int64{2}, f32(-3, 2), func(g *ir.Graph, x *ir.Value) *ir.Value {
		return g.Relu(x)
	}, f32(0, 2), []int{2}},
	{"Tanh", []int64{2}, f32(0, 1), func(g *ir.Graph, x *ir.Value) *ir.Value {
		return g.Tanh(x)
	}, f32(0, 0.7615942), []int{2}},
	{"Softmax", []int64{2, 2}, f32(0, 0, 0, float32(math.Log(3))), func(g *ir.Graph, x *ir.Value) *ir.Value {
		return g.Softmax(x)
	}, f32(0.5, 0.5, 0.25, 0.75), []int{2, 2}},
	{"ReduceMean", []int64{2, 3}, m23, func(g *ir.Graph, x *ir.Value) *ir.Value {
		return g.ReduceMean(x, -1)
	}, f32(2, 5), []int{2, 1}},
	{"ReduceSum", []int64{2, 3}, m23, func(g *ir.Graph, x *ir.Value) *ir.Value {
		return g.ReduceSum(x, 0, 1)
	}, f32(21), []int{1, 1}},
	{"Concat", []int64{2, 1}, f32(1, 2), func(g *ir.Graph, x *ir.Value) *ir.Value {
		return g.Concat(-1, x, g.Const("c", []int{2, 2}, f32(3, 4, 5, 6)), x)
	}, f32(1, 3, 4, 1, 2, 5, 6, 2), []int{2, 4}},
	{"Slice", []int64{2, 3}, m23, func(g *ir.Graph, x *ir.Value) *ir.Value {
		return g.Slice(x, -1, 1, 3)
	}, f32(2, 3, 5, 6), []int{2, 2}},
	{"Split", []int64{2, 3}, m23, func(g *ir.Graph, x *ir.Value) *ir.Value {
		parts := g.Split(x, 1, 1, 2)
		return g.Sub(parts[1], parts[0])
	}, f32(1, 2, 1, 2), []int{2, 2}},
	{"Reshape", []int64{2, 3}, m23, func(g *ir.Graph, x *ir.Value) *ir.Value {
		return g.Reshape(x, 1, 3, 2, 1)
	}, m23, []int{1, 3, 2, 1}},
	{"Transpose", []int64{2, 3, 1}, m23, func(g *ir.Graph, x *ir.Value) *ir.Value {
		return g.Transpose(x, 1, 2, 0)
	}, f32(1, 4, 2, 5, 3, 6), []int{3, 1, 2}},
	{"Gather", []int64{1, 3}, []int32{2, 0, 2}, func(g *ir.Graph, x *ir.Value) *ir.Value {
		return g.Gather(g.Const("table", []int{3, 2}, m23), x)
	}, f32(5, 6, 1, 2, 5, 6), []int{1, 3, 2}},
	{"Quantize to uint8", []int64{5}, f32(-1, 0, 0.25, 0.75, 99), func(g *ir.Graph, x *ir.Value) *ir.Value {
		return g.Quantize(x, ir.PerTensor(ir.UInt8, 0.5, 3))
	}, []uint8{1, 3, 3, 5, 201}, []int{5}}, // halves go to the even code
	{"Quantize to int8 saturates", []int64{3}, f32(-100, 0.5, 100), func(g *ir.Graph, x *ir.Value) *ir.Value {
		return g.Quantize(x, ir.PerTensor(ir.Int8, 0.5, 0))
	}, []int8{-128, 1, 127}, []int{3}},
	{"Dequantize int8 per axis", []int64{2, 2}, []int8{1, 2, 3, -128}, func(g *ir.Graph, x *ir.Value) *ir.Value {
		return g.Dequantize(x, ir.Int8.Encoding(f32(0.5, 2), []int32{1, 0}, 1, 0))
	}, f32(0, 4, 1, -256), []int{2, 2}},
}

// opCases21 need 16- and 4-bit types in ONNX's own domain.
var opCases21 = []opCase{
	{"Quantize to uint16", []int64{3}, f32(0, 0.5, 2), func(g *ir.Graph, x *ir.Value) *ir.Value {
		return g.Quantize(x, ir.PerTensor(ir.UInt16, 1.0/65536, 0))
	}, []uint16{0, 32768, 65535}, []int{3}},
	{"QDQ in int16", []int64{3}, f32(-2, 0.500_004, 0.25), func(g *ir.Graph, x *ir.Value) *ir.Value {
		return g.QDQ(x, ir.PerTensor(ir.Int16, 1.0/32768, 0))
	}, f32(-1, 0.5, 0.25), []int{3}},
	{"MatMul with int8 weights", []int64{1, 2}, f32(1, 10), func(g *ir.Graph, x *ir.Value) *ir.Value {
		w := g.Const("w", []int{2, 2}, []int8{-128, 1, 127, 2})
		return g.MatMul(x, g.Dequantize(w, ir.Int8.Encoding(f32(1, 0.5), nil, 1, 0)))
	}, f32(1142, 10.5), []int{1, 2}},
	{"MatMul with int16 weights", []int64{1, 2}, f32(1, 10), func(g *ir.Graph, x *ir.Value) *ir.Value {
		w := g.Const("w", []int{2, 2}, []int16{-32768, 1, 32767, 2})
		return g.MatMul(x, g.Dequantize(w, ir.PerTensor(ir.Int16, 0.5, 0)))
	}, f32(147451, 10.5), []int{1, 2}},
	{"MatMul with int4 weights per channel", []int64{1, 3}, f32(1, 10, 100), func(g *ir.Graph, x *ir.Value) *ir.Value {
		w := g.Const("w", []int{3, 1}, ir.Nibbles{-8, 7, 3})
		return g.MatMul(x, g.Dequantize(w, ir.Int4.Encoding(f32(2), nil, 1, 0)))
	}, f32(724), []int{1, 1}},
	{"int4 weights in blocks", []int64{1, 4}, f32(1, 1, 1, 1), func(g *ir.Graph, x *ir.Value) *ir.Value {
		w := g.Const("w", []int{4, 2}, ir.Nibbles{-8, 1, 7, 2, 3, 3, -1, 4})
		e := ir.Int4.Encoding(f32(1, 10, 100, 1000), nil, 0, 2)
		return g.MatMul(x, g.Dequantize(w, e))
	}, f32(-1+200, 30+7000), []int{1, 2}},
	{"uint4 weights with zero points", []int64{1, 2}, f32(1, 10), func(g *ir.Graph, x *ir.Value) *ir.Value {
		w := g.Const("w", []int{2, 1}, ir.UNibbles{15, 8})
		return g.MatMul(x, g.Dequantize(w, ir.PerTensor(ir.UInt4, 1, 7)))
	}, f32(18), []int{1, 1}},
}

func TestOpsInRuntime(t *testing.T) {
	orttest.Require(t)
	for _, opset := range []int{17, 21} {
		cases := opCases
		if opset == 21 {
			cases = slices.Concat(opCases, opCases21)
		}
		for _, c := range cases {
			t.Run(fmt.Sprintf("%s/%d", c.name, opset), func(t *testing.T) { c.run(t, opset) })
		}
	}
}

func (c opCase) run(t *testing.T, opset int) {
	dtype, _, err := ir.DataType(c.x)
	if err != nil {
		t.Fatal(err)
	}
	shape := make([]int, len(c.shape))
	for i, s := range c.shape {
		shape[i] = int(s)
	}
	g := ir.NewGraph("op", ir.Options{Opset: opset})
	y := c.build(g, g.Input("x", dtype, shape...))
	if !slices.Equal(y.Shape(), c.dims) && g.Err() == nil {
		t.Errorf("inferred shape %v, want %v", y.Shape(), c.dims)
	}
	g.Output("y", y)
	path := filepath.Join(t.TempDir(), "op.onnx")
	if err := g.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	out := orttest.Run(t, path, ort.Options{}, map[string]ort.Tensor{"x": {Shape: c.shape, Data: c.x}})
	compare(t, out["y"].Data, c.want, 1e-6)
}

// compare wants the same type and values, float32 within a relative tolerance.
func compare(t *testing.T, got, want any, tolerance float64) {
	t.Helper()
	a, ok := got.([]float32)
	b, float := want.([]float32)
	if ok != float || !float && fmt.Sprintf("%T%v", got, got) != fmt.Sprintf("%T%v", want, want) || len(a) != len(b) {
		t.Fatalf("got %T %v, want %T %v", got, got, want, want)
	}
	for i := range a {
		if math.Abs(float64(a[i]-b[i])) > tolerance*math.Max(1, math.Abs(float64(b[i]))) {
			t.Fatalf("element %d: got %v, want %v", i, a, b)
		}
	}
}

func TestBuilderErrors(t *testing.T) {
	cases := []struct {
		name  string
		build func(g *ir.Graph, x *ir.Value)
		want  string
	}{
		{"inner sizes", func(g *ir.Graph, x *ir.Value) { g.MatMul(x, x) }, "graph bad, layers.0: MatMul of x float32 [2 3] and x float32 [2 3]: inner sizes 3 and 2 differ"},
		{"rank 1", func(g *ir.Graph, x *ir.Value) { g.MatMul(x, g.Const("v", []int{3}, f32(1, 2, 3))) }, "both need rank 2 or more"},
		{"batches", func(g *ir.Graph, x *ir.Value) {
			g.MatMul(g.Input("a", ir.Float32, 2, 3, 4), g.Input("b", ir.Float32, 3, 4, 5))
		}, "leading axes do not broadcast"},
		{"broadcast", func(g *ir.Graph, x *ir.Value) { g.Add(x, g.Input("b", ir.Float32, 2)) }, "Add of x float32 [2 3] and b float32 [2]: the shapes do not broadcast"},
		{"type", func(g *ir.Graph, x *ir.Value) { g.Sqrt(g.Input("i", ir.Int32, 1)) }, "Sqrt: operand i int32 [1] is not float32"},
		{"rank 5", func(g *ir.Graph, x *ir.Value) { g.Reshape(x, 1, 1, 1, 2, 3) }, "rank 5, above 4"},
		{"elements", func(g *ir.Graph, x *ir.Value) { g.Reshape(x, 5) }, "Reshape of x float32 [2 3] to [5]: the numbers of elements differ"},
		{"negative size", func(g *ir.Graph, x *ir.Value) { g.Reshape(x, -1, 6) }, "the numbers of elements differ"},
		{"perm", func(g *ir.Graph, x *ir.Value) { g.Transpose(x, 0, 0) }, "not an order of its axes"},
		{"short perm", func(g *ir.Graph, x *ir.Value) { g.Transpose(x) }, "not an order of its axes"},
		{"axis", func(g *ir.Graph, x *ir.Value) { g.ReduceMean(x, 2) }, "ReduceMean of x float32 [2 3]: there is no axis 2"},
		{"no axes", func(g *ir.Graph, x *ir.Value) { g.ReduceSum(x) }, "no axes given"},
		{"slice", func(g *ir.Graph, x *ir.Value) { g.Slice(x, 1, 2, 4) }, "Slice 2:4 along axis 1 of x float32 [2 3]: outside its 3 elements or empty"},
		{"split", func(g *ir.Graph, x *ir.Value) { g.Split(x, 1, 1, 1) }, "Split along axis 1 of x float32 [2 3] into [1 1]: the sizes add up to 2"},
		{"concat sizes", func(g *ir.Graph, x *ir.Value) { g.Concat(0, x, g.Input("b", ir.Float32, 2, 4)) }, "sizes along axis 1 differ"},
		{"concat types", func(g *ir.Graph, x *ir.Value) { g.Concat(0, x, g.Input("b", ir.Int8, 2, 3)) }, "types or ranks differ"},
		{"concat of nothing", func(g *ir.Graph, x *ir.Value) { g.Concat(0) }, "Concat of nothing"},
		{"gather", func(g *ir.Graph, x *ir.Value) { g.Gather(x, x) }, "indices must be int32 or int64"},
		{"other graph", func(g *ir.Graph, x *ir.Value) {
			g.Add(x, ir.NewGraph("other", ir.Options{}).Input("x", ir.Float32, 1))
		}, "operand 1 is not a value of this graph"},
		{"nil", func(g *ir.Graph, x *ir.Value) { g.Relu(nil) }, "operand 0 is not a value of this graph"},
		{"scale", func(g *ir.Graph, x *ir.Value) { g.Quantize(x, ir.PerTensor(ir.Int8, 0, 0)) }, "scale 0 is 0; it must be a finite number above 0"},
		{"zero point", func(g *ir.Graph, x *ir.Value) { g.Quantize(x, ir.PerTensor(ir.Int4, 1, 8)) }, "zero point 0 is 8, outside int4"},
		{"scales", func(g *ir.Graph, x *ir.Value) {
			g.Quantize(x, ir.Int8.Encoding(f32(1, 2), nil, 1, 0))
		}, "QuantizeLinear of x float32 [2 3]: there are 2 scales; [2 3] has 3"},
		{"block", func(g *ir.Graph, x *ir.Value) {
			g.Quantize(x, ir.Int8.Encoding(f32(1, 2), nil, 1, 2))
		}, "axis 1 has 3 elements, no multiple of the block size 2"},
		{"codes", func(g *ir.Graph, x *ir.Value) { g.Quantize(x, ir.PerTensor(ir.Int32, 1, 0)) }, "bits is 0; it must be 4, 8 or 16"},
		{"other codes", func(g *ir.Graph, x *ir.Value) {
			g.Dequantize(g.Input("q", ir.UInt8, 1), ir.PerTensor(ir.Int8, 1, 0))
		}, "DequantizeLinear of q uint8 [1]: the encoding is for int8"},
		{"constant", func(g *ir.Graph, x *ir.Value) { g.Const("c", []int{3}, f32(1, 2)) }, "constant c: 2 elements for shape [3], want 3"},
		{"nibble", func(g *ir.Graph, x *ir.Value) { g.Const("c", []int{1}, ir.Nibbles{9}) }, "element 0 is 9, outside the 4-bit range -8..7"},
		{"data", func(g *ir.Graph, x *ir.Value) { g.Const("c", []int{1}, []string{"a"}) }, "[]string holds no tensor"},
		{"same input", func(g *ir.Graph, x *ir.Value) { g.Input("x", ir.Float32, 1) }, `input: the name "x" is taken`},
		{"huge", func(g *ir.Graph, x *ir.Value) { g.Input("h", ir.Float32, 1<<30, 1<<30) }, "more than 2^40 elements"},
		{"input as output", func(g *ir.Graph, x *ir.Value) { g.Output("y", x) }, "an output needs a node of its own"},
		{"no output", func(g *ir.Graph, x *ir.Value) { g.Relu(x) }, "there is no output"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			g := ir.NewGraph("bad", ir.Options{})
			x := g.Input("x", ir.Float32, 2, 3)
			leave := g.Scope("layers.0")
			c.build(g, x)
			leave()
			if g.Err() != nil { // what follows an error must neither panic nor hide it
				for _, v := range g.Split(g.Concat(-1, g.Reshape(x, 6), x), 0, 6) {
					g.Output("y", g.Softmax(g.QDQ(v, ir.PerTensor(ir.Int8, 1, 0)).Named("q")))
				}
			}
			if _, err := g.Model(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestOpset(t *testing.T) {
	for _, c := range []struct {
		opset int
		e     encoding.Encoding
		want  string
	}{
		{17, ir.PerTensor(ir.UInt16, 1, 0), "uint16 codes or blocks need opset 21, this graph has 17"},
		{19, ir.PerTensor(ir.UInt8, 1, 0), "opset 19: want 17 or 21"},
	} {
		g := ir.NewGraph("old", ir.Options{Opset: c.opset})
		g.Output("y", g.Quantize(g.Input("x", ir.Float32, 1), c.e))
		if err := g.Err(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("opset %d: got %v, want %q", c.opset, err, c.want)
		}
	}
}
