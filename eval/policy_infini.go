package eval

import "eisft/model"

// infini is the compressive memory alone (Infini-attention, Munkhdalai et al., arXiv
// 2404.07143, eq. 3 to 5): segments that see themselves and the memory. The budget is spent on
// longer segments: sinks, window and slots are added to the block's. The memory is that of
// the block, as it was trained; of a block without one, the preset's, untrained.
var infini = policy{
	title:   "segments and memory alone (Infini-attention)",
	trained: true,
	model: func(m *model.Model, slots int) (*model.Model, error) {
		return memoryOnly(m, slots, string(PolicyInfini), func(s *model.Spec, slots int) {
			s.Segment += s.Sink + s.Window + slots
			s.Sink, s.Window = 0, 0
		})
	},
}

// memoryOnly is the block without slots. Of a block without a memory it is a preset, with the
// same sizes. spend is given the slots that each layer could have, of so many over all layers.
func memoryOnly(m *model.Model, slots int, preset string, spend func(s *model.Spec, slots int)) (*model.Model, error) {
	slots /= len(m.Base.Layers)
	if !m.Spec.HasMemory() {
		s, err := model.Preset(preset)
		if err != nil {
			return nil, err
		}
		s.Sink, s.Window, s.Segment, s.Positions = m.Spec.Sink, m.Spec.Window, m.Spec.Segment, m.Spec.Positions
		spend(&s, slots)
		return model.New(m.Base, s, nil)
	}
	bare, err := m.KeepSlots(nil)
	if err != nil {
		return nil, err
	}
	s, p := bare.Spec, *bare.Params
	spend(&s, slots)
	p.Spec = s
	return model.New(m.Base, s, &p)
}
