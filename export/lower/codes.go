package lower

import (
	"eisft/export/ir"
	"eisft/quant"
)

// inCodes marks the nodes added until leave is called as computed in codes, where the
// scheme has integer attention. In others they stay in the float region around them.
func (b *builder) inCodes() (leave func()) {
	if q := b.src.Quantized; q != nil && q.Scheme.IntegerAttention() {
		return b.Quantizable()
	}
	return func() {}
}

// encode gives x the encoding of a point, where it is to be quantized, and returns it.
// Maps that read the same tensor share a point.
func (b *builder) encode(x *ir.Value, point string) *ir.Value {
	p := b.point(point)
	if e := x.Encoded(); p == nil || e != nil && e.Point == point {
		return x
	}
	return x.Encode(point, p.Encoding)
}

// encodeProduct is encode of what is only added up: in 16 bits its codes are unsigned if the
// scheme's are.
func (b *builder) encodeProduct(x *ir.Value, point string) *ir.Value {
	p := b.point(point)
	if p == nil || !b.src.Quantized.Scheme.Attention.Unsigned || p.Encoding.Bits != b.src.Quantized.Scheme.Attention.Bits {
		return b.encode(x, point)
	}
	return x.Encode(point, p.Encoding.AsUnsigned())
}

// keep gives y, which holds numbers of x in another order, the encoding of x in schemes with
// integer attention: codes are moved there, not computed.
func (b *builder) keep(y, x *ir.Value) *ir.Value {
	e, q := x.Encoded(), b.src.Quantized
	if e == nil || !q.Scheme.IntegerAttention() {
		return y
	}
	return y.Encode(e.Point, e.Encoding)
}

func (b *builder) reshape(x *ir.Value, shape ...int) *ir.Value {
	return b.keep(b.Reshape(x, shape...), x)
}

func (b *builder) transpose(x *ir.Value, perm ...int) *ir.Value {
	return b.keep(b.Transpose(x, perm...), x)
}

func (b *builder) slice(x *ir.Value, axis, start, end int) *ir.Value {
	return b.keep(b.Slice(x, axis, start, end), x)
}

// split divides x along an axis.
func (b *builder) split(x *ir.Value, axis int, sizes ...int) []*ir.Value {
	parts := b.cut(x, axis, sizes...)
	for _, p := range parts {
		b.keep(p, x)
	}
	return parts
}

// concat joins values of one encoding.
func (b *builder) concat(axis int, vs ...*ir.Value) *ir.Value {
	return b.keep(b.Concat(axis, vs...), vs[0])
}

// constant is a small constant of the base, with its codes where it has any. A vector is
// called name.
func (b *builder) constant(name string, values []float32) *ir.Value {
	var v *ir.Value
	if len(values) == 1 {
		v = b.Scalar(values[0])
	} else {
		v = b.Const(name, []int{len(values)}, values)
	}
	point := quant.ConstantPoint(values)
	p := b.point(point)
	if p == nil || v.Encoded() != nil {
		return v
	}
	return v.EncodeAs(point, p.Encoding, v.Name()+".codes", func() (ir.Tensor, error) {
		codes, err := ir.Codes(p.Encoding, p.Codes)
		if err != nil {
			return ir.Tensor{}, err
		}
		return ir.NewTensor(v.Shape(), codes)
	})
}
