package tflite

import (
	"fmt"
	"slices"

	"eisft/export/ir"
	"eisft/quant/encoding"
)

// hasCodes tells whether there are codes of a value: its own, or those of what it was moved
// from.
func (t *translation) hasCodes(v *ir.Value) bool {
	_, ok := t.inCodes[v]
	return ok || v.IsConstant() && t.encoded(v)
}

// codes returns a value's codes.
func (t *translation) codes(v *ir.Value) (coded, error) {
	if c, ok := t.inCodes[v]; ok {
		return c, nil
	}
	if !v.IsConstant() {
		return coded{}, fmt.Errorf("%s has no codes", v)
	}
	c, err := t.constantCodes(v)
	t.inCodes[v] = c
	return c, err
}

// constantCodes adds a constant's codes as they lie in the graph. One without an encoding gets
// the one that it needs in an op of whole numbers: 16 bits, symmetric.
func (t *translation) constantCodes(v *ir.Value) (coded, error) {
	if !t.encoded(v) {
		return t.encodeConstant(v)
	}
	e := v.Encoded()
	name, load := e.Codes(v)
	if load == nil {
		return coded{}, fmt.Errorf("constant %s has an encoding but no codes", v)
	}
	x, err := t.stored(pointed(v.Name(), e), name, ir.CodeType(e.Encoding), v.Shape(), load)
	x.quant = quantizationOf(e.Encoding)
	return coded{t.append(x), e.Encoding}, err
}

func (t *translation) encodeConstant(v *ir.Value) (coded, error) {
	name, load := v.Constant()
	x, err := load()
	if err != nil {
		return coded{}, err
	}
	numbers, err := x.Floats()
	if err != nil {
		return coded{}, err
	}
	e := encoding.Format{Bits: 16}.Tensor(slices.Min(numbers), slices.Max(numbers))
	codes := make([]int16, len(numbers))
	encoding.Codes(e, codes, numbers)
	if name != "" {
		name += "/int16"
	}
	s, err := t.stored(v.Name()+"/codes", name, ir.Int16, v.Shape(), func() (ir.Tensor, error) { return ir.NewTensor(v.Shape(), codes) })
	s.quant = quantizationOf(e)
	return coded{t.append(s), e}, err
}

// floats returns the tensor of a value's floats, which DEQUANTIZE makes of codes.
func (t *translation) floats(v *ir.Value) (int, error) {
	if i, ok := t.inFloat[v]; ok {
		return i, nil
	}
	if v.IsConstant() && !t.encoded(v) {
		return t.constant(v)
	}
	from, err := t.codes(v)
	if err != nil {
		return 0, err
	}
	to := t.addFloats(v.Name()+"/float", v.Shape())
	version := int32(2)
	if from.encoding.Bits == 16 {
		version = 3
	}
	t.op(opDequantize, version, []int{from.tensor}, []int{to}, options{})
	t.inFloat[v] = to
	return to, nil
}

// quantize adds the codes, in an encoding, of a tensor of floats or of other codes.
func (t *translation) quantize(from int, name string, shape []int, e encoding.Encoding) (int, error) {
	to, err := t.addCodes(name, shape, e)
	version := int32(2)
	if t.graph.tensors[from].dtype != typeFloat32 && e.Bits == 16 {
		version = 3
	}
	t.op(opQuantize, version, []int{from}, []int{to}, options{})
	return to, err
}

// codesAs returns a value's codes in another encoding; the tensor that is made for them, if one
// is, has a name.
func (t *translation) codesAs(v *ir.Value, name string, e encoding.Encoding) (int, error) {
	c, err := t.codes(v)
	if err != nil || c.encoding.Equal(e) {
		return c.tensor, err
	}
	return t.quantize(c.tensor, name, v.Shape(), e)
}

