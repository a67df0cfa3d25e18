package model

import (
	"fmt"

	"eisft/model/schedule"
)

// Warnings says what of the base is ignored, and where base and block go together badly,
// though they can be run.
func (m *Model) Warnings() []string {
	visible, c := m.Spec.Capacity(), m.Base.Config
	out := c.Warnings()
	if visible >= schedule.Unbounded { // the base itself
		return out
	}
	if trained := c.MaxPositionEmbeddings; m.Spec.Positions == PositionsCompact && visible > trained {
		out = append(out, fmt.Sprintf("the block shows %d tokens at once (sink %d + slots %d + window %d + segment %d), but the base was trained on texts of %d: what it writes may be nonsense; make the block smaller",
			visible, m.Spec.Sink, m.Spec.Slots, m.Spec.Window, m.Spec.Segment, trained))
	}
	sliding := 0
	for _, l := range m.Base.Layers {
		if l.SlidingWindow > 0 && l.SlidingWindow < visible {
			sliding++
		}
	}
	if sliding > 0 {
		out = append(out, fmt.Sprintf("%d of %d layers of the base see a window of %d tokens, fewer than the %d that the block shows at once: sinks and slots are out of their sight",
			sliding, len(m.Base.Layers), c.SlidingWindow, visible))
	}
	return out
}
