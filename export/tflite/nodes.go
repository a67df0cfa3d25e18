package tflite

import (
	"fmt"
	"math"
	"slices"

	"eisft/export/ir"
	"eisft/quant/encoding"
)

// node adds the ops of a node.
func (t *translation) node(n *ir.Node) error {
	in := n.Inputs()
	if e, ok := elementwise[n.Op()]; ok {
		if n.Op() == "Add" && t.joined[in[0].Producer()] {
			return t.fullyConnected(n, in[0].Producer(), in[1])
		}
		return t.emit(n, e.op, e.options, nil, in...)
	}
	switch n.Op() {
	case "MatMul":
		return t.product(n)
	case "Concat":
		return t.emit(n, opConcatenation, concatenationOptions(n.Int("axis")), nil, in...)
	case "Reshape":
		return t.withIntegers(n, opReshape, reshapeOptions(n.Outputs()[0].Shape()), n.Outputs()[0].Shape())
	case "Transpose":
		return t.withIntegers(n, opTranspose, options{}, n.Ints("perm"))
	case "ReduceMean", "ReduceSum":
		return t.reduce(n)
	case "Slice", "Split":
		return t.cut(n)
	case "Gather":
		table, err := t.floats(in[0])
		if err != nil {
			return err
		}
		ids := t.index[form{in[1], false}]
		out, after, err := t.result(false, n.Outputs()[0])
		t.op(opGather, 1, []int{table, ids}, []int{out}, gatherOptions())
		after()
		return err
	}
	return fmt.Errorf("LiteRT has no op for it here")
}

// withIntegers adds an op of one value and a list of whole numbers.
func (t *translation) withIntegers(n *ir.Node, op builtin, o options, numbers []int) error {
	i, err := t.integers(numbers...)
	if err != nil {
		return err
	}
	return t.emit(n, op, o, []int{i}, n.Inputs()[0])
}

// reduce adds MEAN or SUM over the axes along which the result has size 1.
func (t *translation) reduce(n *ir.Node) error {
	op := opMean
	if n.Op() == "ReduceSum" {
		op = opSum
	}
	axes, err := constantInts(n, 1, "axes")
	if err != nil {
		return err
	}
	return t.withIntegers(n, op, reducerOptions(), axes)
}

// constantInts reads a list that a node has as an input or, in older opsets, as an attribute.
func constantInts(n *ir.Node, input int, attribute string) ([]int, error) {
	if input >= len(n.Inputs()) {
		return n.Ints(attribute), nil
	}
	_, load := n.Inputs()[input].Constant()
	x, err := load()
	if err != nil {
		return nil, err
	}
	wide, err := x.Ints()
	list := make([]int, len(wide))
	for i, v := range wide {
		list[i] = int(v)
	}
	return list, err
}

// cut adds a SLICE for each result of a Slice or Split: MediaTek has no SPLIT_V, which
// uneven pieces would need.
func (t *translation) cut(n *ir.Node) error {
	x, axis, at := n.Inputs()[0], n.Int("axis"), 0
	if n.Op() == "Slice" {
		starts, err := constantInts(n, 1, "starts")
		if err != nil {
			return err
		}
		axes, err := constantInts(n, 3, "axes")
		if err != nil {
			return err
		}
		axis, at = axes[0], starts[0]
	}
	for _, v := range n.Outputs() {
		begin, size := make([]int, len(x.Shape())), v.Shape()
		begin[axis] = at
		at += size[axis]
		from, err := t.integers(begin...)
		if err != nil {
			return err
		}
		count, err := t.integers(size...)
		if err != nil {
			return err
		}
		if err := t.piece(n, x, v, []int{from, count}); err != nil {
			return err
		}
	}
	return nil
}

func (t *translation) piece(n *ir.Node, x, v *ir.Value, place []int) error {
	whole := t.whole(n, v)
	from, err := t.operand(whole, x)
	if err != nil {
		return err
	}
	out, after, err := t.result(whole, v)
	if err != nil {
		return err
	}
	t.op(opSlice, t.version(opSlice, out), append([]int{from}, place...), []int{out}, options{})
	after()
	return nil
}

// product adds a product: of a frozen map, or of two values.
func (t *translation) product(n *ir.Node) error {
	x, w := n.Inputs()[0], n.Inputs()[1]
	if !w.IsConstant() || len(w.Shape()) != 2 {
		return t.emit(n, opBatchMatMul, batchMatMulOptions(), nil, x, w)
	}
	if bias := t.biasOf(n); bias != nil {
		t.joined[n] = true
		return nil
	}
	return t.fullyConnected(n, n, nil)
}

// biasOf returns the constant vector that is added to a product and that nothing else reads.
func (t *translation) biasOf(n *ir.Node) *ir.Value {
	made := n.Outputs()[0]
	if t.uses[made] != 1 || t.encoded(made) {
		return nil
	}
	for _, next := range t.readers[made] {
		if in := next.Inputs(); next.Op() == "Add" && in[0] == made && in[1].IsConstant() && len(in[1].Shape()) == 1 && in[1].Dim(0) == made.Dim(-1) {
			return in[1]
		}
	}
	return nil
}

