package data_test

import (
	"math"
	"strings"
	"testing"

	"eisft/data"
	"eisft/internal/sharedtest"
	"eisft/data/synth"
	"eisft/model/tokenizer"
)

// open opens a file of the shared folder with the prompts its model was trained with.
func open(t testing.TB, name string) *data.Source {
	t.Helper()
	s, err := data.Open(sharedtest.Path(t, "data/"+name), data.Options{Prompts: synth.Prompts()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// load loads the tokenizer and the chat template of a folder in the shared one.
func load(t testing.TB, dir string) (*tokenizer.Tokenizer, *tokenizer.Template) {
	t.Helper()
	dir = sharedtest.Path(t, dir)
	tk, err := tokenizer.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	template, err := tokenizer.LoadTemplate(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tk, template
}

// demoEncoder encodes for the demo base.
func demoEncoder(t testing.TB, maxTokens int) *data.Encoder {
	t.Helper()
	tk, template := load(t, "demo/base")
	return data.NewEncoder(tk, template, maxTokens)
}

func TestSharedFiles(t *testing.T) {
	for _, c := range []struct {
		name         string
		rows, depths int
	}{
		{"conversations-test.parquet", 400, 300},
		{"conversations-train.parquet", 1120, 880},
		{"conversations-validation.parquet", 60, 40},
		{"conversations-chat-train.jsonl.gz", 1200, 0},
		{"qmsum-validation.parquet", 272, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, c.name)
			if s.Len() != c.rows {
				t.Errorf("%d rows, want %d", s.Len(), c.rows)
			}
			depths := 0
			for i := range s.Len() {
				sample, err := s.At(i)
				if err != nil {
					t.Fatal(err)
				}
				if !math.IsNaN(sample.Depth) {
					depths++
					wantFact(t, sample)
				}
			}
			if depths != c.depths {
				t.Errorf("%d rows with a depth, want %d", depths, c.depths)
			}
		})
	}
}

// wantFact checks that the line at the sample's depth holds the answer.
func wantFact(t *testing.T, s data.Sample) {
	t.Helper()
	answer := strings.TrimPrefix(s.Answers[0], "in ")
	if !strings.Contains(strings.ToLower(s.Fact), strings.ToLower(strings.TrimPrefix(answer, "a "))) {
		for _, part := range strings.Fields(answer) { // "Friday at 3:30 pm" is said as "on Friday at 3:30 pm"
			if !strings.Contains(strings.ToLower(s.Fact), strings.ToLower(part)) {
				t.Errorf("%s: the fact %q does not hold the answer %q", s.Where, s.Fact, s.Answers[0])
			}
		}
	}
	if !strings.Contains(s.Messages[0].Content, s.Fact) {
		t.Errorf("%s: the fact is not in the prompt", s.Where)
	}
}

func TestRandomAccessEqualsReadingInOrder(t *testing.T) {
	for _, name := range []string{"conversations-validation.parquet", "conversations-test.parquet", "conversations-chat-train.jsonl.gz"} {
		s := open(t, name)
		inOrder := make([]string, s.Len())
		for i := range inOrder {
			sample, err := s.At(i)
			if err != nil {
				t.Fatal(err)
			}
			inOrder[i] = sample.ID + sample.Messages[0].Content
		}
		for _, i := range data.Order(1, 0, s.Len())[:30] {
			sample, err := s.At(i)
			if err != nil {
				t.Fatal(err)
			}
			if sample.ID+sample.Messages[0].Content != inOrder[i] {
				t.Fatalf("%s: row %d differs when read out of order", name, i)
			}
		}
	}
}
