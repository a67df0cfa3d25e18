package lower

import (
	"eisft/export/ir"
	"eisft/internal/enum"
	"eisft/model"
)

// features says how each feature map of package model is worded in ONNX ops: φ of
// x [K,r,..,d], with the maps A of the heads [K·r,d,f] where they are trained.
var features = enum.NewTable[model.Feature, func(b *builder, x *ir.Value, a *model.Param, kv, group int) *ir.Value]("feature").
	With(model.FeatureELU, (*builder).elu).
	With(model.FeatureHedgehog, (*builder).hedgehog)

// feature is model.FeatureMap.Forward of x [K,r,..,d].
func (b *builder) feature(x *ir.Value, a *model.Param, kv, group int) *ir.Value {
	return features.Get(b.src.Model.Spec.Feature)(b, x, a, kv, group)
}

// elu words exp(x) for x ≤ 0 as σ(x)/σ(-x).
func (b *builder) elu(x *ir.Value, _ *model.Param, _, _ int) *ir.Value {
	low := b.Min(x, b.Scalar(0))
	exp := b.Div(b.Sigmoid(low), b.Sigmoid(b.Mul(low, b.Scalar(-1))))
	return b.Add(b.Relu(x), exp)
}

func (b *builder) hedgehog(x *ir.Value, a *model.Param, kv, group int) *ir.Value {
	y := b.MatMul(x, b.Const(a.Name, []int{kv, group, a.Shape[1], a.Shape[2]}, a.Data))
	return b.Concat(3, b.Softmax(y), b.Softmax(b.Mul(y, b.Scalar(-1))))
}
