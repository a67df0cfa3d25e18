package eval

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"

	"eisft/eval/jieba"
)

// The published scorers are programs in Python; these functions read text as its strings
// and regular expressions do.

// punctuation is ASCII's: Python's string.punctuation.
const punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

// chinesePunctuation is what LongBench takes out of Chinese words beside punctuation.
const chinesePunctuation = "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏."

// isSpace is str.isspace, which knows four separators that Unicode's White_Space does not.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// fields is str.split().
func fields(text string) []string { return strings.FieldsFunc(text, isSpace) }

// lower is str.lower(): Unicode's full mapping, a sigma at the end of a word among it.
func lower(text string) string { return cases.Lower(language.Und).String(text) }

// without leaves out the characters of a set.
func without(text, set string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(set, r) {
			return -1
		}
		return r
	}, text)
}

// words are those of a text in lower case, without punctuation and articles.
func words(text string) []string { return fields(withoutArticles(without(lower(text), punctuation))) }

// withoutArticles puts a space in the place of a, an and the where they are whole words of
// regular expressions (\b): letters, digits and the underscore.
func withoutArticles(text string) string {
	var b strings.Builder
	inWord := func(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) }
	for text != "" {
		end := strings.IndexFunc(text, func(r rune) bool { return !inWord(r) })
		switch {
		case end < 0:
			end = len(text)
		case end == 0:
			if end = strings.IndexFunc(text, inWord); end < 0 {
				end = len(text)
			}
		}
		switch piece := text[:end]; piece {
		case "a", "an", "the":
			b.WriteByte(' ')
		default:
			b.WriteString(piece)
		}
		text = text[end:]
	}
	return b.String()
}

// chineseWords are those that jieba cuts a text into, in lower case, without punctuation
// and space, as far as anything is left of them.
func chineseWords(text string) []string {
	var out []string
	for _, word := range jieba.Cut(text) {
		if word = strings.Join(fields(without(lower(word), punctuation+chinesePunctuation)), ""); word != "" {
			out = append(out, word)
		}
	}
	return out
}

// numbers are the runs of digits of a text: re.findall(r"\d+").
func numbers(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsDigit(r) })
}
