package tflite

import (
	"crypto/sha256"
	"fmt"
	"math"

	"eisft/export/ir"
	"eisft/quant/encoding"
)

// product adds a product: of a frozen map, or of two values.
func (t *translation) product(n *ir.Node) error {
	w := n.Inputs()[1]
	if !w.IsConstant() || len(w.Shape()) != 2 {
		return t.batchProduct(n)
	}
	if bias := t.biasOf(n); bias != nil {
		t.joined[n] = true
		return nil
	}
	return t.fullyConnected(n, n, nil)
}

// batchProduct adds the product of two values. Codes of 8 bits may stand behind those of 16 if
// they have no zero point.
func (t *translation) batchProduct(n *ir.Node) error {
	x, y, made := n.Inputs()[0], n.Inputs()[1], n.Outputs()[0]
	if !t.whole(n, made) {
		return t.compute(n, opBatchMatMul, batchMatMulOptions(), nil)
	}
	bits, err := t.width(made, x, y)
	if err != nil {
		return err
	}
	second, err := t.codes(y)
	if err != nil {
		return err
	}
	if bits != 16 || second.encoding.Bits == 16 || !second.encoding.Symmetric() {
		return t.compute(n, opBatchMatMul, batchMatMulOptions(), nil)
	}
	first, err := t.wide(x)
	if err != nil {
		return err
	}
	have := widened(made.Encoded().Encoding)
	return t.emit(opBatchMatMul, batchMatMulOptions(), []int{first, second.tensor}, made, &have)
}

// biasOf returns the constant vector that is added to a product and that nothing else reads.
func (t *translation) biasOf(n *ir.Node) *ir.Value {
	made := n.Outputs()[0]
	if t.uses[made] != 1 || t.encoded(made) {
		return nil
	}
	for _, next := range t.readers[made] {
		if in := next.Inputs(); next.Op() == "Add" && in[0] == made && in[1].IsConstant() && size(in[1].Shape()) == made.Dim(-1) && in[1].Dim(-1) == made.Dim(-1) {
			return in[1]
		}
	}
	return nil
}

// fullyConnected adds the map of a product, with a bias if there is one; last is the node
// whose result it makes. Weights lie as [Out,In].
func (t *translation) fullyConnected(last, product *ir.Node, bias *ir.Value) error {
	x, w, v := product.Inputs()[0], product.Inputs()[1], last.Outputs()[0]
	if !t.encoded(w) {
		return t.floatMap(x, w, v, bias)
	}
	if !t.hasCodes(x) || product.KeptFloat() || !t.encoded(v) {
		return fmt.Errorf("weights %s have codes, but what they meet or make has not: LiteRT multiplies all three in whole numbers", w.Name())
	}
	bits, err := t.width(v, x)
	if err != nil {
		return err
	}
	input, err := t.ofWidth(bits, x)
	if err != nil {
		return err
	}
	weights, err := t.weights(w)
	if err != nil {
		return err
	}
	added := -1
	if bias != nil {
		if added, err = t.bias(bias, t.graph.tensors[input].quant.scales[0], w, bits); err != nil {
			return err
		}
	}
	have := v.Encoded().Encoding
	version := int32(5) // keep_num_dims
	if bits == 16 {
		have, version = widened(have), 7
	}
	if w.Encoded().Bits == 4 {
		version = 10
	}
	out, after, err := t.result(v, &have)
	if err != nil {
		return err
	}
	t.op(opFullyConnected, version, []int{input, weights, added}, []int{out}, fullyConnectedOptions())
	return after()
}

// floatMap adds a map of floats.
func (t *translation) floatMap(x, w, v, bias *ir.Value) error {
	input, err := t.floats(x)
	if err != nil {
		return err
	}
	weights, err := t.weights(w)
	if err != nil {
		return err
	}
	added := -1
	if bias != nil {
		b, load := bias.Constant()
		shape := []int{bias.Dim(-1)}
		s, err := t.stored(bias.Name(), b, ir.Float32, shape, load)
		if err != nil {
			return err
		}
		added = t.append(s)
	}
	out, after, err := t.result(v, nil)
	if err != nil {
		return err
	}
	const version = 5 // keep_num_dims
	t.op(opFullyConnected, version, []int{input, weights, added}, []int{out}, fullyConnectedOptions())
	return after()
}

// weights adds a map's matrix [In,Out] as [Out,In].
func (t *translation) weights(w *ir.Value) (int, error) {
	if i, ok := t.turned[w]; ok {
		return i, nil
	}
	name, load := w.Constant()
	called, dtype := w.Name(), w.DType()
	var q *quantization
	if t.encoded(w) {
		e := w.Encoded()
		if e.Block > 0 {
			return 0, fmt.Errorf("weights %s have scales for blocks of %d: LiteRT's kernels for whole numbers have one for each output", w.Name(), e.Block)
		}
		name, load = e.Codes(w)
		called = pointed(called, e)
		dtype, q = ir.CodeType(e.Encoding), quantizationOf(e.Encoding.Transposed(w.Dim(0), w.Dim(1)))
	}
	shape := []int{w.Dim(1), w.Dim(0)}
	transpose := func() (ir.Tensor, error) {
		x, err := load()
		if err != nil {
			return x, err
		}
		return transposed(x)
	}
	if name == "" {
		name = w.Name()
	}
	s, err := t.stored(called, name+" [Out,In]", dtype, shape, transpose)
	s.quant = q
	t.turned[w] = t.append(s)
	return t.turned[w], err
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

// bias adds a map's bias in whole numbers of the product's own steps, 32 bits beside
// activations of 8 and 64 beside those of 16.
func (t *translation) bias(b *ir.Value, scale float32, w *ir.Value, bits int) (int, error) {
	_, load := b.Constant()
	c, err := load()
	if err != nil {
		return 0, err
	}
	numbers, err := c.Floats()
	if err != nil {
		return 0, err
	}
	scales, codes := make([]float32, len(numbers)), make([]int64, len(numbers))
	for i, v := range numbers {
		scales[i] = scale * w.Encoded().Scales[i%len(w.Encoded().Scales)]
		codes[i] = int64(math.RoundToEven(float64(v) / float64(scales[i])))
	}
	return t.biasCodes(b, codes, scales, bits == 16)
}

func (t *translation) biasCodes(b *ir.Value, codes []int64, scales []float32, wide bool) (int, error) {
	var data any = codes
	dtype, width := typeInt64, int64(8)
	if !wide {
		narrow := make([]int32, len(codes))
		for i, c := range codes {
			narrow[i] = int32(max(math.MinInt32, min(math.MaxInt32, c)))
		}
		data, dtype, width = narrow, typeInt32, 4
	}
	shape := []int{len(codes)}
	x, err := ir.NewTensor(shape, data)
	if err != nil {
		return 0, err
	}
	key := fmt.Sprintf("%s/codes/%x", b.Name(), sha256.Sum256(x.Raw))
	q := &quantization{scales: scales, zeros: make([]int64, len(scales))}
	return t.append(tensor{
		name: b.Name() + "/codes", dtype: dtype, shape: shape, quant: q,
		buffer: t.buffer(key, width*int64(len(codes)), func() ([]byte, error) { return x.Raw, nil }),
	}), nil
}

func size(shape []int) int {
	n := 1
	for _, s := range shape {
		n *= s
	}
	return n
}
