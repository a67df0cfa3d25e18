package tokenizer

import (
	"strings"
	"testing"

	"eisft/internal/testfiles"
)

var benchTokenizers = []struct{ name, dir string }{
	{"base", "demo"},
	{"qwen3", "qwen3"},
	{"stories260k", "stories260k"},
}

// benchTexts are a megabyte each: what the toolkit trains on, and the mixed text of
// the comparison with other tokenizers, in which few words repeat.
func benchTexts(b *testing.B) map[string]string {
	return map[string]string{
		"conversations": conversations(b, 1<<20),
		"mixed":         strings.Join(mixedTexts(b, 1<<20), "\n"),
	}
}

// BenchmarkEncode encodes on one core: with the words of the text in the cache, as
// when many texts are encoded, and as the first text of a new tokenizer.
func BenchmarkEncode(b *testing.B) {
	texts := benchTexts(b)
	for _, c := range benchTokenizers {
		for name, text := range texts {
			tk := load(b, c.dir)
			b.Run(c.name+"/"+name+"/warm", func(b *testing.B) {
				tokens := len(tk.Encode(text, false))
				b.SetBytes(int64(len(text)))
				for b.Loop() {
					tk.Encode(text, false)
				}
				b.ReportMetric(float64(len(text))/float64(tokens), "bytes/token")
			})
			b.Run(c.name+"/"+name+"/cold", func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				for b.Loop() {
					tk.idle = newIdle()
					tk.Encode(text, false)
				}
			})
		}
	}
}

// BenchmarkEncodeRegexp encodes with a pattern that has no hand-written splitter.
func BenchmarkEncodeRegexp(b *testing.B) {
	text := conversations(b, 1<<18)
	split, err := buildSplit(&component{Behavior: string(isolated), Pattern: pattern{Regex: new("(?:" + qwen2Pattern + ")")}}, "")
	if err != nil {
		b.Fatal(err)
	}
	tk := *load(b, "demo")
	tk.split = split
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		tk.Encode(text, false)
	}
}

func BenchmarkDecode(b *testing.B) {
	text := conversations(b, 1<<20)
	for _, c := range benchTokenizers {
		b.Run(c.name, func(b *testing.B) {
			tk := load(b, c.dir)
			ids := tk.Encode(text, false)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				tk.Decode(ids, true)
			}
		})
	}
}

func BenchmarkStream(b *testing.B) {
	text := conversations(b, 1<<16)
	for _, c := range benchTokenizers {
		b.Run(c.name, func(b *testing.B) {
			tk := load(b, c.dir)
			ids := tk.Encode(text, false)
			for b.Loop() {
				streamed(tk, ids)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(ids)), "ns/token")
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	for _, c := range benchTokenizers {
		dir := testfiles.Tokenizer(b, c.dir)
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Load(dir); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkWords splits mixed text into words by each well-known pattern.
func BenchmarkWords(b *testing.B) {
	text := strings.Join(mixedTexts(b, 1<<20), "\n")
	for name, pattern := range map[string]string{"gpt2": gpt2Pattern, "cl100k": cl100kPattern, "tekken": tekkenPattern, "o200k": o200kPattern} {
		b.Run(name, func(b *testing.B) {
			split := splitAll(knownPatterns[pattern])
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				split(text, true, func(string, bool) {})
			}
		})
	}
}
