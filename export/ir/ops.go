package ir

import (
	"fmt"
	"slices"
)

// Add is a + b: like Sub, Mul, Div, Max and Min elementwise on float32 with numpy
// broadcasting.
func (g *Graph) Add(a, b *Value) *Value { return g.binary("Add", a, b) }

// Sub is a - b, see Add.
func (g *Graph) Sub(a, b *Value) *Value { return g.binary("Sub", a, b) }

// Mul is a * b, see Add.
func (g *Graph) Mul(a, b *Value) *Value { return g.binary("Mul", a, b) }

// Div is a / b, see Add.
func (g *Graph) Div(a, b *Value) *Value { return g.binary("Div", a, b) }

// Max is the larger of a and b, see Add.
func (g *Graph) Max(a, b *Value) *Value { return g.binary("Max", a, b) }

// Min is the smaller of a and b, see Add.
func (g *Graph) Min(a, b *Value) *Value { return g.binary("Min", a, b) }

// Sqrt is √x: like Sigmoid, Relu and Tanh elementwise on float32.
func (g *Graph) Sqrt(x *Value) *Value { return g.unary("Sqrt", x) }

// Sigmoid is 1/(1+exp(-x)).
func (g *Graph) Sigmoid(x *Value) *Value { return g.unary("Sigmoid", x) }

// Relu is max(x, 0).
func (g *Graph) Relu(x *Value) *Value { return g.unary("Relu", x) }

// Tanh is the hyperbolic tangent.
func (g *Graph) Tanh(x *Value) *Value { return g.unary("Tanh", x) }

// Softmax normalises the last axis of a float32 value.
func (g *Graph) Softmax(x *Value) *Value { return g.unary("Softmax", x, attr{"axis", -1}) }

// MatMul multiplies [..,m,k] by [..,k,n]; the leading axes broadcast.
func (g *Graph) MatMul(a, b *Value) *Value {
	if !g.floats("MatMul", a, b) {
		return &Value{graph: g}
	}
	ra, rb := len(a.shape), len(b.shape)
	if ra < 2 || rb < 2 {
		return g.fail("MatMul of %s and %s: both need rank 2 or more", a, b)
	}
	if a.shape[ra-1] != b.shape[rb-2] {
		return g.fail("MatMul of %s and %s: inner sizes %d and %d differ", a, b, a.shape[ra-1], b.shape[rb-2])
	}
	batch, ok := broadcast(a.shape[:ra-2], b.shape[:rb-2])
	if !ok {
		return g.fail("MatMul of %s and %s: leading axes do not broadcast", a, b)
	}
	return g.add("MatMul", []*Value{a, b}, nil, Float32, append(batch, a.shape[ra-2], b.shape[rb-1]))
}

// ReduceMean averages over axes, which stay with size 1.
func (g *Graph) ReduceMean(x *Value, axes ...int) *Value { return g.reduce("ReduceMean", x, axes) }

// ReduceSum sums over axes, which stay with size 1.
func (g *Graph) ReduceSum(x *Value, axes ...int) *Value { return g.reduce("ReduceSum", x, axes) }

// Concat joins values that differ only along axis.
func (g *Graph) Concat(axis int, vs ...*Value) *Value {
	if len(vs) == 0 {
		return g.fail("Concat of nothing")
	}
	if !g.usable("Concat", vs...) {
		return &Value{graph: g}
	}
	first := vs[0]
	axis, ok := g.axis("Concat", first, axis)
	if !ok {
		return &Value{graph: g}
	}
	shape := slices.Clone(first.shape)
	for _, v := range vs[1:] {
		if v.dtype != first.dtype || len(v.shape) != len(shape) {
			return g.fail("Concat of %s and %s: types or ranks differ", first, v)
		}
		for i, size := range v.shape {
			if i != axis && size != shape[i] {
				return g.fail("Concat along axis %d of %s and %s: sizes along axis %d differ", axis, first, v, i)
			}
		}
		shape[axis] += v.shape[axis]
	}
	return g.add("Concat", slices.Clone(vs), []attr{{"axis", axis}}, first.dtype, shape)
}

// Slice takes start <= i < end along axis.
func (g *Graph) Slice(x *Value, axis, start, end int) *Value {
	axis, ok := g.axis("Slice", x, axis)
	if !ok {
		return &Value{graph: g}
	}
	if start < 0 || start >= end || end > x.shape[axis] {
		return g.fail("Slice %d:%d along axis %d of %s: outside its %d elements or empty", start, end, axis, x, x.shape[axis])
	}
	shape := slices.Clone(x.shape)
	shape[axis] = end - start
	return g.add("Slice", []*Value{x, g.ints(start), g.ints(end), g.ints(axis)}, nil, x.dtype, shape)
}

// Split cuts x along axis into pieces of the given sizes, which add up to its own.
// It returns one value for each size even after an error.
func (g *Graph) Split(x *Value, axis int, sizes ...int) []*Value {
	dead := slices.Repeat([]*Value{{graph: g}}, len(sizes))
	axis, ok := g.axis("Split", x, axis)
	if !ok {
		return dead
	}
	shapes, sum := make([][]int, len(sizes)), 0
	for i, size := range sizes {
		shapes[i] = slices.Clone(x.shape)
		shapes[i][axis] = size
		sum += size
	}
	if sum != x.shape[axis] || len(sizes) == 0 {
		g.fail("Split along axis %d of %s into %v: the sizes add up to %d", axis, x, sizes, sum)
		return dead
	}
	return g.addMulti("Split", []*Value{x, g.ints(sizes...)}, []attr{{"axis", axis}}, x.dtype, shapes)
}

