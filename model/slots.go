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

// PrunedAs returns the block with slots where another one has some, of whose slots pruning may
// have taken some or all.
func (s Spec) PrunedAs(pruned Spec) Spec {
	if pruned.Slots == 0 {
		return s.withoutSlots()
	}
	s.SlotLayers = pruned.SlotLayers
	return s
}

func (s Spec) withoutSlots() Spec {
	s.Slots, s.SlotLayers, s.Retention = 0, nil, Retention{}
	return s
}

// KeepSlots returns the model with slots in the given layers alone, in ascending order,
// and nothing else changed; without any, the block has no slots. It fails for a layer
// that has none in m. The parameters are shared with m.
func (m *Model) KeepSlots(layers []int) (*Model, error) {
	spec, p := m.Spec, *m.Params
	if spec.SlotLayers = layers; len(layers) == 0 {
		spec = spec.withoutSlots()
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

// WithoutMemory returns the model without the compressive memory, and nothing else changed.
// The parameters are shared with m.
func (m *Model) WithoutMemory() (*Model, error) {
	spec, p := m.Spec, *m.Params
	spec.Memory, spec.Feature, spec.FeatureDim, spec.Gate, spec.Map, spec.WriteGate = MemoryNone, "", 0, "", false, false
	p.Spec, p.Layers = spec, slices.Clone(p.Layers)
	for i := range p.Layers {
		l := &p.Layers[i]
		l.FeatureQ, l.FeatureK, l.Gate, l.ReadMap, l.WriteWeight, l.WriteBias = nil, nil, nil, nil, nil, nil
	}
	return New(m.Base, spec, &p)
}

// WithSlots returns the model with another number of slots in the layers that have some, and
// nothing else changed. The parameters are shared with m.
func (m *Model) WithSlots(n int) (*Model, error) {
	spec, p := m.Spec, *m.Params
	spec.Slots = n
	p.Spec = spec
	return New(m.Base, spec, &p)
}
