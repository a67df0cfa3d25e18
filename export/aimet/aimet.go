// Package aimet writes encodings beside a float graph in the JSON of AIMET, from which
// Qualcomm's tools take them: versions 1.0.0 and 2.0.0 of the encoding format
// specification (github.com/qualcomm/aimet, Docs/techniques/encoding_spec.rst, sections 2
// and 3).
package aimet

import (
	"encoding/json"
	"fmt"
	"slices"

	"eisft/quant/encoding"
)

// Tensor is a tensor of a graph with its encoding.
type Tensor struct {
	Name  string // in the graph
	Shape []int
	Param bool // a constant
	encoding.Encoding
}

// The kinds of encodings of version 1.0.0.
const (
	perTensor  = "PER_TENSOR"
	perChannel = "PER_CHANNEL"
	perBlock   = "PER_BLOCK"
	lowPower   = "LPBQ"
)

// entry1 is an encoding of version 1.0.0. Offset is that of Qualcomm: minus the zero point
// of codes that begin at 0.
type entry1 struct {
	Name       string    `json:"name"`
	Type       string    `json:"enc_type"`
	DType      string    `json:"dtype"`
	Bits       int       `json:"bw"`
	Symmetric  bool      `json:"is_sym"`
	Scale      []float32 `json:"scale"`
	Offset     []int32   `json:"offset"`
	Block      int       `json:"block_size,omitempty"`
	Compressed int       `json:"compressed_bw,omitempty"`
	Multiples  []int32   `json:"per_block_int_scale,omitempty"`
}

type file1 struct {
	Version     string        `json:"version"`
	Activations []entry1      `json:"activation_encodings"`
	Params      []entry1      `json:"param_encodings"`
	Args        quantizerArgs `json:"quantizer_args"`
	Excluded    []string      `json:"excluded_layers"`
}

type quantizerArgs struct {
	Activation int    `json:"activation_bitwidth"`
	DType      string `json:"dtype"`
	Symmetric  bool   `json:"is_symmetric"`
	Param      int    `json:"param_bitwidth"`
	PerChannel bool   `json:"per_channel_quantization"`
	Scheme     string `json:"quant_scheme"`
}

// Version1 gives the encodings in version 1.0.0. The scales of channels and blocks follow
// each other by output channel, and within it by block of inputs.
func Version1(tensors []Tensor) ([]byte, error) {
	f := file1{Version: "1.0.0", Activations: []entry1{}, Params: []entry1{}, Excluded: []string{}}
	f.Args = quantizerArgs{DType: "int", Symmetric: true, Scheme: "post_training_tf"}
	for _, t := range tensors {
		e, err := t.version1()
		if err != nil {
			return nil, fmt.Errorf("encoding of %s: %w", t.Name, err)
		}
		if t.Param {
			f.Params = append(f.Params, e)
			f.Args.Param, f.Args.PerChannel = t.Bits, f.Args.PerChannel || e.Type != perTensor
		} else {
			f.Activations = append(f.Activations, e)
			f.Args.Activation = max(f.Args.Activation, t.Bits)
		}
	}
	return json.MarshalIndent(f, "", " ")
}

func (t Tensor) version1() (entry1, error) {
	e := entry1{Name: t.Name, Type: perTensor, DType: "INT", Bits: t.Bits, Symmetric: t.centred(), Scale: t.Scales, Offset: t.offsets()}
	switch {
	case t.Block > 0:
		rows, cols, err := t.matrix()
		if err != nil {
			return e, err
		}
		if t.LowPower() {
			steps, multiples := t.Channels, t.Multiples()
			// The codes of a block times its multiple are codes of twice as many bits, of
			// one scale for each channel.
			e.Type, e.Compressed, e.Bits = lowPower, t.Bits, 2*t.Bits
			e.Scale, e.Multiples = steps, byChannel(t, rows, cols, multiples)
			e.Offset = slices.Repeat([]int32{-1 << (e.Bits - 1)}, len(steps))
		} else {
			e.Type, e.Scale, e.Offset = perBlock, byChannel(t, rows, cols, t.Scales), byChannel(t, rows, cols, e.Offset)
		}
		e.Block = t.Block
	case len(t.Scales) > 1:
		e.Type = perChannel
	}
	return e, nil
}

