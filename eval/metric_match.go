package eval

import "strings"

// matchAll is the share of the accepted answers that stand somewhere in the text, whatever
// their case; matchAny is 1 if one of them does (RULER's string_match_all and
// string_match_part, arXiv 2404.06654).
var (
	matchAll = metric{
		title: "all answers in the text",
		score: func(text string, right Right) float64 {
			return float64(found(text, right)) / float64(max(1, len(right.Answers)))
		},
	}
	matchAny = metric{
		title: "an answer in the text",
		score: func(text string, right Right) float64 { return min(1, float64(found(text, right))) },
	}
)

func found(text string, right Right) int {
	n := 0
	text = lower(text)
	for _, a := range right.Answers {
		if strings.Contains(text, lower(a)) {
			n++
		}
	}
	return n
}
