package model

import (
	"fmt"
	"slices"
)

// SlotLayers lists the layers that have slots.
func (m *Model) SlotLayers() []int {
	var out []int
	for i := range m.Base.Layers {
		if m.Spec.At(i).Slots > 0 {
			out = append(out, i)
		}
	}
	return out
}

// KeepSlots returns the model with slots in the given layers alone, in ascending order,
// and nothing else changed; without any, the block has no slots. It fails for a layer
// that has none in m. The parameters are shared with m.
func (m *Model) KeepSlots(layers []int) (*Model, error) {
	spec, p := m.Spec, *m.Params
	spec.SlotLayers = layers
	if len(layers) == 0 {
		spec.Slots, spec.SlotLayers, spec.Retention = 0, nil, Retention{}
	}
	p.Spec, p.Layers = spec, slices.Clone(p.Layers)
	for i := range p.Layers {
		switch l := &p.Layers[i]; {
		case spec.At(i).Slots == 0:
			l.RetentionHidden, l.RetentionHiddenBias, l.RetentionWeight, l.RetentionBias = nil, nil, nil, nil
		case l.RetentionWeight == nil:
			return nil, fmt.Errorf("layer %d has no slots to keep; those that have are %v", i, m.SlotLayers())
		}
	}
	return New(m.Base, spec, &p)
}
