package quant

import (
	"errors"
	"fmt"
	"iter"

	"eisft/data"
)

// ErrShort is wrapped by the error for calibration samples of which none fills a segment:
// cache, slots and memory would never be seen.
var ErrShort = errors.New("calibration samples are too short")

// longEnough passes on the samples whose context fills a segment, and counts the others.
type longEnough struct {
	segment int
	taken   int // samples that were passed on
	short   int // and left out
	longest int // context of those, in tokens
}

// of gives the samples that are long enough.
func (l *longEnough) of(samples iter.Seq2[data.Encoded, error]) iter.Seq2[data.Encoded, error] {
	return func(yield func(data.Encoded, error) bool) {
		for s, err := range samples {
			if n := promptLength(s); err == nil && n < l.segment {
				l.short, l.longest = l.short+1, max(l.longest, n)
				continue
			}
			if err == nil {
				l.taken++
			}
			if !yield(s, err) {
				return
			}
		}
	}
}

// missing reports that no sample was passed on.
func (l *longEnough) missing() error {
	switch {
	case l.taken > 0:
		return nil
	case l.short > 0:
		return fmt.Errorf("%w: none of %d samples has a context that fills a segment of %d tokens, the longest one has %d; calibrate with longer samples", ErrShort, l.short, l.segment, l.longest)
	default:
		return data.ErrEmpty
	}
}

// promptLength is the number of tokens before the first answer, or of a plain text.
func promptLength(s data.Encoded) int {
	if len(s.Turns) == 0 {
		return len(s.IDs)
	}
	return s.Turns[0].Start
}
