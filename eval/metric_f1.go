package eval

import (
	"slices"
	"strings"
)

// wordF1 is the harmonic mean of precision and recall over the words that the text
// shares with an accepted answer, the best of them. Words are those of SQuAD's
// evaluation script (arXiv 1606.05250): in lower case, without ASCII
// punctuation and without the articles a, an and the.
var wordF1 = metric{
	title: "F1",
	score: func(text string, accepted []string) float64 {
		best := 0.0
		for _, a := range accepted {
			best = max(best, f1(words(text), words(a)))
		}
		return best
	},
}

func f1(got, want []string) float64 {
	if len(got) == 0 && len(want) == 0 {
		return 1
	}
	count := map[string]int{}
	for _, w := range want {
		count[w]++
	}
	same := 0
	for _, w := range got {
		if count[w] > 0 {
			count[w]--
			same++
		}
	}
	return 2 * float64(same) / float64(len(got)+len(want))
}

// punctuation is Python's string.punctuation.
const punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

func words(text string) []string {
	plain := strings.Map(func(r rune) rune {
		if strings.ContainsRune(punctuation, r) {
			return -1
		}
		return r
	}, strings.ToLower(text))
	return slices.DeleteFunc(strings.Fields(plain), func(w string) bool { return w == "a" || w == "an" || w == "the" })
}
