package eval

import (
	"errors"
	"slices"
	"strings"
)

// classification is one over the number of classes that the text names, if the right one is
// among them (LongBench's classification_score). A class whose name is part of the right
// one's is not counted; of two such that stand one behind the other in the list of those
// named the scorer passes over the second, and so does this.
var classification = metric{
	title: "classification",
	score: func(text string, right Right) float64 {
		return best(func(text, answer string) float64 { return classified(text, answer, right.Classes) })(text, right)
	},
	check: func(right Right) error {
		if len(right.Classes) == 0 {
			return errors.New("column all_classes has no classes to choose among")
		}
		return nil
	},
}

func classified(text, answer string, classes []string) float64 {
	var named []string
	for _, c := range classes {
		if strings.Contains(text, c) {
			named = append(named, c)
		}
	}
	for i := 0; i < len(named); i++ {
		if c := named[i]; strings.Contains(answer, c) && c != answer {
			first := slices.Index(named, c) // the scorer takes out the first that is equal
			named = slices.Delete(named, first, first+1)
		}
	}
	if !slices.Contains(named, answer) {
		return 0
	}
	return 1 / float64(len(named))
}
