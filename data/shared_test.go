package data_test

import (
	"math"
	"strings"
	"testing"

	"eisft/data"
	"eisft/data/synth"
	"eisft/internal/testfiles"
	"eisft/model/tokenizer"
)

// open opens a file with the prompts that the demo base was trained with.
func open(t testing.TB, path string) *data.Source {
	t.Helper()
	s, err := data.Open(path, data.Options{Prompts: synth.Prompts()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// load loads one of the tokenizers of testfiles.Tokenizer with its chat template.
func load(t testing.TB, name string) (*tokenizer.Tokenizer, *tokenizer.Template) {
	t.Helper()
	dir := testfiles.Tokenizer(t, name)
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
	tk, template := load(t, "demo")
	return data.NewEncoder(tk, template, maxTokens)
}

// TestLargeFiles reads what the demo data was made from, and real meetings (QMSum).
func TestLargeFiles(t *testing.T) {
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
		s := open(t, testfiles.Shared(t, "data/"+c.name))
		if s.Len() != c.rows {
			t.Errorf("%s: %d rows, want %d", c.name, s.Len(), c.rows)
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
			t.Errorf("%s: %d rows with a depth, want %d", c.name, depths, c.depths)
		}
		wantAnyOrder(t, s)
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
	for _, name := range []string{"calib", "test", "train"} {
		wantAnyOrder(t, open(t, testfiles.Repository(t, "data/demo/"+name+".parquet")))
	}
}

// wantAnyOrder checks that rows are the same whatever was read before them.
func wantAnyOrder(t *testing.T, s *data.Source) {
	t.Helper()
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
			t.Fatalf("%s: not the same when read out of order", sample.Where)
		}
	}
}