// wide returns a value's codes in 16 bits: those of 8 keep their steps.
func (t *translation) wide(v *ir.Value) (int, error) {
	c, err := t.codes(v)
	if err != nil || c.encoding.Bits == 16 {
		return c.tensor, err
	}
	if i, ok := t.inWide[v]; ok {
		return i, nil
	}
	i, err := t.quantize(c.tensor, v.Name()+"/int16", v.Shape(), encoding.Signed(16, c.encoding.Scales[0]))
	t.inWide[v] = i
	return i, err
}

// whole tells whether a node computes in whole numbers: nothing keeps it in float, what it
// makes is encoded, and all that it reads has codes or is a constant.
func (t *translation) whole(n *ir.Node, made *ir.Value) bool {
	if n.KeptFloat() || !t.encoded(made) {
		return false
	}
	return !slices.ContainsFunc(n.Inputs(), func(v *ir.Value) bool { return !t.hasCodes(v) && !v.IsConstant() })
}

// width is the number of bits that a node computes in, to make a result of some values:
// LiteRT's kernels want all of one type.
func (t *translation) width(made *ir.Value, values ...*ir.Value) (int, error) {
	bits := made.Encoded().Bits
	for _, v := range values {
		c, err := t.codes(v)
		if err != nil {
			return 0, err
		}
		bits = max(bits, c.encoding.Bits)
	}
	return bits, nil
}

// ofWidth returns a value's codes in that many bits.
func (t *translation) ofWidth(bits int, v *ir.Value) (int, error) {
	if bits == 16 {
		return t.wide(v)
	}
	c, err := t.codes(v)
	return c.tensor, err
}

// widened is an encoding of 16 bits that reaches as far as one of 8.
func widened(e encoding.Encoding) encoding.Encoding {
	if e.Bits == 16 {
		return e
	}
	lo, hi := e.Reach(0)
	return encoding.Format{Bits: 16}.Tensor(float32(lo), float32(hi))
}

// result declares what an op makes of a node's result: codes of the encoding have or, where
// that is nil, floats. after must be called when the op is there: it gives the result the
// encoding that it has in the graph.
func (t *translation) result(v *ir.Value, have *encoding.Encoding) (made int, after func() error, err error) {
	name, want := v.Name(), (*encoding.Encoding)(nil)
	if t.encoded(v) {
		want = &v.Encoded().Encoding
	}
	if have == nil {
		made = t.addFloats(name, v.Shape())
		if want == nil {
			t.inFloat[v] = made
		}
	} else {
		switch {
		case want == nil:
		case have.Equal(*want):
			name = pointed(name, v.Encoded())
		default:
			name += "/" + have.Type()
		}
		if made, err = t.addCodes(name, v.Shape(), *have); err != nil {
			return 0, nil, err
		}
		if want == nil || have.Equal(*want) {
			t.inCodes[v] = coded{made, *have}
			want = nil
		}
	}
	return made, func() error {
		if want == nil {
			return nil
		}
		to, err := t.quantize(made, pointed(v.Name(), v.Encoded()), v.Shape(), *want)
		t.inCodes[v] = coded{to, *want}
		return err
	}, nil
}

// emit adds an op that makes v of other tensors; the result has the encoding have, nil being
// floats.
func (t *translation) emit(op builtin, o options, inputs []int, v *ir.Value, have *encoding.Encoding) error {
	out, after, err := t.result(v, have)
	if err != nil {
		return err
	}
	t.op(op, t.version(op, out), inputs, []int{out}, o)
	return after()
}

// version is the version of an op's kernel that takes the type of its result.
func (t *translation) version(op builtin, out int) int32 {
	dtype := t.graph.tensors[out].dtype
	wide := map[builtin]int32{ // of 16 bits
		opLogistic: 3, opTanh: 3, opSoftmax: 3, opMean: 3, opConcatenation: 3, opTranspose: 4, opSlice: 4, opBatchMatMul: 3,
	}
	switch {
	case op == opReshape:
		return 1
	case dtype == typeInt16 && wide[op] > 0:
		return wide[op]
	case dtype == typeInt16 || dtype == typeInt8:
		return 2
	}
	return 1
}
