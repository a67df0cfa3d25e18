package lower

import (
	"fmt"
	"strings"

	"eisft/export/ir"
	"eisft/model"
	"eisft/quant"
	"eisft/quant/encoding"
)

// layer carries out the block of one layer with ONNX nodes: model.Ops. Values are
// [1,T,features]; between the step that reads queries and the output projection they
// are [K,r,T,d], by KV head and query head of its group, so that keys and values
// [K,1,..] serve the r heads of a group by broadcasting.
type layer struct {
	*builder
	*state
	view        *view
	index       int
	frozen      *model.Layer
	params      *model.LayerParams
	points      quant.Inner
	feedForward bool // the next residual sum is of the feed-forward layer
}

// state is what a layer keeps while its part of the graph is built.
type state struct {
	newKey, newValue *ir.Value // of the new tokens as the cache stores them: [K,1,d,T], [K,1,T,d]
	score            *ir.Value // kept with every token [K,1,T,1], nil without
	query            *ir.Value // before rotary embedding [K,r,T,d]
	mass             *ir.Value // of the memory's read [K,r,T,1]
}

// forward adds layer i of the model.
func (b *builder) forward(i int, l *model.Layer, x *ir.Value) *ir.Value {
	defer b.Scope(fmt.Sprintf("layers.%d", i))()
	st := &state{}
	b.states = append(b.states, st)
	return model.Forward(&layer{
		builder: b, state: st, view: b.viewOf(l), index: i, frozen: l, params: &b.src.Model.Params.Layers[i], points: quant.InnerPoints(l),
	}, b.src.Model.Spec, l, x)
}

// logits adds the final norm and the output projection.
func (b *builder) logits(x *ir.Value, tokens int) {
	if b.src.Logits == LogitsNone && tokens > 1 {
		return
	}
	if b.src.Logits == LogitsLast && tokens > 1 {
		leave := b.inCodes()
		x = b.slice(x, 1, tokens-1, tokens)
		leave()
	}
	base := b.src.Model.Base
	y := b.linear(base.Head, quant.HeadName, b.encode(b.norm(base.Norm, x).Named("norm"), quant.HeadInput), quant.HeadOutput)
	if base.LogitScale != 0 {
		y = b.Mul(y, b.Scalar(1/base.LogitScale))
	}
	y = b.softcap(y, base.LogitSoftcap)
	b.output(port{name: "logits", role: "logits", axes: "batch token vocabulary"}, y)
}

// softcap is kernels.Softcap; 0 is none.
func (b *builder) softcap(x *ir.Value, c float32) *ir.Value {
	if c == 0 {
		return x
	}
	return b.Mul(b.Tanh(b.Mul(x, b.Scalar(1/c))), b.Scalar(c))
}

// Copy gives maps that read the residual stream a value of their own: an encoding is of a
// value and of all that reads it. A reshape is the identity that every runtime has.
func (l *layer) Copy(x *ir.Value) *ir.Value {
	if l.src.Quantized == nil {
		return x
	}
	defer l.inCodes()()
	return l.Reshape(x, x.Shape()...)
}

// Residual is the residual sum.
func (l *layer) Residual(m *model.Layer, x, y *ir.Value) *ir.Value {
	defer l.inCodes()()
	scaled, sum := l.points.AttentionScaled, l.points.AttentionResidual
	if l.feedForward {
		scaled, sum = l.points.FeedForwardScaled, l.points.FeedForwardResidual
	}
	l.feedForward = false
	if m.ResidualScale != 0 {
		y = l.encode(l.Mul(y, l.constant("", []float32{m.ResidualScale})), scaled)
	}
	return l.encode(l.Add(x, y), sum)
}

// Norm is the formula of kernels.RMSNorm, or of kernels.LayerNorm. What no map reads has a
// point of its own.
func (l *layer) Norm(n *model.Norm, x *ir.Value) *ir.Value {
	return l.encode(l.norm(n, x), quant.NormPoint(n))
}

