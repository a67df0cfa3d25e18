package tokenizer

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
)

// sameWords fails the test where a hand-written splitter and its pattern, run by
// regexp2, split text differently.
func sameWords(t *testing.T, text string) {
	t.Helper()
	for pattern, wordLen := range knownPatterns {
		got := findAll(wordLen)(text)
		want := findRegexp(regexps[pattern], pattern)(text)
		if !slices.Equal(got, want) {
			t.Fatalf("%s\nsplits %q\n into %q\nregexp2 says %q", pattern, text, cutAt(text, got), cutAt(text, want))
		}
	}
}

var regexps = func() map[string]*regexp2.Regexp {
	m := map[string]*regexp2.Regexp{}
	for pattern := range knownPatterns {
		m[pattern] = regexp2.MustCompile(pattern, regexp2.None)
	}
	return m
}()

func cutAt(text string, spans []span) (words []string) {
	for _, s := range spans {
		words = append(words, text[s.from:s.to])
	}
	return words
}

// alphabet has a few characters of every kind that the patterns tell apart, and
// those that case folding and Unicode's odd corners make special.
var alphabet = []rune("aeZsStTrReEvVmMlLdD''' \t\v\f\r\n\r\n\u0085\u00a0\u2028\u3000\u200b\ufeffſKİıßéABǅʰ/\u0301中あ한אक्०١½²Ⅳ0193,.!?-_#\"$+🙂👍🏽\u200d�\U0010FFFF\x00")

func randomText(r *rand.Rand, size int) string {
	var b strings.Builder
	for range size {
		if r.IntN(12) == 0 {
			b.WriteRune(rune(r.IntN(0x3000)))
			continue
		}
		b.WriteRune(alphabet[r.IntN(len(alphabet))])
	}
	return strings.ToValidUTF8(b.String(), "")
}

func TestWordsMatchPatterns(t *testing.T) {
	for _, text := range []string{
		"", "'", "'s", "'S", "'ſ", "''ll", "'re've", "x'r", "'R'V'L", " 's", "\n's", "don't DON'T",
		" ", "  ", "\n", " \n", "\n ", "\r\n\r\n x", " \n \n  x", "a \t\n", "a\u00a0b", "\u00a0\u00a0b", "\u0085x",
		"12345", " 12345", "1½²a", "!a", " !a", "!\n\n", " !?\r\n x", "#\u00a0a", "\ta", "\t1", "\t!", "e\u0301", "\u0301e",
		"camelCase", "HTTPServer's", "ABC", "(ABC", "aB'S", "中A", "A中B", " \u0301", "!\u0301", "\u0301\u0301A", "\u0301A", "\u0301Ab", "\u0301!", "/\n/\r/x", "a/b", "ǅa", "ʰA", "\u0301中A1",
	} {
		sameWords(t, text)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		sameWords(t, randomText(r, 1+r.IntN(24)))
	}
}

// TestClassesMatchRegexp compares the class of every character of the planes that have
// letters with regexp2's.
func TestClassesMatchRegexp(t *testing.T) {
	for pattern, want := range map[string]class{`\p{L}`: letter, `\p{N}`: number, `\s`: space} {
		re := regexp2.MustCompile(pattern, regexp2.None)
		for r := rune(0); r < 0x40000; r++ {
			got, err := re.MatchRunes([]rune{r})
			c := classOf(r)
			if is := c == want || want == space && c == newline; err != nil || got != is {
				t.Fatalf("%s on %U: regexp2 says %v (%v), the class is %d", pattern, r, got, err, c)
			}
		}
	}
}

func FuzzWords(f *testing.F) {
	f.Add("It's 2025's  best   day.\n\n\tCafé 你好，世界 🙂🙂 DON'T 1234567 a_b-c")
	f.Add(" \r\n \n\t x''ll're'ſ")
	f.Fuzz(func(t *testing.T, text string) {
		if utf8.ValidString(text) && len(text) < 1000 {
			sameWords(t, text)
		}
	})
}
