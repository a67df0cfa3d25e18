package quant

import (
	"fmt"
	"hash/fnv"
	"math"
	"strings"

	"eisft/model"
	"eisft/quant/encoding"
)

// A point is a tensor with an encoding of its own. It is named after the frozen
// map that it enters ("model.layers.0.self_attn.q_proj:in") or leaves (":out").
// Maps that read the same tensor share a point, named after the first of them:
// k_proj and v_proj read q_proj's input, up_proj reads gate_proj's. Keys and
// values have the point at which they enter the cache, before rotary embedding:
// v_proj's output, and k_proj's or, where the family has one, that of k_norm.
//
// Schemes with integer attention have points inside the block, too (see [InnerPoints]).

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

// NormPoint names the point of a norm's result. Only norms whose result no map reads have
// one: the others end at the map's input.
func NormPoint(n *model.Norm) string { return out(n.Name) }

// KeyPoint names the point of a layer's keys as they enter the cache.
func KeyPoint(l *model.Layer) string {
	if l.KNorm != nil {
		return NormPoint(l.KNorm)
	}
	return out(l.K.Name)
}

// ValuePoint names the point of a layer's values as they enter the cache.
func ValuePoint(l *model.Layer) string { return out(l.V.Name) }

// The points of a base that belong to no layer.
const (
	HeadInput  = HeadName + ":in"  // the final norm's result
	HeadOutput = HeadName + ":out" // the logits

	EmbeddingPoint = "embed_tokens:out" // what enters the first layer
	RotaryPoint    = "rotary"           // all rotary tables
	MaskPoint      = "attention_mask"   // all masks, with the memory's column
)

// Inner names the points inside a layer that only schemes with integer attention have.
// docs/graphs.md, section 6, says what is computed between them.
type Inner struct {
	// Queries after rotary embedding, with the products and sums that it is made of, and
	// then times the attention's scale. Without rotary embedding there is no Rotated.
	Rotated, Scaled string
	// Keys after rotary embedding, with their products and sums; without, there is none.
	Keys string
	// Products of queries and keys where they are capped.
	Products string
	// Scores are what the softmax reads; Probabilities, what it makes of them.
	Scores, Probabilities string
	// Local is what the probabilities weigh the values to in a block with a memory, before
	// that joins; without a memory this is the output projection's input.
	Local string
	// Sigmoid and Act are σ(gate) and act(gate) of the feed-forward layer.
	Sigmoid, Act string
	// What attention and feed-forward add, times the layer's ResidualScale.
	AttentionScaled, FeedForwardScaled string
	// The residual stream after both.
	AttentionResidual, FeedForwardResidual string
}

// InnerPoints names the points of a layer.
func InnerPoints(l *model.Layer) Inner {
	attention := func(s string) string { return fmt.Sprintf("layers.%s.self_attn:%s", number(l), s) }
	mlp := func(s string) string { return fmt.Sprintf("layers.%s.mlp:%s", number(l), s) }
	return Inner{
		Rotated: attention("rotated"), Scaled: attention("scaled"), Keys: attention("keys"), Products: attention("products"),
		Scores: attention("scores"), Probabilities: attention("probabilities"), Local: attention("local"),
		Sigmoid: mlp("sigmoid"), Act: mlp("act"),
		AttentionScaled: attention("residual_scaled"), FeedForwardScaled: mlp("residual_scaled"),
		AttentionResidual: attention("residual"), FeedForwardResidual: mlp("residual"),
	}
}

// number is a layer's in its base, by the name of a map: a layer that stands alone, as it does
// while its weights are rounded, has the index 0.
func number(l *model.Layer) string {
	if _, rest, ok := strings.Cut(l.O.Name, "layers."); ok {
		n, _, _ := strings.Cut(rest, ".")
		return n
	}
	return fmt.Sprint(l.Index)
}

// isScores tells whether a point is a layer's scores.
func isScores(point string) bool { return strings.HasSuffix(point, ".self_attn:scores") }

// ConstantPoint names the point of a small constant of the base: all constants of the same
// numbers are one.
func ConstantPoint(values []float32) string {
	if len(values) == 1 {
		return fmt.Sprintf("constant:%g", values[0])
	}
	h := fnv.New64a()
	for _, v := range values {
		fmt.Fprintf(h, "%x ", math.Float32bits(v)) // a hash never fails
	}
	return fmt.Sprintf("constant:%d:%016x", len(values), h.Sum64())
}

// QueryScale is what a layer's queries are multiplied by after rotary embedding: the
// attention's scale [1] or, where there are weights of the queries, both [d].
func QueryScale(l *model.Layer) []float32 {
	if l.QueryWeight == nil {
		return []float32{l.AttentionScale}
	}
	scale := make([]float32, len(l.QueryWeight))
	for i, w := range l.QueryWeight {
		scale[i] = w * l.AttentionScale
	}
	return scale
}

// kind is what a point is in a scheme.
type kind int

