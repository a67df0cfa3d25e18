package eval

import (
	"strings"

	"eisft/eval/jieba"
)

// ROUGE (Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004) as the Python
// package rouge 1.0.1 computes it, which LongBench scores by: F of precision p and recall r
// is 2pr/(p+r+1e-8), n-grams and words count once however often they are there, words are
// what space divides, capitals and punctuation included, and a sentence ends at every full
// stop, that of a number too. Texts without anything but full stops have 0.
//
// The package's own program gives 0, too, for sentences of together about a thousand words:
// it reaches Python's limit of recursion. Here they have the value of the formula.
var (
	rouge1 = metric{title: "ROUGE-1", score: best(func(text, answer string) float64 { return rougeN(text, answer, 1) })}
	rouge2 = metric{title: "ROUGE-2", score: best(func(text, answer string) float64 { return rougeN(text, answer, 2) })}
	rougeL = metric{title: "ROUGE-L", score: best(rougeLOf)}
	// rougeLChinese is ROUGE-L of the words that jieba cuts (LongBench's rouge_zh_score).
	rougeLChinese = metric{
		title: "ROUGE-L of Chinese words",
		score: best(func(text, answer string) float64 {
			return rougeLOf(strings.Join(jieba.Cut(text), " "), strings.Join(jieba.Cut(answer), " "))
		}),
	}
)

// sentences are the words of each sentence of a text. One of space alone has one word, "".
func sentences(text string) [][]string {
	var out [][]string
	for s := range strings.SplitSeq(text, ".") {
		if s != "" {
			out = append(out, strings.Split(strings.Join(fields(s), " "), " "))
		}
	}
	return out
}

type set map[string]bool

// ngrams are the different n-grams of sentences that follow each other.
func ngrams(sentences [][]string, n int) set {
	var all []string
	for _, s := range sentences {
		all = append(all, s...)
	}
	out := set{}
	for i := 0; i+n <= len(all); i++ {
		out[strings.Join(all[i:i+n], " ")] = true
	}
	return out
}

// rougeF is F where so many are the same of those of an answer and of the right one.
func rougeF(same, got, want int) float64 {
	if got == 0 || want == 0 {
		return 0
	}
	p, r := float64(same)/float64(got), float64(same)/float64(want)
	return 2 * (p * r / (p + r + 1e-8))
}

func rougeN(text, answer string, n int) float64 {
	got, want := sentences(text), sentences(answer)
	if len(got) == 0 || len(want) == 0 {
		return 0
	}
	a, b, same := ngrams(got, n), ngrams(want, n), 0
	for g := range a {
		if b[g] {
			same++
		}
	}
	return rougeF(same, len(a), len(b))
}

// rougeLOf is ROUGE-L of summaries: what is the same are the different words in the longest
// common subsequences of each sentence of the one with each of the other.
func rougeLOf(text, answer string) float64 {
	got, want := sentences(text), sentences(answer)
	same := set{}
	for _, w := range want {
		for _, g := range got {
			addCommon(same, w, g)
		}
	}
	return rougeF(len(same), len(ngrams(got, 1)), len(ngrams(want, 1)))
}

// addCommon adds the words of the longest common subsequence of a and b. Of several it is
// the one that is found from the end, going back in b where both ways are as long.
func addCommon(to set, a, b []string) {
	const both, inA, inB = 0, 1, 2
	steps := make([]uint8, len(a)*len(b)) // what the way back does at a place
	above, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for i, x := range a {
		for j, y := range b {
			switch {
			case x == y:
				row[j+1], steps[i*len(b)+j] = above[j]+1, both
			case above[j+1] > row[j]:
				row[j+1], steps[i*len(b)+j] = above[j+1], inA
			default:
				row[j+1], steps[i*len(b)+j] = row[j], inB
			}
		}
		above, row = row, above
	}
	for i, j := len(a)-1, len(b)-1; i >= 0 && j >= 0; {
		switch steps[i*len(b)+j] {
		case both:
			to[a[i]] = true
			i, j = i-1, j-1
		case inA:
			i--
		default:
			j--
		}
	}
}
