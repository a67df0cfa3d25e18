// Package nearest finds the known name that a mistyped one was meant to be.
package nearest

import (
	"slices"
	"strings"

	"github.com/xrash/smetrics"
)

// Name returns the known name that looks most like word, or "" if none is so
// alike that a typing error is likely. Case does not count.
func Name(word string, known []string) string {
	const (
		boost, prefix = 0.7, 4 // Winkler's own constants
		alike         = 0.75   // above it, people agree that a typing error is likely
	)
	likeness := func(name string) float64 {
		return smetrics.JaroWinkler(strings.ToLower(name), strings.ToLower(word), boost, prefix)
	}
	if len(known) == 0 {
		return ""
	}
	best := slices.MaxFunc(known, func(a, b string) int {
		switch d := likeness(a) - likeness(b); {
		case d < 0:
			return -1
		case d > 0:
			return 1
		}
		return 0
	})
	if likeness(best) < alike {
		return ""
	}
	return best
}
