package eval

import (
	"fmt"
	"strings"
	"unicode"
)

// count is the share of the text's numbers that are the right one, digit by digit
// (LongBench's count_score).
var count = metric{title: "count", score: best(shareOfNumbers)}

// retrieval is count for an answer that names a passage by what stands before its number,
// "Paragraph 7" (LongBench's retrieval_score and retrieval_zh_score). The text need not
// repeat the name.
func retrieval(name string) metric {
	return metric{
		title: "retrieval of " + strings.TrimSpace(name),
		score: best(func(text, answer string) float64 { return shareOfNumbers(text, passage(answer, name)) }),
		check: func(right Right) error {
			for _, a := range right.Answers {
				if passage(a, name) == "" {
					return fmt.Errorf("the answer %q has no %q with a number behind it", a, strings.TrimSpace(name))
				}
			}
			return nil
		},
	}
}

// passage is the first number of an answer that stands right behind a name.
func passage(answer, name string) string {
	for {
		_, rest, found := strings.Cut(answer, name)
		if !found {
			return ""
		}
		if n := strings.IndexFunc(rest+" ", func(r rune) bool { return !unicode.IsDigit(r) }); n > 0 {
			return rest[:n]
		}
		answer = rest
	}
}

func shareOfNumbers(text, number string) float64 {
	all, same := numbers(text), 0
	for _, n := range all {
		if n == number {
			same++
		}
	}
	if len(all) == 0 {
		return 0
	}
	return float64(same) / float64(len(all))
}
