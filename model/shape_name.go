package model

import "fmt"

// ShapeName is the shape TxC in whose graphs the block reads in its own sizes: T tokens of a
// segment beside a cache of sinks, slots, window and segment.
func (s Spec) ShapeName() string {
	return fmt.Sprintf("%dx%d", s.Segment, s.Sink+s.Slots+s.Window+s.Segment)
}
