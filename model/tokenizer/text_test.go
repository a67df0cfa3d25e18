package tokenizer

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"eisft/internal/testfiles"
)

// conversations returns about size bytes of the demo's training data, as chat text.
func conversations(t testing.TB, size int) string {
	t.Helper()
	type message struct {
		Role    string `parquet:"role"`
		Content string `parquet:"content"`
	}
	rows, err := parquet.ReadFile[struct {
		Messages []message `parquet:"messages,list"`
	}](testfiles.Repository(t, "data/demo/train.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, row := range rows {
		if text.Len() >= size {
			break
		}
		for _, m := range row.Messages {
			text.WriteString(m.Role + ": " + m.Content + "\n")
		}
	}
	return text.String()
}

// mixedTexts returns texts of together about size bytes: half of them conversations,
// half generated.
func mixedTexts(t testing.TB, size int) (texts []string) {
	for text := conversations(t, size/2); len(text) > 0; {
		n := min(len(text), 1500)
		texts = append(texts, strings.ToValidUTF8(text[:n], ""))
		text = text[n:]
	}
	r := rand.New(rand.NewPCG(11, 12))
	for made := 0; made < size/2; {
		text := generatedText(r, 20+r.IntN(200))
		texts = append(texts, text)
		made += len(text)
	}
	return texts
}

// scripts are ranges of letters that Unicode has had for long.
var scripts = [][2]rune{
	{'a', 'z'},
	{'a', 'z'},
	{'A', 'Z'},
	{0xC0, 0xFF},
	{0x3B1, 0x3C9},
	{0x430, 0x44F},
	{0x5D0, 0x5EA},
	{0x627, 0x64A},
	{0x905, 0x939},
	{0xE01, 0xE30},
	{0x3041, 0x3096},
	{0x30A1, 0x30FA},
	{0x4E00, 0x9FA5},
	{0xAC00, 0xD7A3},
	{0x1F600, 0x1F64F},
}

var snippets = []string{
	" ", " ", " ", " ", "  ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "\u3000", " \n ", "   \t",
	"don't", "I'LL", "we've", "'s", "’s", "e\u0301", "n\u0303o", "👍🏽", "👨‍👩‍👧", "🇪🇺", "½", "Ⅳ", "²", "ﬁ", "½", "…", "—", "“q”", "。", "！",
	"func (s *Stream) Add(id int32) string {\n\treturn \"\"\n}", "if (x !== y) { x += 1; }", "#include <stdio.h>", "def f(a, *b):\n    return a[0]",
	"https://example.org/a?b=c&d=%20#e", "a@b.co", "0x1F", "3.14159", "1,000,000", "12:30pm", "2024-07-26", "C++", "$9.99", "50%", "--", "...", "!!!", "(", ")", "_",
	"<|end|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<s>", "</s>", "<unk>", "<think>", "<0x0A>", "▁", "Ġ", "\ufeff", "\u200b", "\u0085", "\x00", "\x7f",
}

func generatedText(r *rand.Rand, words int) string {
	var b strings.Builder
	for range words {
		switch r.IntN(5) {
		case 0, 1:
			b.WriteString(snippets[r.IntN(len(snippets))])
		case 2:
			for range 1 + r.IntN(8) {
				b.WriteRune('0' + rune(r.IntN(10)))
			}
		default:
			script := scripts[r.IntN(len(scripts))]
			if r.IntN(3) > 0 {
				b.WriteByte(' ')
			}
			for range 1 + r.IntN(9) {
				b.WriteRune(script[0] + rune(r.IntN(int(script[1]-script[0]+1))))
			}
		}
	}
	return b.String()
}
