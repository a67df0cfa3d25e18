package tflite

import (
	"fmt"
	"maps"
	"slices"

	flatbuffers "github.com/google/flatbuffers/go"

	"eisft/export/ir"
	"eisft/quant/encoding"
)

// builtin is an op of LiteRT (BuiltinOperator of the schema).
type builtin int32

// The ops that graphs use.
const (
	opAdd            builtin = 0
	opConcatenation  builtin = 2
	opDequantize     builtin = 6
	opFullyConnected builtin = 9
	opLogistic       builtin = 14
	opMul            builtin = 18
	opRelu           builtin = 19
	opReshape        builtin = 22
	opSoftmax        builtin = 25
	opTanh           builtin = 28
	opGather         builtin = 36
	opTranspose      builtin = 39
	opMean           builtin = 40
	opSub            builtin = 41
	opDiv            builtin = 42
	opMaximum        builtin = 55
	opMinimum        builtin = 57
	opSlice          builtin = 65
	opSum            builtin = 74
	opSqrt           builtin = 75
	opQuantize       builtin = 114
	opBatchMatMul    builtin = 126
	opComposite      builtin = 206
)

var opNames = map[builtin]string{
	opAdd: "ADD", opConcatenation: "CONCATENATION", opDequantize: "DEQUANTIZE", opFullyConnected: "FULLY_CONNECTED",
	opLogistic: "LOGISTIC", opMul: "MUL", opRelu: "RELU", opReshape: "RESHAPE", opSoftmax: "SOFTMAX", opTanh: "TANH",
	opGather: "GATHER", opTranspose: "TRANSPOSE", opMean: "MEAN", opSub: "SUB", opDiv: "DIV", opMaximum: "MAXIMUM",
	opMinimum: "MINIMUM", opSlice: "SLICE", opSum: "SUM", opSqrt: "SQRT", opQuantize: "QUANTIZE", opBatchMatMul: "BATCH_MATMUL",
	opComposite: "STABLEHLO_COMPOSITE",
}

// String is the op's name in the schema.
func (op builtin) String() string {
	if name, ok := opNames[op]; ok {
		return name
	}
	return fmt.Sprintf("op %d", int32(op))
}

// Ops lists the names of the ops that files of this package have.
func Ops() []string { return slices.Sorted(maps.Values(opNames)) }

// tensorType is the type of a tensor's elements (TensorType of the schema).
type tensorType byte

const (
	typeFloat32 tensorType = 0
	typeInt32   tensorType = 2
	typeInt64   tensorType = 4
	typeInt16   tensorType = 7
	typeInt8    tensorType = 9
	typeInt4    tensorType = 17
)

// typeOf is the type of an element of a lowered graph or of its codes. LiteRT's kernels have
// no codes without a sign but for 8 bits, which no scheme of ours gives them.
func typeOf(d ir.DType) (tensorType, error) {
	switch d {
	case ir.Float32:
		return typeFloat32, nil
	case ir.Int32:
		return typeInt32, nil
	case ir.Int64:
		return typeInt64, nil
	case ir.Int16:
		return typeInt16, nil
	case ir.Int8:
		return typeInt8, nil
	case ir.Int4:
		return typeInt4, nil
	}
	return 0, fmt.Errorf("LiteRT computes with no %s; quantize with --target litert", d)
}

// options are the parameters of an op: a member of the schema's union BuiltinOptions, or
// BuiltinOptions2, by its number, and the fields that are set. Kind 0 is none.
type options struct {
	kind   byte
	fields int
	set    func(b *flatbuffers.Builder) []field
	second bool // of BuiltinOptions2
}

// slot is the field of the kind; that of the parameters follows.
func (o options) slot() int {
	if o.second {
		return operatorOptions2
	}
	return 3
}

// operatorOptions2 is the field of an operator that has the kind of its BuiltinOptions2.
const operatorOptions2 = 11

func (o options) flatten(b *flatbuffers.Builder) flatbuffers.UOffsetT {
	if o.set == nil {
		return table(b, o.fields)
	}
	return table(b, o.fields, o.set(b)...)
}

// given returns options with fields that need no other table.
func given(kind byte, fields int, set ...field) options {
	return options{kind: kind, fields: fields, set: func(*flatbuffers.Builder) []field { return set }}
}

// Members of BuiltinOptions.
func fullyConnectedOptions() options        { return given(8, 5, boolField(2, true)) } // keep_num_dims
func softmaxOptions() options               { return given(9, 1, floatField(0, 1)) }
func concatenationOptions(axis int) options { return given(10, 2, int32Field(0, int32(axis))) }
func gatherOptions() options                { return given(23, 2) }
func reducerOptions() options               { return given(27, 1, boolField(0, true)) } // keep_dims
func batchMatMulOptions() options           { return given(101, 3) }

func reshapeOptions(shape []int) options {
	return options{kind: 17, fields: 1, set: func(b *flatbuffers.Builder) []field { return []field{offset(0, int32Vector(b, shape))} }}
}

// elementwise are ops with the same name and meaning in ONNX. Some kernels of codes want their
// results to have one encoding.
var elementwise = map[string]struct {
	op      builtin
	options options
	fixed   func(bits int) encoding.Encoding
}{
	"Add":     {opAdd, given(11, 2), nil},
	"Sub":     {opSub, given(28, 2), nil},
	"Mul":     {opMul, given(21, 1), nil},
	"Div":     {opDiv, given(29, 1), nil},
	"Max":     {opMaximum, given(39, 0), nil},
	"Min":     {opMinimum, given(39, 0), nil},
	"Sqrt":    {opSqrt, options{}, nil},
	"Sigmoid": {opLogistic, options{}, upToOne},
	"Relu":    {opRelu, options{}, nil},
	"Tanh":    {opTanh, options{}, plusMinusOne},
	"Softmax": {opSoftmax, softmaxOptions(), upToOne},
}

// inFloat are ops that stay in float: their kernels of 16 bits are not there, want equal
// scales, or are too coarse.
var inFloat = map[builtin]bool{opDiv: true, opMaximum: true, opMinimum: true, opSqrt: true, opRelu: true, opSoftmax: true}

// upToOne encodes numbers from 0 to 1.
func upToOne(bits int) encoding.Encoding {
	if bits == 16 {
		return encoding.Signed(16, 0x1p-15)
	}
	return encoding.Encoding{Bits: 8, Scales: []float32{0x1p-8}, Zeros: []int32{-128}}
}

// plusMinusOne encodes numbers from -1 to 1.
func plusMinusOne(bits int) encoding.Encoding {
	if bits == 16 {
		return encoding.Signed(16, 0x1p-15)
	}
	return encoding.Signed(8, 0x1p-7)
}
