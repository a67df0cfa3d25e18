package eval

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"eisft/data"
	"eisft/internal/ranks"
	"eisft/internal/ranks/rankstest"
)

// interviewJob asks two questions about one text, and one about another.
func interviewJob(t *testing.T, policies ...Policy) *Job {
	t.Helper()
	j := demoJob(t)
	j.Model.Spec.Sink, j.Model.Spec.Window, j.Model.Spec.Segment, j.Model.Spec.Slots = 4, 32, 32, 16
	j.Config.Policies = policies
	text := strings.Repeat("Nathan: How is your family doing?\nMark: To open the attic, type 6528.\n", 3) + "Nathan: To open the cellar, type 1234."
	rows := ""
	for i, where := range []string{"attic", "cellar", "attic"} {
		line, err := json.Marshal(map[string]any{"context": text + strings.Repeat("\nMark: No, not yet.", i/2), "input": fmt.Sprintf("Question: What is the door code for the %s?", where), "answers": []string{"6528"}, "depth": 0.9})
		if err != nil {
			t.Fatal(err)
		}
		rows += string(line) + "\n"
	}
	if err := os.WriteFile(j.Config.Data.String(), []byte(rows), 0o666); err != nil {
		t.Fatal(err)
	}
	return j
}

// TestBegun: what questions about one text have in common is read once, and answers are those
// of reading it each time; to intervals these questions are one conversation.
func TestBegun(t *testing.T) {
	j := interviewJob(t, PolicyFull, PolicyEISFT, PolicyExpected)
	samples, err := j.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range j.Config.Policies {
		read := func(list []Sample) *Result {
			r, err := Run(t.Context(), j.Model, p, j.Tokenizer, list, Options{MaxNewTokens: 8})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		once := read(samples)
		for i, s := range samples[:2] {
			alone := read([]Sample{s})
			a, b := once.Answers[i], alone.Answers[0]
			if diff := a.NLL - b.NLL; diff > 1e-3 || diff < -1e-3 {
				t.Errorf("%s: the loss of answer %d is %g, alone %g", p, i, a.NLL, b.NLL)
			}
			a.NLL, b.NLL = 0, 0
			if !reflect.DeepEqual(a, b) {
				t.Errorf("%s: answer %d is %+v, alone %+v", p, i, a, b)
			}
		}
		all := len(samples[0].IDs) + len(samples[1].IDs) + len(samples[2].IDs)
		if saved := all - once.Speed.ReadTokens; saved < samples[1].Turns[0].Start-40 || saved > samples[1].Turns[0].Start {
			t.Errorf("%s: %d of %d tokens were read", p, once.Speed.ReadTokens, all)
		}
		if s := once.Score(All); s.N != 3 || s.Rows != 2 {
			t.Errorf("%s: %d questions about %d texts, want 3 about 2", p, s.N, s.Rows)
		}
	}
	// A text that would be held back is not read apart from what makes it too long.
	e := &evaluation{model: j.Model, tokenizer: j.Tokenizer}
	short, long := samples[0], samples[0]
	short.Turns, long.Turns = []data.Turn{{Start: 68, End: 70}}, []data.Turn{{Start: 69, End: 70}}
	for _, c := range []struct {
		a, b Sample
		want int
	}{{short, short, 67}, {short, long, 0}, {long, long, 0}} {
		if _, n, err := e.begin(t.Context(), c.a, []Sample{c.b}); err != nil || n != c.want {
			t.Errorf("%d tokens of prompts of %d and %d were read apart, %v; want %d", n, c.a.Turns[0].Start, c.b.Turns[0].Start, err, c.want)
		}
		e.begun = begun{}
	}
}

// TestBegunByRanks: questions about one text are answered by one rank, which reads it once; the
// answers are those of one process.
func TestBegunByRanks(t *testing.T) {
	j := interviewJob(t, PolicyEISFT)
	samples, err := j.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	read := func(g ranks.Group) *Result {
		r, err := Run(t.Context(), j.Model, PolicyEISFT, j.Tokenizer, samples, Options{MaxNewTokens: 4, Group: g})
		if err != nil {
			t.Error(err)
			return &Result{}
		}
		return r
	}
	alone := read(nil)
	rankstest.Run(2, func(g ranks.Group) {
		r := read(g)
		if r.Speed.ReadTokens != alone.Speed.ReadTokens || !reflect.DeepEqual(r.Answers, alone.Answers) {
			t.Errorf("rank %d: %d tokens read, %d by one process; answers %+v, want %+v", g.Rank(), r.Speed.ReadTokens, alone.Speed.ReadTokens, r.Answers, alone.Answers)
		}
	})
	for size, want := range map[int][][]int{1: {{0}, {1}, {3}}, 2: {{0, 1}, {3}}} {
		if got := shares([]int{0, 1, 3}, size, func(row, next int) bool { return row/2 == next/2 }); !reflect.DeepEqual(got, want) {
			t.Errorf("%d ranks read %v, want %v", size, got, want)
		}
	}
}

// TestBudgets: policies read at all budgets, full attention once, each is compared at its own,
// and the page draws recall by budget.
func TestBudgets(t *testing.T) {
	j := interviewJob(t, PolicyFull, PolicyKeyDiff, PolicyEISFT)
	j.Config.Budgets = []int{8 * (36 + 4), 8*(36+8) + 3}
	r := run(t, j)
	var got []string
	for _, result := range r.Results {
		got = append(got, fmt.Sprintf("%s %d", result.Title(), result.Budget.Tokens))
	}
	want := []string{"full 0", "keydiff, 320 tokens 835", "eisft, 320 tokens 320", "keydiff, 355 tokens 867", "eisft, 355 tokens 352"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("results %q, want %q", got, want)
	}
	if n := len(r.Differences); n != 4 || r.Differences[3].Of != "eisft, 355 tokens" || r.Differences[3].Against != "full" {
		t.Errorf("%d differences: %+v", n, r.Differences)
	}
	if page := readText(t, j, PageFile); !strings.Contains(page, "Recall by budget") || !strings.Contains(page, "keydiff, 355 tokens: ") || !strings.Contains(page, "full, not bounded: ") {
		t.Error("the page does not draw recall by budget")
	}
	k, err := ReadKept(j.Dir)
	if err != nil || len(k.Records) != 15 || k.Report(PolicyFull).Results[4].Budget != r.Results[4].Budget || k.Report(PolicyFull).Results[4].Asked != 355 {
		t.Errorf("%d records, %v", len(k.Records), err)
	}
	for i := range k.Records {
		k.Records[i].Answers[0].Where = fmt.Sprint(i) // as of several commands, run in several places
	}
	k.Settings.Samples, k.Settings.Policies = 1, []Policy{PolicyKeyDiff, PolicyFull}
	if few := k.Report(PolicyFull); len(few.Results) != 3 || len(few.Differences) != 2 || len(few.Differences[1].Buckets) == 0 || few.Results[1].Score(All).N != 1 || few.Differences[1].Buckets[0].N != 1 {
		t.Errorf("of one row and two policies: %+v", few.Results)
	}
	k.Settings.Samples, k.Settings.Policies, k.Settings.Budgets = 0, j.Config.Policies, j.Config.Budgets[:1]
	if few := k.Report(PolicyFull); len(few.Results) != 3 || few.Results[2].Title() != "eisft, 320 tokens" {
		t.Errorf("of one budget: %+v", few.Results)
	}
	j.Against, j.Dir = PolicyKeyDiff, ""
	if r = run(t, j); len(r.Differences) != 3 || r.Differences[0].Against != "keydiff, 320 tokens" || r.Differences[2].Against != "keydiff, 355 tokens" || r.Differences[1].Against != "keydiff, 320 tokens" {
		t.Errorf("differences %+v", r.Differences)
	}
	for n, want := range map[int]string{
		295: "budget: a budget of 295 tokens leaves no slot: sinks and windows take 288 over all layers, and 8 layers have slots; give 296 or more",
	} {
		j.Config.Budgets = []int{n}
		if _, err := j.Run(t.Context()); err == nil || err.Error() != want {
			t.Errorf("budget %d: %v, want %s", n, err, want)
		}
	}
}

// TestSlotsAlone: without its memory a block is what it is without one, and keeps its budget of
// tokens in fewer bytes.
func TestSlotsAlone(t *testing.T) {
	j := interviewJob(t, PolicyEISFT, PolicySlots)
	for _, l := range j.Model.Params.Layers { // a memory that is heard
		for i := range l.Gate[0].Data {
			l.Gate[0].Data[i] += 4
		}
	}
	r := run(t, j)
	with, without := r.Results[0], r.Results[1]
	if without.Budget.Tokens != with.Budget.Tokens || without.Budget.Bytes >= with.Budget.Bytes {
		t.Errorf("budgets %+v and %+v", without.Budget, with.Budget)
	}
	bare, err := j.Model.WithoutMemory()
	if err != nil {
		t.Fatal(err)
	}
	j.Model, j.Dir, j.Config.Policies = bare, "", []Policy{PolicyEISFT}
	own := run(t, j).Results[0]
	if with.Score(All).NLL == without.Score(All).NLL || own.Score(All).NLL != without.Score(All).NLL {
		t.Errorf("losses %g with a memory, %g without, %g of a block that has none", with.Score(All).NLL, without.Score(All).NLL, own.Score(All).NLL)
	}
}