func (b *builder) norm(n *model.Norm, x *ir.Value) *ir.Value {
	shape, size := x.Shape(), len(n.Weight)
	groups := size != x.Dim(-1)
	if groups {
		x = b.Reshape(x, 1, x.Dim(1), x.Dim(2)/size, size)
	}
	if n.Center {
		x = b.Sub(x, b.ReduceMean(x, -1))
	}
	leave := func() {}
	if !n.Center && n.Bias == nil {
		leave = b.Composite(&ir.Composite{Name: RMSNorm, Epsilon: n.Eps})
	}
	y := b.Mul(b.standardize(x, n.Eps), b.Const(n.Name+".weight", []int{size}, n.Weight))
	leave()
	if n.Bias != nil {
		y = b.Add(y, b.Const(n.Name+".bias", []int{size}, n.Bias))
	}
	if groups {
		y = b.Reshape(y, shape...)
	}
	return y
}

// Linear is xWᵀ + b, with an encoding before and after it.
func (l *layer) Linear(m *model.Linear, x *ir.Value) *ir.Value {
	if len(x.Shape()) == 4 {
		leave := func() {}
		if x.Encoded() != nil {
			leave = l.inCodes()
		}
		x = l.mergeHeads(x)
		leave()
	}
	return l.linear(m, m.Name, l.encode(x, quant.InputPoint(l.frozen, m)), quant.OutputPoint(m))
}

// linear adds the map m, called name in its file, of x: its weights, with their codes,
// and the encoding of its result. Maps are all that is not kept in float by design, and
// they are, too, where a scheme leaves activations in float.
func (b *builder) linear(m *model.Linear, name string, x *ir.Value, point string) *ir.Value {
	short := name[strings.LastIndex(name, ".")+1:]
	shape := []int{m.In, m.Out}
	matrix := b.Stored(name+".weight", ir.Float32, shape, func() (ir.Tensor, error) {
		return ir.NewTransposed(m.Out, m.In, m.Rows)
	})
	q := b.src.Quantized
	if q != nil {
		w := q.Weight(name)
		matrix.EncodeAs(name, w.Encoding.Transposed(w.Out, w.In), name+".codes", func() (ir.Tensor, error) {
			codes, err := ir.Codes(w.Encoding, encoding.Transpose(w.Codes, w.Out, w.In))
			if err != nil {
				return ir.Tensor{}, err
			}
			return ir.NewTensor(shape, codes)
		})
	}
	leave := func() {}
	if q != nil && !q.Scheme.Activation.None() {
		leave = b.Quantizable()
	}
	y := b.addBias(m, b.MatMul(x, matrix).Named(short))
	leave()
	return b.encode(y, point)
}

func (b *builder) addBias(m *model.Linear, y *ir.Value) *ir.Value {
	if m.Bias == nil {
		return y
	}
	shape := []int{m.Out}
	if q := b.src.Quantized; q != nil && q.Scheme.Activation.Bits == 8 {
		// ONNX Runtime's levels above basic turn a product with a bias of one axis into a Gemm,
		// with a Reshape before it whose 8-bit Q and DQ they then give the wrong type.
		shape = []int{1, 1, m.Out}
	}
	return b.Add(y, b.Const(m.Name+".bias", shape, m.Bias))
}

// GatedProduct is model.Activation.Product: SiLU, or GELU by its tanh formula
// (arXiv 1606.08415, section 2), which stays in float.
func (l *layer) GatedProduct(m *model.Layer, gate, up *ir.Value) *ir.Value {
	l.feedForward = true
	defer l.inCodes()()
	act := func() *ir.Value {
		if m.Activation == model.GELUTanh {
			return l.geluTanh(gate)
		}
		return l.Mul(gate, l.encode(l.Sigmoid(gate), l.points.Sigmoid))
	}()
	return l.Mul(l.encode(act, l.points.Act), up)
}

func (l *layer) geluTanh(x *ir.Value) *ir.Value {
	defer l.FloatRegion()()
	const sqrt2OverPi, cubic = 0.7978845608, 0.044715
	// Beyond ±8 the tangent is ±1 in float32, and the cube leaves float16 beyond ±40.
	near := l.Max(l.Min(x, l.Scalar(8)), l.Scalar(-8))
	inner := l.Add(near, l.Mul(l.Scalar(cubic), l.Mul(near, l.Mul(near, near))))
	t := l.Add(l.Tanh(l.Mul(l.Scalar(sqrt2OverPi), inner)), l.Scalar(1))
	return l.Mul(l.Mul(l.Scalar(0.5), x), t)
}