// Reshape gives x another shape of as many elements. Every size is written out.
func (g *Graph) Reshape(x *Value, shape ...int) *Value {
	if !g.usable("Reshape", x) {
		return &Value{graph: g}
	}
	have, _ := elements(x.shape)
	want, err := elements(shape)
	if err != nil || have != want {
		return g.fail("Reshape of %s to %v: the numbers of elements differ", x, shape)
	}
	return g.add("Reshape", []*Value{x, g.ints(shape...)}, nil, x.dtype, shape)
}

// Transpose reorders the axes: result axis i is x's axis perm[i].
func (g *Graph) Transpose(x *Value, perm ...int) *Value {
	if !g.usable("Transpose", x) {
		return &Value{graph: g}
	}
	shape, seen := make([]int, len(perm)), make([]bool, len(x.shape))
	for i, p := range perm {
		if len(perm) != len(x.shape) || p < 0 || p >= len(perm) || seen[p] {
			return g.fail("Transpose of %s by %v: not an order of its axes", x, perm)
		}
		seen[p] = true
		shape[i] = x.shape[p]
	}
	if len(perm) != len(x.shape) {
		return g.fail("Transpose of %s by %v: not an order of its axes", x, perm)
	}
	return g.add("Transpose", []*Value{x}, []attr{{"perm", slices.Clone(perm)}}, x.dtype, shape)
}

// Gather takes rows of a table [n,..] by ids (int32 or int64): the result's shape is
// that of ids followed by the rest of the table's.
func (g *Graph) Gather(table, ids *Value) *Value {
	if !g.usable("Gather", table, ids) {
		return &Value{graph: g}
	}
	if ids.dtype != Int32 && ids.dtype != Int64 {
		return g.fail("Gather by %s: indices must be int32 or int64", ids)
	}
	if len(table.shape) == 0 {
		return g.fail("Gather from %s: a table needs an axis", table)
	}
	shape := append(slices.Clone(ids.shape), table.shape[1:]...)
	return g.add("Gather", []*Value{table, ids}, []attr{{"axis", 0}}, table.dtype, shape)
}

func (g *Graph) unary(op string, x *Value, attrs ...attr) *Value {
	if !g.floats(op, x) {
		return &Value{graph: g}
	}
	if op == "Softmax" && len(x.shape) == 0 {
		return g.fail("Softmax of %s: it needs an axis", x)
	}
	return g.add(op, []*Value{x}, attrs, x.dtype, x.shape)
}

func (g *Graph) binary(op string, a, b *Value) *Value {
	if !g.floats(op, a, b) {
		return &Value{graph: g}
	}
	shape, ok := broadcast(a.shape, b.shape)
	if !ok {
		return g.fail("%s of %s and %s: the shapes do not broadcast", op, a, b)
	}
	return g.add(op, []*Value{a, b}, nil, Float32, shape)
}

// reduce passes the axes of ReduceSum as an input since opset 13, those of
// ReduceMean since opset 18.
func (g *Graph) reduce(op string, x *Value, axes []int) *Value {
	if !g.floats(op, x) {
		return &Value{graph: g}
	}
	if len(axes) == 0 {
		return g.fail("%s of %s: no axes given", op, x)
	}
	axes, shape := slices.Clone(axes), slices.Clone(x.shape)
	for i, a := range axes {
		a, ok := g.axis(op, x, a)
		if !ok {
			return &Value{graph: g}
		}
		axes[i], shape[a] = a, 1
	}
	inputs, attrs := []*Value{x}, []attr{{"keepdims", 1}}
	if op == "ReduceMean" && g.opset < 18 {
		attrs = append(attrs, attr{"axes", axes})
	} else {
		inputs = append(inputs, g.ints(axes...))
	}
	return g.add(op, inputs, attrs, Float32, shape)
}

// floats is usable for ops that compute on float32 alone.
func (g *Graph) floats(op string, vs ...*Value) bool {
	if !g.usable(op, vs...) {
		return false
	}
	for _, v := range vs {
		if v.dtype != Float32 {
			g.fail("%s: operand %s is not float32", op, v)
		}
	}
	return g.err == nil
}

// axis checks x and resolves an axis that may count from the end.
func (g *Graph) axis(op string, x *Value, axis int) (int, bool) {
	if !g.usable(op, x) {
		return 0, false
	}
	a := axis
	if a < 0 {
		a += len(x.shape)
	}
	if a < 0 || a >= len(x.shape) {
		g.fail("%s of %s: there is no axis %d", op, x, axis)
		return 0, false
	}
	return a, true
}

// ints is a constant vector of int64, as ONNX wants shapes and positions.
func (g *Graph) ints(v ...int) *Value {
	wide, name := make([]int64, len(v)), "const"
	for i, n := range v {
		wide[i] = int64(n)
		name += fmt.Sprintf("_%d", n)
	}
	return g.Const(name, []int{len(v)}, wide)
}

// broadcast is numpy's rule: sizes match from the end, or one of them is 1 or absent.
func broadcast(a, b []int) ([]int, bool) {
	if len(a) < len(b) {
		a, b = b, a
	}
	shape := slices.Clone(a)
	for i, size := range b {
		j := len(a) - len(b) + i
		switch {
		case shape[j] == 1:
			shape[j] = size
		case size != 1 && size != shape[j]:
			return nil, false
		}
	}
	return shape, true
}

// String describes the value for error messages: "layers.0/MatMul float32 [1 8 64]".
func (v *Value) String() string { return fmt.Sprintf("%s %s %v", v.name, v.dtype, v.shape) }
