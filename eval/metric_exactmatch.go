package eval

import (
	"slices"
	"strings"
)

// exactMatch is 1 if the text equals one of the accepted answers, else 0. Space
// around either does not count, everything else does.
var exactMatch = metric{
	title: "exact match",
	score: func(text string, accepted []string) float64 {
		text = strings.TrimSpace(text)
		if slices.ContainsFunc(accepted, func(a string) bool { return strings.TrimSpace(a) == text }) {
			return 1
		}
		return 0
	},
}
