package eval

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/data"
	"eisft/model"
	"eisft/model/modeltest"
	"eisft/model/tokenizer"
)

const demo = "../model/demo"

// conversation is a short one: the demo base answers both questions.
const conversation = `{"messages": [
	{"role": "user", "content": "Read the conversation, then follow the instruction.\n\nNathan: How is your family doing?\nMark: To open the attic, type 6528.\nNathan: The budget for the Indigo project is 87,200 dollars.\nMark: No, not yet.\n\nQuestion: What is the budget for the Indigo project?"},
	{"role": "assistant", "content": "87,200 dollars"},
	{"role": "user", "content": "Question: What is the door code for the attic?"},
	{"role": "assistant", "content": "6528"}]}
`

// question is a LongBench row of the same talk.
const question = `{"context": "Nathan: How is your family doing?\nMark: To open the attic, type 6528.\nNathan: No, not yet.", "input": "Question: What is the door code for the attic?", "answers": ["none", "6528"], "depth": 0.34}
`

func openDemo(t testing.TB) (*model.Model, *tokenizer.Tokenizer, *tokenizer.Template) {
	t.Helper()
	m := modeltest.Open(t, demo, modeltest.DefaultBlock(t))
	tk, err := tokenizer.Load(demo)
	if err != nil {
		t.Fatal(err)
	}
	tpl, err := tokenizer.LoadTemplate(demo)
	if err != nil {
		t.Fatal(err)
	}
	return m, tk, tpl
}

// loadRows writes rows into a file and loads it.
func loadRows(t *testing.T, tk *tokenizer.Tokenizer, tpl *tokenizer.Template, rows string, n int) ([]Sample, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(rows, "\n\t", "")), 0o666); err != nil {
		t.Fatal(err)
	}
	source, err := data.Open(path, data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = source.Close() })
	return Load(source, data.NewEncoder(tk, tpl, 0), n)
}

func TestRunConversation(t *testing.T) {
	m, tk, tpl := openDemo(t)
	samples, err := loadRows(t, tk, tpl, conversation, 0)
	if err != nil {
		t.Fatal(err)
	}
	if n := Questions(samples); n != 2 {
		t.Fatalf("%d questions, want 2", n)
	}
	var called []Answer
	r, err := Run(t.Context(), m, PolicyFull, tk, samples, Options{MaxNewTokens: 32, Answered: func(a Answer) { called = append(called, a) }})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Answers) != 2 || len(called) != 2 || r.Answers[0].Text != "87,200 dollars" || r.Answers[1].Text != "6528" {
		t.Errorf("answers %+v, called with %+v", r.Answers, called)
	}
	all := r.Score(All)
	if all.N != 2 || all.Metrics[MetricExactMatch] != 1 || all.Metrics[MetricF1] != 1 || all.NLL <= 0 || all.NLL > 0.5 || math.Abs(math.Exp(all.NLL)-all.Perplexity) > 1e-12 {
		t.Errorf("score %+v, want two right answers", all)
	}
	if len(r.Scores) != 1 || r.Score(Far).N != 0 {
		t.Errorf("scores %+v, want none beside all: the facts' places are not known", r.Scores)
	}
	if s := r.Speed; s.ReadTokens != len(samples[0].IDs) && s.ReadTokens != samples[0].Turns[1].End || s.WrittenTokens == 0 || s.ReadSeconds <= 0 || s.WriteSeconds <= 0 {
		t.Errorf("speed %+v for %d tokens", s, len(samples[0].IDs))
	}

	again, err := Run(t.Context(), m, PolicyFull, tk, samples, Options{MaxNewTokens: 32})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(r.Answers)
	b, _ := json.Marshal(again.Answers)
	if !bytes.Equal(a, b) {
		t.Errorf("two runs gave\n%s\n%s", a, b)
	}
	full, err := WithPolicy(m, PolicyFull)
	if err != nil {
		t.Fatal(err)
	}
	losses, err := TurnLosses(t.Context(), full, samples, model.StreamOptions{})
	nll, tokens := MeanLoss(losses)
	if err != nil || math.Abs(nll-all.NLL) > 1e-12 || tokens != r.Answers[0].Tokens+r.Answers[1].Tokens {
		t.Errorf("NLL %v over %d tokens (%v), want %v as in the score", nll, tokens, err, all.NLL)
	}
}

