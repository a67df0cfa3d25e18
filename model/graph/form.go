package graph

import (
	"fmt"
	"slices"
	"strings"

	"eisft/model"
)

// form is what a layer is made of, as far as the graphs of its programs depend on
// it: layers may differ in all of this. What ops ask the run's layer for is no part
// of it: values of weights and biases, rotary tables, the sliding window.
type form struct {
	block      blockForm
	activation model.Activation
	frozen     string // frozen maps and norms by role, with their sizes
	trained    string // trained parameters by role, with their shapes
}

// blockForm is the part of a [model.Spec] that graphs depend on. How many tokens
// there are of each sort comes with the key.
type blockForm struct {
	memory     model.Update
	feature    model.Feature
	featureDim int
	gate       model.Gate
	readMap    bool
	writeGate  bool
}

func formOf(m *model.Model, i int) form {
	s, l := m.Spec.At(i), m.Base.Layers[i]
	f := form{activation: l.Activation}
	f.block = blockForm{s.Memory, s.Feature, s.FeatureDim, s.Gate, s.Map, s.WriteGate}
	var frozen, trained []string
	for _, r := range linears {
		if n := r.of(l); n != nil {
			frozen = append(frozen, fmt.Sprintf("%s[%d,%d]", r.role, n.Out, n.In))
		}
	}
	for _, r := range norms {
		if n := r.of(l); n != nil {
			frozen = append(frozen, fmt.Sprintf("%s[%d]", r.role, len(n.Weight)))
		}
	}
	for _, p := range m.Params.Layers[i].List() {
		trained = append(trained, fmt.Sprintf("%s%v", roleName(p), p.Shape))
	}
	f.frozen, f.trained = strings.Join(frozen, " "), strings.Join(trained, " ")
	return f
}

// part is a frozen part of a layer: what it is there for, and where to find it.
type part[P comparable] struct {
	role string
	of   func(*model.Layer) P
}

// linears and norms are the frozen parts of a layer. A layer need not have all.
var (
	linears = []part[*model.Linear]{
		{"q", func(l *model.Layer) *model.Linear { return l.Q }},
		{"k", func(l *model.Layer) *model.Linear { return l.K }},
		{"v", func(l *model.Layer) *model.Linear { return l.V }},
		{"o", func(l *model.Layer) *model.Linear { return l.O }},
		{"gate", func(l *model.Layer) *model.Linear { return l.Gate }},
		{"up", func(l *model.Layer) *model.Linear { return l.Up }},
		{"down", func(l *model.Layer) *model.Linear { return l.Down }},
	}
	norms = []part[*model.Norm]{
		{"input_norm", func(l *model.Layer) *model.Norm { return l.InputNorm }},
		{"q_norm", func(l *model.Layer) *model.Norm { return l.QNorm }},
		{"k_norm", func(l *model.Layer) *model.Norm { return l.KNorm }},
		{"attention_output_norm", func(l *model.Layer) *model.Norm { return l.AttentionOutputNorm }},
		{"post_attention_norm", func(l *model.Layer) *model.Norm { return l.PostAttentionNorm }},
		{"feed_forward_output_norm", func(l *model.Layer) *model.Norm { return l.FeedForwardOutputNorm }},
	}
)

// roleOf returns how to find, in any layer of the same form, the part that p is in l.
func roleOf[P comparable](parts []part[P], l *model.Layer, p P) (part[P], error) {
	i := slices.IndexFunc(parts, func(r part[P]) bool { return r.of(l) == p })
	if i < 0 {
		return part[P]{}, fmt.Errorf("layer %d: the block uses a frozen %T that is none of its known parts; add its role to the table in form.go", l.Index, p)
	}
	return parts[i], nil
}
