package eval

// wordF1 is the harmonic mean of precision and recall over the words that the text
// shares with an accepted answer, the best of them. Words are those of SQuAD's
// evaluation script (arXiv 1606.05250), and LongBench's (arXiv 2308.14508): in lower case,
// without ASCII punctuation and without the articles a, an and the. Texts that share no
// word have 0, two without any among them.
var wordF1 = metric{
	title: "F1",
	score: best(func(text, answer string) float64 { return f1(words(text), words(answer)) }),
}

// chineseF1 is wordF1 over the words that jieba cuts Chinese text into, in lower case,
// without ASCII and Chinese punctuation and without space (LongBench's qa_f1_zh_score).
var chineseF1 = metric{
	title: "F1 of Chinese words",
	score: best(func(text, answer string) float64 { return f1(chineseWords(text), chineseWords(answer)) }),
}

func f1(got, want []string) float64 {
	left := map[string]int{}
	for _, w := range want {
		left[w]++
	}
	same := 0
	for _, w := range got {
		if left[w] > 0 {
			left[w]--
			same++
		}
	}
	if same == 0 {
		return 0
	}
	precision, recall := float64(same)/float64(len(got)), float64(same)/float64(len(want))
	return 2 * precision * recall / (precision + recall)
}
