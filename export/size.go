package export

import (
	"fmt"

	"eisft/model"
)

// Size is a shape to export: T new tokens beside C cache places.
type Size struct {
	Tokens int // T
	Cache  int // C
}

// String returns the shape's name, "512x2048".
func (s Size) String() string { return fmt.Sprintf("%dx%d", s.Tokens, s.Cache) }

// Of returns a model with its block in the sizes of the shape, as exported graphs of it read.
func (s Size) Of(m *model.Model) (*model.Model, error) {
	spec, err := s.Fit(m.Spec)
	if err != nil {
		return nil, err
	}
	return model.New(m.Base, spec, m.Params)
}

// maxPlaces bounds T and C: it is more than fits a phone, and more than the graphs could be
// compared in.
const maxPlaces = 1 << 20

// Fit returns a trained block in the sizes of a shape. Segments have T tokens, sinks
// and window stay as they were trained, and the slots take what the cache has left:
// the retention score ranks tokens, however many are kept. Without slots the window
// takes it. The error says which shapes would fit.
func (s Size) Fit(block model.Spec) (model.Spec, error) {
	if most := max(s.Tokens, s.Cache); most > maxPlaces {
		return block, fmt.Errorf("shape %s has %d tokens or places; it must have at most %d", s, most, maxPlaces)
	}
	fitted := block
	fitted.Segment = s.Tokens
	needed, what := block.Sink+block.Window+s.Tokens, ""
	if block.Slots > 0 {
		needed, what = needed+1, " and at least one slot"
	}
	if s.Tokens < 1 || s.Cache < needed {
		message := fmt.Sprintf("shape %s does not fit: a cache of %d must hold %d sinks, a window of %d, a segment of %d%s, %d in all; want %s", s, s.Cache, block.Sink, block.Window, s.Tokens, what, needed, Size{s.Tokens, needed})
		if t := s.Tokens - (needed - s.Cache); t > 0 {
			message += fmt.Sprintf(" or larger, or at most %s", Size{t, s.Cache})
		} else {
			message += " or larger"
		}
		return block, fmt.Errorf("%s", message)
	}
	left := s.Cache - block.Sink - s.Tokens
	if block.Slots > 0 {
		fitted.Slots = left - block.Window
	} else {
		fitted.Window = left
	}
	return fitted, nil
}
