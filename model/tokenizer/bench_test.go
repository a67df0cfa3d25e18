package tokenizer

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"eisft/data/sharedtest"
)

var benchTokenizers = []struct{ name, dir string }{
	{"base", "demo/base"},
	{"qwen3", "tokenizers/qwen3"},
	{"stories260k", "models/stories260k"},
}

// conversations returns about size bytes of the shared conversations, as chat text.
func conversations(t testing.TB, size int) string {
	t.Helper()
	f, err := os.Open(sharedtest.Path(t, "data/conversations-chat-train.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for d := json.NewDecoder(z); text.Len() < size; {
		var sample struct {
			Messages []struct{ Role, Content string }
		}
		if err := d.Decode(&sample); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for _, m := range sample.Messages {
			text.WriteString(m.Role + ": " + m.Content + "\n")
		}
	}
	return text.String()
}

// BenchmarkEncode encodes conversations with warm caches, as a data loader does.
func BenchmarkEncode(b *testing.B) {
	text := conversations(b, 1<<20)
	for _, c := range benchTokenizers {
		b.Run(c.name, func(b *testing.B) {
			tk := load(b, c.dir)
			tokens := len(tk.Encode(text, false))
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				tk.Encode(text, false)
			}
			b.ReportMetric(float64(len(text))/float64(tokens), "bytes/token")
		})
	}
}

// BenchmarkEncodeCold is BenchmarkEncode with the word cache of a new tokenizer.
func BenchmarkEncodeCold(b *testing.B) {
	text := conversations(b, 1<<20)
	for _, c := range benchTokenizers {
		b.Run(c.name, func(b *testing.B) {
			tk := load(b, c.dir)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				tk.idle = newIdle()
				tk.Encode(text, false)
			}
		})
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
		dir := sharedtest.Path(b, c.dir)
		b.Run(c.name, func(b *testing.B) {
			start := time.Now()
			for b.Loop() {
				if _, err := Load(dir); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(time.Since(start).Seconds()/float64(b.N), "s/load")
		})
	}
}
