// Package jieba cuts Chinese text into words as jieba 0.42.1 does in its exact mode: the
// likeliest way through the words of its list, and where that leaves single characters a
// hidden Markov model of words that are not listed.
//
// The list is jieba's own (LICENSE), because other lists cut other words; the model's
// probabilities are those of package gse, which took them from jieba.
package jieba

import (
	_ "embed"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/go-ego/gse/hmm"
	"github.com/klauspost/compress/zstd"
)

//go:embed words.txt.zst
var packed []byte

// words is the list: the frequency of every word, 0 for what only begins one.
type words struct {
	frequency map[string]int32
	total     float64
}

// load unpacks the list at its first use.
var load = sync.OnceValue(func() *words {
	hmm.LoadModel()
	w, err := unpack(packed)
	if err != nil {
		panic(fmt.Sprintf("jieba: words.txt.zst: %v", err)) // it is part of the program
	}
	return w
})

func unpack(packed []byte) (*words, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	text, err := z.DecodeAll(packed, nil)
	if err != nil {
		return nil, err
	}
	w := &words{frequency: make(map[string]int32, 1<<19)}
	for line := range strings.Lines(string(text)) {
		word, number, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, err := strconv.ParseInt(number, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("the word %s: %w", word, err)
		}
		w.frequency[word] = int32(n)
		w.total += float64(n)
		for end := range word {
			if _, known := w.frequency[word[:end]]; !known && end > 0 {
				w.frequency[word[:end]] = 0
			}
		}
	}
	return w, nil
}

var (
	// block is what words of the list are looked for in; between blocks every character,
	// and every \r\n, is a word of its own.
	block = regexp.MustCompile(`[\x{4E00}-\x{9FD5}a-zA-Z0-9+#&._%\-]+`)
	// han and number are what unlisted words are made of.
	han    = regexp.MustCompile(`[\x{4E00}-\x{9FD5}]+`)
	number = regexp.MustCompile(`[a-zA-Z0-9]+(?:\.\p{Nd}+)?%?`)
)

// Cut returns the words of a text; together they are the text.
func Cut(text string) []string {
	w := load()
	var out []string
	for text != "" {
		at := block.FindStringIndex(text)
		if at == nil {
			return append(out, singles(text)...)
		}
		out = append(out, singles(text[:at[0]])...)
		out = append(out, w.cut(text[at[0]:at[1]])...)
		text = text[at[1]:]
	}
	return out
}

// singles cuts what stands between blocks.
func singles(text string) []string {
	var out []string
	for text != "" {
		n := len("\r\n")
		if !strings.HasPrefix(text, "\r\n") {
			_, n = utf8.DecodeRuneInString(text)
		}
		out, text = append(out, text[:n]), text[n:]
	}
	return out
}

// cut takes the likeliest way through a block.
func (w *words) cut(text string) []string {
	ends := w.likeliest(text)
	var out []string
	loose := 0 // where the single characters begin that were not added yet
	for at := 0; at < len(text); at = ends[at] {
		if _, size := utf8.DecodeRuneInString(text[at:]); ends[at]-at == size {
			continue
		}
		out = append(w.unlisted(out, text[loose:at]), text[at:ends[at]])
		loose = ends[at]
	}
	return w.unlisted(out, text[loose:])
}

// unlisted adds the words of a run of single characters. Of a run that the list has as a
// word, though a less likely one, each stays one.
func (w *words) unlisted(out []string, run string) []string {
	switch {
	case run == "":
		return out
	case utf8.RuneCountInString(run) == 1:
		return append(out, run)
	case w.frequency[run] > 0:
		return append(out, strings.Split(run, "")...)
	}
	return append(out, hmm.Cut(run, number, han)...)
}

// likeliest returns for each place where a character begins the end of the word that the
// likeliest way to the end of the text takes there: the product of the words' shares in all
// words is greatest. Of two equal ways it is the one with the longer word.
func (w *words) likeliest(text string) []int {
	ends, best := make([]int, len(text)), make([]float64, len(text)+1)
	all := math.Log(w.total)
	for at := len(text); at > 0; {
		_, size := utf8.DecodeLastRuneInString(text[:at])
		at -= size
		best[at] = math.Inf(-1)
		found := false
		for end := at; end < len(text); {
			_, size := utf8.DecodeRuneInString(text[end:])
			end += size
			n, known := w.frequency[text[at:end]]
			if !known {
				break
			}
			if n == 0 {
				continue
			}
			found = true
			if p := math.Log(float64(n)) - all + best[end]; p >= best[at] {
				best[at], ends[at] = p, end
			}
		}
		if !found {
			best[at], ends[at] = math.Log(1)-all+best[at+size], at+size
		}
	}
	return ends
}
