package graph

import (
	"fmt"
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
	for role, n := range l.Maps() {
		frozen = append(frozen, fmt.Sprintf("%s[%d,%d]", role, n.Out, n.In))
	}
	for role, n := range l.Norms() {
		frozen = append(frozen, fmt.Sprintf("%s[%d]", role, len(n.Weight)))
	}
	for _, p := range m.Params.Layers[i].List() {
		trained = append(trained, fmt.Sprintf("%s%v", roleName(p), p.Shape))
	}
	f.frozen, f.trained = strings.Join(frozen, " "), strings.Join(trained, " ")
	return f
}
