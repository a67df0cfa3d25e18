package synth

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"eisft/data"
	"eisft/internal/testfiles"
	"eisft/model/tokenizer"
)

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func TestGenerate(t *testing.T) {
	facts, actions, decisions := 0, 0, 0
	for seed := range uint64(50) {
		c := Generate(random(seed), 4000, 4)
		facts += len(c.Facts)
		actions += len(c.Actions)
		decisions += len(c.Decisions)
		wantAnswers(t, c)
		wantSummaries(t, c)
		text := strings.Join(c.Lines, "\n") + "\n"
		if last := len(c.Lines[len(c.Lines)-1]) + 1; len(text) < 4000 || len(text)-last >= 4000 {
			t.Errorf("seed %d: %d characters, want 4000 and no whole line more", seed, len(text))
		}
		if strings.ContainsAny(text, "{}") {
			t.Errorf("seed %d: a slot was not filled: %s", seed, text)
		}
		if d := cmp.Diff(c, Generate(random(seed), 4000, 4)); d != "" {
			t.Errorf("seed %d gives two conversations: %s", seed, d)
		}
	}
	if facts < 50*10 || actions < 50 || decisions < 25 {
		t.Errorf("50 conversations have %d facts, %d action items, %d decisions", facts, actions, decisions)
	}
}

// wantAnswers checks that every answer is in its fact's line and every question is
// asked about one fact only.
func wantAnswers(t *testing.T, c Conversation) {
	t.Helper()
	asked := map[string]bool{}
	for _, f := range c.Facts {
		line := strings.ToLower(c.Lines[f.Line])
		if !strings.Contains(line, strings.ToLower(f.Answer)) {
			t.Errorf("the line %q does not hold the answer %q to %q", c.Lines[f.Line], f.Answer, f.Question)
		}
		if asked[f.Question] {
			t.Errorf("two facts answer %q", f.Question)
		}
		asked[f.Question] = true
	}
}

// wantSummaries checks that every item of a summary was said by whom it names.
func wantSummaries(t *testing.T, c Conversation) {
	t.Helper()
	said := func(speaker, text string) bool {
		return slices.ContainsFunc(c.Lines, func(line string) bool {
			return strings.HasPrefix(line, speaker) && strings.Contains(line, text)
		})
	}
	for _, item := range c.Actions { // "- Ola will do it by Monday."
		name, what, ok := strings.Cut(strings.TrimPrefix(item, "- "), " ")
		if !ok || !said(name+": ", what) {
			t.Errorf("nobody said %q", item)
		}
	}
	for _, item := range c.Decisions { // "- They will do it."
		if !said("", strings.TrimPrefix(item, "- They will ")) {
			t.Errorf("nobody said %q", item)
		}
	}
}

func TestPrompts(t *testing.T) {
	want := map[string]string{
		"conversation_qa":      "Read the conversation, then follow the instruction.\n\n{context}\n\nQuestion: {input}",
		"conversation_actions": "Read the conversation, then follow the instruction.\n\n{context}\n\n{input}",
	}
	if d := cmp.Diff(want, Prompts()); d != "" {
		t.Error(d)
	}
}

func loadEncoder(t testing.TB) (*tokenizer.Tokenizer, *data.Encoder) {
	t.Helper()
	dir := testfiles.Repository(t, "model/demo")
	tk, err := tokenizer.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	template, err := tokenizer.LoadTemplate(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tk, data.NewEncoder(tk, template, 0)
}

func TestQA(t *testing.T) {
	tk, encoder := loadEncoder(t)
	for _, tokens := range []int{256, 2048, 16384} {
		const count = 8
		samples, err := QA(1, tokens, count, tk)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range samples {
			enc, err := encoder.Encode(s)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(enc.IDs); n > tokens || n < tokens-150 {
				t.Errorf("%s: %d tokens, want at most %d and no more than two lines less", s.ID, n, tokens)
			}
			if !strings.Contains(strings.ToLower(s.Fact), strings.ToLower(s.Answers[0])) {
				t.Errorf("%s: the fact %q does not hold the answer %q", s.ID, s.Fact, s.Answers[0])
			}
			want, slack := (1-s.Depth)*float64(tokens), 0.02*float64(tokens)+100
			if got := float64(enc.Turns[0].Distance); tokens > 1000 && (got < want-slack || got > want+slack) {
				t.Errorf("%s: the fact is %g tokens back, want %g by its depth", s.ID, got, want)
			}
			if want := (float64(i) + 0.5) / count; tokens > 1000 && (s.Depth < want-0.1 || s.Depth > want+0.1) {
				t.Errorf("%s: depth %g, want %g", s.ID, s.Depth, want)
			}
		}
	}
	if _, err := QA(1, 40, 1, tk); err == nil || !strings.HasPrefix(err.Error(), "synth: 40 tokens are too few") {
		t.Errorf("got %v", err)
	}
	if _, err := QA(1, 0, 1, tk); err == nil {
		t.Error("0 tokens gave a sample")
	}
}

func BenchmarkQA(b *testing.B) {
	tk, _ := loadEncoder(b)
	const tokens = 4096
	for i := 0; b.Loop(); i++ {
		if _, err := QA(uint64(i), tokens, 1, tk); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*tokens/b.Elapsed().Seconds(), "tokens/s")
}
