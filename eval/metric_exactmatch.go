package eval

import "strings"

// exactMatch is 1 if the text equals one of the accepted answers, else 0. Space
// around either does not count, everything else does.
var exactMatch = metric{
	title: "exact match",
	score: best(func(text, answer string) float64 {
		if strings.TrimSpace(text) == strings.TrimSpace(answer) {
			return 1
		}
		return 0
	}),
}