// fullyConnected adds the map of a product, with a bias if there is one; last is the node
// whose result it makes. Weights lie as [Out,In].
func (t *translation) fullyConnected(last, product *ir.Node, bias *ir.Value) error {
	x, w, v := product.Inputs()[0], product.Inputs()[1], last.Outputs()[0]
	whole := t.whole(product, v) && t.encoded(x) && t.encoded(w)
	input, err := t.operand(whole, x)
	if err != nil {
		return err
	}
	weights, err := t.weights(w, whole)
	if err != nil {
		return err
	}
	added := -1
	if bias != nil {
		if added, err = t.bias(bias, x, w, whole); err != nil {
			return err
		}
	}
	out, after, err := t.result(whole, v)
	if err != nil {
		return err
	}
	version := int32(5) // keep_num_dims
	switch {
	case whole && w.Encoded().Bits == 4:
		version = 10
	case whole && x.Encoded().Bits == 16:
		version = 7
	}
	t.op(opFullyConnected, version, []int{input, weights, added}, []int{out}, fullyConnectedOptions())
	after()
	return nil
}

// weights adds a map's matrix [In,Out] as [Out,In].
func (t *translation) weights(w *ir.Value, whole bool) (int, error) {
	if i, ok := t.index[form{w, whole}]; ok {
		return i, nil
	}
	name, load := w.Constant()
	dtype := w.DType()
	var q *quantization
	if t.encoded(w) {
		if !whole {
			return 0, fmt.Errorf("weights %s have codes, but their input has not: LiteRT multiplies both in whole numbers", w.Name())
		}
		e := w.Encoded()
		if e.Block > 0 {
			return 0, fmt.Errorf("weights %s have scales for blocks of %d: LiteRT's kernels for whole numbers have one for each output", w.Name(), e.Block)
		}
		name, load = e.Codes(w)
		dtype, q = ir.CodeType(e.Encoding), quantizationOf(e.Encoding.Transposed(w.Dim(0), w.Dim(1)))
	}
	shape := []int{w.Dim(1), w.Dim(0)}
	turned := func() (ir.Tensor, error) {
		x, err := load()
		if err != nil {
			return x, err
		}
		return transposed(x)
	}
	if name == "" {
		name = w.Name()
	}
	s, err := t.stored(w.Name(), name+" [Out,In]", dtype, shape, turned)
	s.quant = q
	t.index[form{w, whole}] = t.append(s)
	return t.index[form{w, whole}], err
}

// transposed returns the transpose of a matrix.
func transposed(x ir.Tensor) (ir.Tensor, error) {
	rows, cols := x.Shape[0], x.Shape[1]
	shape := []int{cols, rows}
	if x.DType == ir.Float32 {
		numbers, err := x.Floats()
		if err != nil {
			return x, err
		}
		return ir.NewTensor(shape, encoding.Transpose(numbers, rows, cols))
	}
	wide, err := x.Ints()
	if err != nil {
		return x, err
	}
	codes := make([]int8, len(wide))
	for i, c := range wide {
		codes[i] = int8(c)
	}
	codes = encoding.Transpose(codes, rows, cols)
	if x.DType == ir.Int4 {
		return ir.NewTensor(shape, ir.Nibbles(codes))
	}
	return ir.NewTensor(shape, codes)
}

// bias adds a map's bias: in float, or in whole numbers of the product's own steps, 32 bits
// beside activations of 8 and 64 beside those of 16.
func (t *translation) bias(b, x, w *ir.Value, whole bool) (int, error) {
	if !whole {
		return t.floats(b)
	}
	_, load := b.Constant()
	c, err := load()
	if err != nil {
		return 0, err
	}
	numbers, err := c.Floats()
	if err != nil {
		return 0, err
	}
	scales := slices.Repeat(x.Encoded().Scales[:1], len(numbers))
	codes := make([]int64, len(numbers))
	for i, v := range numbers {
		scales[i] *= w.Encoded().Scales[i%len(w.Encoded().Scales)]
		codes[i] = int64(math.RoundToEven(float64(v) / float64(scales[i])))
	}
	return t.biasCodes(b, codes, scales, x.Encoded().Bits == 16)
}

func (t *translation) biasCodes(b *ir.Value, codes []int64, scales []float32, wide bool) (int, error) {
	var data any = codes
	dtype, size := typeInt64, int64(8)
	if !wide {
		narrow := make([]int32, len(codes))
		for i, c := range codes {
			narrow[i] = int32(c)
		}
		data, dtype, size = narrow, typeInt32, 4
	}
	x, err := ir.NewTensor(b.Shape(), data)
	if err != nil {
		return 0, err
	}
	key := fmt.Sprintf("%s/codes/%x", b.Name(), x.Raw)
	q := &quantization{scales: scales, zeros: make([]int64, len(scales))}
	return t.append(tensor{
		name: b.Name() + "/codes", dtype: dtype, shape: b.Shape(), quant: q,
		buffer: t.buffer(key, size*int64(len(codes)), func() ([]byte, error) { return x.Raw, nil }),
	}), nil
}
