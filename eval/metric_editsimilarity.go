package eval

import (
	"math"
	"strings"

	"github.com/pmezard/go-difflib/difflib"
)

// editSimilarity compares the first line of code with the right one (LongBench's
// code_sim_score): the first line without a backquote, # or //, and of it fuzzywuzzy's ratio,
// twice the number of characters in common blocks over that of all, in whole hundredths. The
// blocks are those of Python's difflib, which fuzzywuzzy goes by alone; beside the package
// python-Levenshtein, which LongBench does not ask for, it computes another ratio.
var editSimilarity = metric{
	title: "edit similarity",
	score: best(func(text, answer string) float64 { return ratio(codeLine(text), answer) }),
}

func codeLine(text string) string {
	for line := range strings.SplitSeq(strings.TrimLeft(text, "\n"), "\n") {
		if !strings.ContainsAny(line, "`#") && !strings.Contains(line, "//") {
			return line
		}
	}
	return ""
}

func ratio(a, b string) float64 {
	switch {
	case a == b:
		return 1
	case a == "" || b == "":
		return 0
	}
	m := difflib.NewMatcher(strings.Split(a, ""), strings.Split(b, ""))
	return math.RoundToEven(100*m.Ratio()) / 100
}
