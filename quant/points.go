package quant

import (
	"eisft/model"
	"eisft/quant/encoding"
)

// A point is a tensor with an encoding of its own. It is named after the frozen
// map that it enters ("model.layers.0.self_attn.q_proj:in") or leaves (":out").
// Maps that read the same tensor share a point, named after the first of them:
// k_proj and v_proj read q_proj's input, up_proj reads gate_proj's. Keys and
// values have the point at which they enter the cache, before rotary embedding:
// v_proj's output, and k_proj's or, where the family has one, that of k_norm.

// HeadName is the name of the output projection, also of one that is tied to
// the embedding table.
const HeadName = "lm_head"

func in(name string) string  { return name + ":in" }
func out(name string) string { return name + ":out" }

// InputPoint names the point of the tensor that a layer's map reads.
func InputPoint(l *model.Layer, m *model.Linear) string {
	return in(l.Map(l.RoleOf(m).FirstReader()).Name)
}

// OutputPoint names the point of a layer's map's result.
func OutputPoint(m *model.Linear) string { return out(m.Name) }

// KeyPoint names the point of a layer's keys as they enter the cache.
func KeyPoint(l *model.Layer) string {
	if l.KNorm != nil {
		return out(l.KNorm.Name)
	}
	return out(l.K.Name)
}

// ValuePoint names the point of a layer's values as they enter the cache.
func ValuePoint(l *model.Layer) string { return out(l.V.Name) }

// HeadInput and HeadOutput are the points of the final norm's result and of the
// logits.
const (
	HeadInput  = HeadName + ":in"
	HeadOutput = HeadName + ":out"
)

// point is a point of a base and what it is in a scheme.
type point struct {
	name  string
	cache bool
}

func (p point) format(s Scheme) encoding.Format {
	if p.cache {
		return s.Cache
	}
	return s.Activation
}

// points lists all points of a base in the order in which a forward pass
// reaches them.
func points(b *model.Base) []point {
	var list []point
	for _, l := range b.Layers {
		list = append(list, layerPoints(l)...)
	}
	return append(list, point{name: HeadInput}, point{name: HeadOutput})
}

func layerPoints(l *model.Layer) []point {
	var list []point
	for role, m := range l.Maps() {
		if role == role.FirstReader() {
			list = append(list, point{name: in(m.Name)})
		}
		name := out(m.Name)
		list = append(list, point{name, name == KeyPoint(l) || name == ValuePoint(l)})
		if role == model.RoleValue && l.KNorm != nil { // the norm follows the three projections
			list = append(list, point{KeyPoint(l), true})
		}
	}
	return list
}

// tap is a backend that shows every tensor that may have a point to visit,
// which may change it: whatever reads it afterwards sees the change. The block
// description runs q_proj before k_proj and v_proj, and gate_proj before
// up_proj, so that a shared input is visited, under its only name, before any
// of them reads it.
type tap struct {
	model.Ops[[]float32]
	head  *model.Linear
	visit func(point string, x []float32)
}

// wrap returns the decorator that puts a tap on every layer and the head.
func wrap(head *model.Linear, visit func(point string, x []float32)) model.Wrap {
	return func(o model.Ops[[]float32], _ int) model.Ops[[]float32] { return &tap{o, head, visit} }
}

func (t *tap) Linear(l *model.Linear, x []float32) []float32 {
	name := l.Name
	if l == t.head {
		name = HeadName
	}
	t.visit(in(name), x)
	y := t.Ops.Linear(l, x)
	t.visit(out(name), y)
	return y
}

func (t *tap) Norm(n *model.Norm, x []float32) []float32 {
	y := t.Ops.Norm(n, x)
	t.visit(out(n.Name), y)
	return y
}
