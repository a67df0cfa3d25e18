package quant

import (
	"errors"
	"slices"
	"testing"

	"eisft/data"
)

// TestLongEnough: contexts that fill a segment are passed on, an answer is no part of one,
// others are counted, and errors pass.
func TestLongEnough(t *testing.T) {
	text := func(context, answer int) data.Encoded {
		s := data.Encoded{IDs: make([]int32, context+answer)}
		if answer > 0 {
			s.Turns = []data.Turn{{Start: context, End: context + answer}}
		}
		return s
	}
	bad := errors.New("row 3: bad")
	l := longEnough{segment: 8}
	var got []int
	var failed error
	for s, err := range l.of(func(yield func(data.Encoded, error) bool) {
		for _, s := range []data.Encoded{text(8, 0), text(7, 0), text(7, 5), text(8, 3), text(3, 0)} {
			if !yield(s, nil) {
				return
			}
		}
		yield(data.Encoded{}, bad)
	}) {
		if failed = err; err == nil {
			got = append(got, len(s.IDs))
		}
	}
	if !slices.Equal(got, []int{8, 11}) || !errors.Is(failed, bad) || l.taken != 2 || l.short != 3 || l.longest != 7 || l.missing() != nil {
		t.Errorf("passed on %v and %v; counted %+v", got, failed, l)
	}
	if l.taken = 0; !errors.Is(l.missing(), ErrShort) {
		t.Errorf("only short ones: %v", l.missing())
	}
	if l.short = 0; !errors.Is(l.missing(), data.ErrEmpty) {
		t.Errorf("none: %v", l.missing())
	}
}