// TestLikelihood compares the negative log-likelihood of an answer that is fed
// as a whole with that of the same tokens fed one by one.
func TestLikelihood(t *testing.T) {
	m, tk, tpl := openDemo(t)
	samples, err := loadRows(t, tk, tpl, conversation, 0)
	if err != nil {
		t.Fatal(err)
	}
	s, want := samples[0], 0.0
	st := m.NewStream(model.StreamOptions{})
	for i, turn := range s.Turns {
		at := 0
		if i > 0 {
			at = s.Turns[i-1].End
		}
		next, err := st.Read(t.Context(), s.IDs[at:turn.Start], nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range s.answer(i) {
			sum := 0.0
			for _, v := range next {
				sum += math.Exp(float64(v - next[id]))
			}
			want += math.Log(sum)
			if next, err = st.Read(t.Context(), []int32{id}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	losses, err := TurnLosses(t.Context(), m, samples, model.StreamOptions{})
	got, tokens := MeanLoss(losses)
	if err != nil || math.Abs(got*float64(tokens)-want) > 1e-4 {
		t.Errorf("NLL %v (%v), want %v", got*float64(tokens), err, want)
	}
}

// TestAnswersDoNotKnowTheRightOnes: what is generated depends neither on the length of
// the right answer nor on the token that it ends with.
func TestAnswersDoNotKnowTheRightOnes(t *testing.T) {
	m, tk, tpl := openDemo(t)
	samples, err := loadRows(t, tk, tpl, conversation, 0)
	if err != nil {
		t.Fatal(err)
	}
	last := &samples[0].Turns[1]
	last.End = last.Start + 1 // the first token of the right answer, not the end of the turn
	r, err := Run(t.Context(), m, PolicyFull, tk, samples, Options{MaxNewTokens: 32})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Answers[1].Text; got != "6528" {
		t.Errorf("answer %q, want that to the question, 6528", got)
	}
	if want := (Bounds{NearBelow: 256, FarAbove: 512}); r.Bounds != want {
		t.Errorf("bounds %+v, want those of the block under every policy, %+v", r.Bounds, want)
	}

	// Where nothing else ends an answer, what the template writes behind one does.
	e := &evaluation{model: m, tokenizer: tk, options: Options{MaxNewTokens: 32}}
	record, err := e.sample(t.Context(), samples[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := record.Answers[1].Text; got != "6528" {
		t.Errorf("answer %q, want its end where the template ends a turn", got)
	}

	ids := tk.Encode("Nathan: How is your family doing?\nMark: To open the attic, type", false)
	text := Sample{Accepted: [][]string{nil}}
	text.IDs = slices.Concat(ids, ids[:1])
	text.Turns = []data.Turn{{Start: len(ids), End: len(ids) + 1, Distance: -1}}
	if r, err = Run(t.Context(), m, PolicyFull, tk, []Sample{text}, Options{MaxNewTokens: 40}); err != nil {
		t.Fatal(err)
	}
	if r.Speed.WrittenTokens != 40 {
		t.Errorf("a text without an end was cut after %d tokens, want the 40 that were asked for: %q", r.Speed.WrittenTokens, r.Answers[0].Text)
	}
}

// TestGenerationIsBlind: under every policy, what is generated is the same whatever the right
// answer is, what else is accepted, and however long they are.
func TestGenerationIsBlind(t *testing.T) {
	m, tk, tpl := openDemo(t)
	samples, err := loadRows(t, tk, tpl, strings.Replace(question, `"none", "6528"`, `"6528"`, 1), 0)
	if err != nil {
		t.Fatal(err)
	}
	right := samples[0]
	prompt := right.IDs[:right.Turns[0].Start]
	for _, p := range Policies() {
		var want Record
		for i, other := range []string{"6528", "", "9", "It is 1234, and has been for as long as anybody can remember, they say."} {
			s := right
			s.Accepted = [][]string{{other}}
			s.IDs = slices.Concat(prompt, tk.Encode(other, false), right.IDs[len(right.IDs)-1:])
			s.Turns = []data.Turn{{Start: len(prompt), End: len(s.IDs), Message: right.Turns[0].Message, Distance: right.Turns[0].Distance}}
			var got Record
			if _, err := Run(t.Context(), m, p, tk, []Sample{s}, Options{MaxNewTokens: 12, Keep: func(r Record) error { got = r; return nil }}); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				want = got
			}
			if a, b := got.Answers[0], want.Answers[0]; a.Text != b.Text || got.WrittenTokens != want.WrittenTokens || a.PromptSHA256 != b.PromptSHA256 || a.Text == "" {
				t.Errorf("%s: %q in %d tokens where %q is right, %q in %d where 6528 is", p, a.Text, got.WrittenTokens, other, b.Text, want.WrittenTokens)
			}
			if i > 0 && got.Answers[0].NLL == want.Answers[0].NLL {
				t.Errorf("%s: the loss of %q is that of 6528", p, other)
			}
		}
	}
}

// sight is told how many of the last tokens a stream's last token sees, itself included,
// in a block without slots.
type sight struct {
	width, tokens int
}

func (s *sight) Layer(_ int, x []float32, p model.Past) {
	s.tokens = p.Attention.Past - p.Attention.SlotAt + len(x)/s.width
}
func (*sight) Output([]float32)                             {}
func (*sight) LogSums(int, int, int) []float32              { return nil }
func (*sight) Remember(int, []float32)                      {}
func (*sight) Write(int, model.Written, []int32, []float32) {}

// TestBounds reads inputs of many lengths and looks how many tokens are in sight where
// an answer would begin: never fewer than near, never as many as far, and all between.
func TestBounds(t *testing.T) {
	block := model.Spec{Sink: 3, Window: 8, Segment: 5, Positions: model.PositionsCompact, Memory: model.MemoryNone}
	bounds := BoundsOf(block)
	m := modeltest.Open(t, demo, block)
	first := block.Sink + block.Window + block.Segment + 1 // shorter ones run the base alone
	least, most := 1<<20, 0
	for n := first; n < first+4*block.Segment; n++ {
		s := &sight{width: m.Base.Dims.Hidden}
		if _, err := m.NewStream(model.StreamOptions{Tape: s}).Read(t.Context(), make([]int32, n), nil); err != nil {
			t.Fatal(err)
		}
		least, most = min(least, s.tokens), max(most, s.tokens)
	}
	if !bounds.Has(Near, bounds.NearBelow-1) || bounds.NearBelow-1 > least {
		t.Errorf("a fact %d tokens back is near, but only %d tokens may be in sight", bounds.NearBelow-1, least)
	}
	if !bounds.Has(Far, bounds.FarAbove+1) || bounds.FarAbove+1 <= most {
		t.Errorf("a fact %d tokens back is far, but %d tokens may be in sight", bounds.FarAbove+1, most)
	}
	if least != bounds.NearBelow+1 || most != bounds.FarAbove {
		t.Errorf("%d to %d tokens are in sight, want %d to %d", least, most, bounds.NearBelow+1, bounds.FarAbove)
	}
	if bounds.Has(Near, -1) || bounds.Has(Far, -1) || !bounds.Has(All, -1) || (Bounds{}).Has(Far, 1000) {
		t.Error("a fact whose place is not known is in a bucket, or not among all")
	}
}

func TestRunBucketsAndAcceptedAnswers(t *testing.T) {
	m, tk, tpl := openDemo(t)
	samples, err := loadRows(t, tk, tpl, question+question, 1)
	if err != nil || len(samples) != 1 {
		t.Fatalf("%d samples, %v; want the first one", len(samples), err)
	}
	r, err := Run(t.Context(), m, PolicyEISFT, tk, samples, Options{MaxNewTokens: 32})
	if err != nil {
		t.Fatal(err)
	}
	if near, all := r.Score(Near), r.Score(All); near.N != 1 || near.Metrics[MetricExactMatch] != 1 || all.Metrics[MetricExactMatch] != 1 {
		t.Errorf("scores %+v, want the second accepted answer, near", r.Scores)
	}
	if want := (Bounds{NearBelow: 256, FarAbove: 512}); r.Bounds != want {
		t.Errorf("bounds %+v, want those of the block, %+v", r.Bounds, want)
	}
	if d := r.Answers[0].Distance; d < 20 || d > 60 {
		t.Errorf("distance %d, want that of the line with the code", d)
	}
}

func TestRunIsCancelled(t *testing.T) {
	m, tk, tpl := openDemo(t)
	samples, err := loadRows(t, tk, tpl, conversation, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, m, PolicyFull, tk, samples, Options{MaxNewTokens: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestRefusals(t *testing.T) {
	m, tk, tpl := openDemo(t)
	if _, err := loadRows(t, tk, tpl, `{"text": "Only a text."}`, 0); err == nil || !strings.Contains(err.Error(), "rows.jsonl:line 1: the sample is a plain text") {
		t.Errorf("a plain text: error %v", err)
	}
	if _, err := WithPolicy(m, "ful"); err == nil || err.Error() != `policy is "ful"; did you mean "full"? It must be one of full, window, random, h2o, snapkv, pyramidkv, tova, keydiff, expected, infini, edgeinfinite, slots, eisft` {
		t.Errorf("an unknown policy: error %v", err)
	}
	none := Config{Data: data.One(filepath.Join(t.TempDir(), "none.parquet")), Policies: []Policy{PolicyFull}}
	if _, err := (&Job{Model: m, Tokenizer: tk, Template: tpl, Config: none}).Run(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing data: error %v", err)
	}
}

func TestWithPolicy(t *testing.T) {
	m, _, _ := openDemo(t)
	wide, long := model.WindowOnly(m.Spec), m.Spec
	wide.Window = 512 + 69 // that of the block, its slots, and the bytes of its memory and scores
	long.Sink, long.Window, long.Slots, long.Segment = 0, 0, 0, 8+256+256+256+4
	edge := m.Spec
	edge.Window, edge.Slots = 512+4, 0
	slots := wide
	slots.Window, slots.Slots = 256, 256+65 // without a memory's bytes
	tova := model.Spec{Slots: 8 + 256 + 256 + 65, Segment: 256, Positions: m.Spec.Positions, Memory: model.MemoryNone}
	pyramid := slots
	pyramid.Slots = 625 // of the first layer: 2·321 - 321/20
	expected := slots
	expected.Slots = 256 // statistics of queries are as large as this memory
	trained := []Policy{PolicyInfini, PolicyEdgeInfinite, PolicyEISFT}
	for p, want := range map[Policy]model.Spec{
		PolicyFull: model.FullAttention(256), PolicyWindow: wide, PolicyRandom: slots, PolicyH2O: slots, PolicySnapKV: slots,
		PolicyPyramidKV: pyramid, PolicyTOVA: tova, PolicyKeyDiff: tova, PolicyExpected: expected,
		PolicyInfini: long, PolicyEdgeInfinite: edge, PolicyEISFT: m.Spec,
	} {
		if got, err := WithPolicy(m, p); err != nil || !got.Spec.Equal(want) || got.Base != m.Base {
			t.Errorf("%s: %+v, %v; want %+v", p, got.Spec, err, want)
		}
		if p.Title() == string(p) || p.Trained() != slices.Contains(trained, p) {
			t.Errorf("%s: title %q, trained %v", p, p.Title(), p.Trained())
		}
	}
	if p := Policy("later"); p.Title() != "later" {
		t.Errorf("title %q of a policy that is not known, want its name", p.Title())
	}
}