const (
	activation kind = iota // between maps
	cached                 // a key or value
	embedding              // what enters the first layer
	residual               // the residual stream
	inner                  // of the attention
	turnedKeys             // a factor of the product with queries
	scores                 // the softmax's input
	shares                 // the softmax's output: 0 to 1
	unit                   // 0 to 1, between maps
	between                // maps, inside the feed-forward layer
	table                  // rotary tables
	mask                   // of the scores
	constant               // of the base
)

// point is a point of a model and what it is in a scheme.
type point struct {
	name   string
	kind   kind
	values []float32 // of a constant; of a table, the largest magnitude
}

// given says that a point's numbers do not depend on the text: there is nothing to observe.
func (p point) given() bool { return p.kind == table || p.kind == mask || p.kind == constant }

// format is how a scheme encodes the point; none where it does not.
func (p point) format(s Scheme) encoding.Format {
	switch {
	case p.kind == activation:
		return s.Activation
	case p.kind == cached:
		return s.Cache
	case !s.IntegerAttention():
		return encoding.Format{}
	}
	switch p.kind {
	case embedding:
		return s.Embedding
	case residual:
		return s.Residual
	case turnedKeys:
		return s.Keys
	case unit, between:
		return s.Activation
	default:
		return s.Attention
	}
}

// points lists all points of a model, those of a forward pass in the order in which it
// reaches them, after those that are given.
func points(m *model.Model) []point {
	list := givenPoints(m)
	list = append(list, point{name: EmbeddingPoint, kind: embedding})
	for _, l := range m.Base.Layers {
		list = append(list, layerPoints(l, m.Spec.HasMemory())...)
	}
	return append(list, point{name: HeadInput}, point{name: HeadOutput})
}

// givenPoints lists masks, tables and constants.
func givenPoints(m *model.Model) []point {
	list := []point{{name: MaskPoint, kind: mask}}
	most := float32(0)
	for _, l := range m.Base.Layers {
		if !l.Rotary.None() {
			most = max(most, l.Rotary.Scale)
		}
	}
	if most > 0 {
		list = append(list, point{RotaryPoint, table, []float32{most}})
	}
	seen := map[string]bool{}
	add := func(values []float32) {
		if name := ConstantPoint(values); !seen[name] {
			seen[name] = true
			list = append(list, point{name, constant, values})
		}
	}
	for _, l := range m.Base.Layers {
		add(QueryScale(l))
		if l.ResidualScale != 0 {
			add([]float32{l.ResidualScale})
		}
	}
	return list
}

// layerPoints lists those of a layer, whose block may have a memory.
func layerPoints(l *model.Layer, memory bool) []point {
	var list []point
	add := func(k kind, name string) { list = append(list, point{name: name, kind: k}) }
	p := InnerPoints(l)
	for role, m := range l.Maps() {
		switch role {
		case model.RoleOutput:
			list = append(list, attentionPoints(l, memory)...)
		case model.RoleDown:
			if l.Activation == model.SiLU {
				add(unit, p.Sigmoid)
			}
			add(between, p.Act)
		}
		if role == role.FirstReader() {
			add(activation, in(m.Name))
		}
		name := out(m.Name)
		if name == KeyPoint(l) || name == ValuePoint(l) {
			add(cached, name)
		} else {
			add(activation, name)
		}
		switch role {
		case model.RoleValue: // norms of queries and keys follow the three projections
			if l.KNorm != nil {
				add(inner, NormPoint(l.QNorm))
				add(cached, KeyPoint(l))
			}
		case model.RoleOutput:
			list = append(list, residualPoints(l.AttentionOutputNorm, l, p.AttentionScaled, p.AttentionResidual)...)
		case model.RoleDown:
			list = append(list, residualPoints(l.FeedForwardOutputNorm, l, p.FeedForwardScaled, p.FeedForwardResidual)...)
		}
	}
	return list
}

// attentionPoints lists what stands between the projections.
func attentionPoints(l *model.Layer, memory bool) []point {
	p := InnerPoints(l)
	var list []point
	if !l.Rotary.None() {
		list = append(list, point{name: p.Rotated, kind: inner}, point{name: p.Keys, kind: turnedKeys})
	}
	list = append(list, point{name: p.Scaled, kind: inner})
	if l.AttentionSoftcap != 0 {
		list = append(list, point{name: p.Products, kind: inner})
	}
	list = append(list, point{name: p.Scores, kind: scores}, point{name: p.Probabilities, kind: shares})
	if memory {
		list = append(list, point{name: p.Local, kind: inner})
	}
	return list
}

// residualPoints lists what stands between a branch's map and the residual stream.
func residualPoints(n *model.Norm, l *model.Layer, scaled, sum string) []point {
	var list []point
	if n != nil {
		list = append(list, point{name: NormPoint(n), kind: residual})
	}
	if l.ResidualScale != 0 {
		list = append(list, point{name: scaled, kind: residual})
	}
	return append(list, point{name: sum, kind: residual})
}