// centred tells whether 0 is in the middle of the codes.
func (t Tensor) centred() bool {
	middle := t.middle()
	return !slices.ContainsFunc(t.offsets(), func(o int32) bool { return o != -middle })
}

func (t Tensor) middle() int32 { return 1 << (t.Bits - 1) }

// offsets are minus the zero points of codes that begin at 0, one for each scale.
func (t Tensor) offsets() []int32 {
	list := make([]int32, len(t.Scales))
	for i := range list {
		list[i] = -t.Zero(i)
		if !t.Unsigned {
			list[i] -= t.middle()
		}
	}
	return list
}

// matrix returns the sizes of the matrix that blocks are of.
func (t Tensor) matrix() (rows, cols int, err error) {
	if len(t.Shape) != 2 || t.Axis > 1 {
		return 0, 0, fmt.Errorf("blocks along axis %d of a tensor %v; only those of a matrix can be written", t.Axis, t.Shape)
	}
	return t.Shape[0], t.Shape[1], nil
}

// byChannel orders what blocks have by channel, the other axis than theirs.
func byChannel[T any](t Tensor, rows, cols int, x []T) []T {
	if t.Axis == 1 {
		return x
	}
	blocks, list := rows/t.Block, make([]T, 0, len(x))
	for c := range cols {
		for b := range blocks {
			list = append(list, x[b*cols+c])
		}
	}
	return list
}

// entry2 is an encoding of version 2.0.0: the inputs and attributes of ONNX's
// QuantizeLinear.
type entry2 struct {
	Name      string `json:"name"`
	DType     string `json:"output_dtype"`
	Scale     any    `json:"y_scale,omitempty"`
	Zero      any    `json:"y_zero_point,omitempty"`
	Axis      *int   `json:"axis,omitempty"`
	Block     int    `json:"block_size,omitempty"`
	Multiples any    `json:"per_block_int_scale,omitempty"`
	Steps     any    `json:"per_channel_float_scale,omitempty"`
}

type file2 struct {
	Version   string   `json:"version"`
	Encodings []entry2 `json:"encodings"`
}

// Version2 gives the encodings in version 2.0.0.
func Version2(tensors []Tensor) ([]byte, error) {
	f := file2{Version: "2.0.0", Encodings: []entry2{}}
	for _, t := range tensors {
		e, err := t.version2()
		if err != nil {
			return nil, fmt.Errorf("encoding of %s: %w", t.Name, err)
		}
		f.Encodings = append(f.Encodings, e)
	}
	return json.MarshalIndent(f, "", " ")
}

func (t Tensor) version2() (entry2, error) {
	e := entry2{Name: t.Name, DType: t.Type(), Block: t.Block}
	params, err := t.ParamShape(t.Shape)
	if err != nil {
		return e, err
	}
	if len(params) > 0 {
		axis := t.Axis
		e.Axis = &axis
	}
	if t.Block > 0 {
		if _, _, err := t.matrix(); err != nil {
			return e, err
		}
		if t.LowPower() {
			steps, multiples := t.Channels, t.Multiples()
			// One number for each channel, along the axis of channels.
			shape := []int{1, len(steps)}
			if t.Axis == 1 {
				shape = []int{len(steps), 1}
			}
			e.Multiples, e.Steps = nested(params, multiples), nested(shape, steps)
			return e, nil
		}
	}
	e.Scale = nested(params, t.Scales)
	if !t.Symmetric() {
		e.Zero = nested(params, t.Zeros)
	}
	return e, nil
}

// nested gives row-major numbers the form of nested lists; of no axes, the number.
func nested[T any](shape []int, x []T) any {
	if len(shape) == 0 {
		return x[0]
	}
	if len(shape) == 1 {
		return x
	}
	list, size := make([]any, shape[0]), len(x)/shape[0]
	for i := range list {
		list[i] = nested(shape[1:], x[i*size:(i+1)*size])
	}
	return list
}
