package eval

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"eisft/data"
	"eisft/internal/ranks"
	"eisft/internal/ranks/rankstest"
	"eisft/model"
)

func TestPlaces(t *testing.T) {
	part := 0
	for at := 1; at < 5000; at++ {
		if p := partOf(at); p != part {
			if part++; p != part || at&(at-1) != 0 {
				t.Fatalf("part %d begins at %d", p, at)
			}
		}
		if from, to := places(part); at < from || at > to {
			t.Fatalf("%d is not from %d to %d", at, from, to)
		}
	}
	if part != 6 { // 1-127, 128-255, 256-511, 512-1023, 1024-2047, 2048-4095, 4096-
		t.Errorf("5000 tokens have the parts 0 to %d", part)
	}
}

// textsJob evaluates two texts of the demo's conversations.
func textsJob(t *testing.T, policies ...Policy) (*Job, []data.Encoded) {
	t.Helper()
	m, tk, tpl := openDemo(t)
	m.Spec.Sink, m.Spec.Window, m.Spec.Segment, m.Spec.Slots = 4, 64, 64, 0
	path := filepath.Join(t.TempDir(), "texts.jsonl")
	long := strings.Repeat("Nathan: How is your family doing?\nMark: To open the attic, type 6528.\n", 20)
	rows := ""
	for _, text := range []string{long, "Mark: " + long[:600]} {
		line, err := json.Marshal(map[string]string{"text": text})
		if err != nil {
			t.Fatal(err)
		}
		rows += string(line) + "\n"
	}
	if err := os.WriteFile(path, []byte(rows), 0o666); err != nil {
		t.Fatal(err)
	}
	j := &Job{Model: m, Tokenizer: tk, Template: tpl, Config: Config{Data: data.One(path), Policies: policies}, Stream: model.StreamOptions{NoRouting: true}}
	list, err := j.texts(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("%d texts, %v", len(list), err)
	}
	return j, list
}

// TestTexts: the losses by position are those of the texts' tokens, each counted once and in
// its place, and compared on the same tokens.
func TestTexts(t *testing.T) {
	j, list := textsJob(t, PolicyWindow, PolicyFull)
	r, err := j.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range r.Texts {
		m, err := WithPolicy(j.Model, got.Policy)
		if err != nil {
			t.Fatal(err)
		}
		var nll, behind float64
		tokens := 0
		for _, text := range list {
			all, err := Text(t.Context(), m, j.Stream, text, 0)
			if err != nil {
				t.Fatal(err)
			}
			from, err := Text(t.Context(), m, j.Stream, text, 128)
			if err != nil {
				t.Fatal(err)
			}
			nll, tokens, behind = nll+all.NLL, tokens+all.Tokens, behind+from.NLL
		}
		if got.All.Tokens != tokens || math.Abs(got.All.NLL*float64(tokens)-nll) > 1e-6*nll {
			t.Errorf("%s: %+v, want %g of %d tokens", got.Policy, got.All, nll, tokens)
		}
		first := got.Positions[0]
		if first.From != 1 || first.To != 127 || first.Tokens != 2*127 || math.Abs(first.NLL*float64(first.Tokens)-(nll-behind)) > 1e-3*nll {
			t.Errorf("%s: the first tokens %+v, want %g", got.Policy, first, nll-behind)
		}
		if full := got.Policy == PolicyFull; full != (got.All.Change == nil) || got.All.Interval == nil {
			t.Errorf("%s: change %+v, interval %+v", got.Policy, got.All.Change, got.All.Interval)
		}
	}
	window, full := r.Texts[0], r.Texts[1]
	if window.Positions[0].NLL != full.Positions[0].NLL {
		if c := window.Positions[0].Change.Difference.Value; math.Abs(c-(window.Positions[0].Perplexity/full.Positions[0].Perplexity-1)) > 1e-9 {
			t.Errorf("change %g", c)
		}
	}
	var out strings.Builder
	if err := r.WriteTable(&out); err != nil || !strings.Contains(out.String(), "perplexity of plain texts by position\npolicy  texts  tokens  tokens kept  bytes ") || !strings.Contains(out.String(), "perplexity against full\n") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestTextsKept: texts that were read are not read again, others are, seeds are means, and two
// evaluations are compared text by text.
func TestTextsKept(t *testing.T) {
	j, _ := textsJob(t, PolicyWindow, PolicyRandom)
	j.Model.Spec.Slots = 16
	var err error
	if j.Model, err = j.Model.WithoutMemory(); err != nil { // whose bytes would hold all of the texts
		t.Fatal(err)
	}
	write(t, j.Config.Data.String(), `{"text": "`+strings.Repeat("Mark: To open the attic, type 6528. ", 18)+`"}
{"text": "`+strings.Repeat("Nathan: How is your family doing? ", 22)+`"}
`)
	j.Dir, j.Version, j.Seeds = filepath.Join(t.TempDir(), "a"), "v1", 2
	want := run(t, j)
	if want.Texts[1].Seeds != 2 || want.Texts[1].Title() != "random, 2 seeds" || want.Texts[1].Budget.Tokens != 8*(4+64+16) {
		t.Errorf("texts %+v", want.Texts[1])
	}
	k, err := ReadKept(j.Dir)
	if err != nil || len(k.Records) != 6 || k.Records[3].Text.Positions[0].NLL == k.Records[5].Text.Positions[0].NLL && k.Records[3].Text.Positions[1] == k.Records[5].Text.Positions[1] {
		t.Fatalf("%d records, %v; want 6, and seeds that differ", len(k.Records), err)
	}
	mean := 0.0
	for _, r := range k.Records[2:] {
		mean += r.Text.Positions[1].NLL / 2
	}
	if got := want.Texts[1].Positions[1]; k.Records[3].Row != 1 || k.Records[4].Seed != 1 || math.Abs(got.NLL*float64(got.Tokens)-mean) > 1e-6*mean {
		t.Errorf("the loss of two seeds %+v is not the mean of %+v", got, k.Records)
	}
	text := readText(t, j, RecordsFile)
	first := strings.Index(text, "\n") + 1
	write(t, filepath.Join(j.Dir, RecordsFile), text[:first]+text[first:first+20])
	again := run(t, j)
	for i := range want.Texts {
		if again.Texts[i].All != want.Texts[i].All && (again.Texts[i].All.NLL != want.Texts[i].All.NLL || again.Texts[i].Seeds != want.Texts[i].Seeds) {
			t.Errorf("after it went on: %+v, want %+v", again.Texts[i].All, want.Texts[i].All)
		}
	}
	page := readText(t, j, PageFile)
	for _, part := range []string{"Perplexity of plain texts by position", "Perplexity against window", "Perplexity by position", "random, 2 seeds, 128-255: ", "Cost: seconds"} {
		if !strings.Contains(page, part) {
			t.Errorf("the page does not contain %s", part)
		}
	}
	if strings.Contains(page, "Examples") {
		t.Error("the page of texts has examples")
	}
	was := j.Dir
	j.Dir = filepath.Join(t.TempDir(), "b")
	j.Model.Spec.Slots = 32
	run(t, j)
	c, err := Compare(was, j.Dir)
	if err != nil || len(c.Texts) != 2 || c.Texts[0].All.Change.Difference.Value >= 0 || c.Texts[1].Texts != 2 {
		t.Errorf("%v, comparison %+v", err, c)
	}
	var out strings.Builder
	if err := c.WriteTable(&out); err != nil || !strings.Contains(out.String(), "perplexity of plain texts, ") {
		t.Errorf("%v\n%s", err, out.String())
	}
	edited := strings.Replace(text, `"sha256":"`, `"sha256":"00`, 1)
	write(t, filepath.Join(was, RecordsFile), edited)
	if _, err := ReadKept(was); err == nil || !strings.Contains(err.Error(), "line 1: text: sha256 is ") {
		t.Errorf("a record with another hash: %v", err)
	}
}

// TestRanksReadTexts: ranks divide texts among them, find the losses of one process, and rank 0
// keeps them in the same order.
func TestRanksReadTexts(t *testing.T) {
	alone, _ := textsJob(t, PolicyFull, PolicyWindow)
	alone.Dir = filepath.Join(t.TempDir(), "alone")
	want := run(t, alone)
	text, err := os.ReadFile(alone.Config.Data.String())
	if err != nil {
		t.Fatal(err)
	}
	dir, other := filepath.Join(t.TempDir(), "ranks"), filepath.Join(t.TempDir(), "other.jsonl") // where rank 1 reads
	if err := os.WriteFile(other, text, 0o666); err != nil {
		t.Fatal(err)
	}
	rankstest.Run(2, func(g ranks.Group) {
		j := *alone
		if j.Group, j.Dir = g, ""; g.Rank() == 0 {
			j.Dir = dir
		} else {
			j.Config.Data = data.One(other)
		}
		for range 2 { // the second time all is there
			r, err := j.Run(t.Context())
			if err != nil {
				t.Errorf("rank %d: %v", g.Rank(), err)
				return
			}
			if d := cmp.Diff(want.Texts, r.Texts); d != "" {
				t.Errorf("rank %d (- one process, + ranks):\n%s", g.Rank(), d)
			}
		}
	})
	read := func(dir string, ranks int) (rows []string) {
		k, err := ReadKept(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range k.Records {
			if got, want := strings.HasPrefix(r.Text.Where, other), r.Row%ranks == 1; got != want {
				t.Errorf("%d ranks: row %d was read from %s", ranks, r.Row, r.Text.Where)
			}
			rows = append(rows, fmt.Sprint(r.Policy, r.Row, r.Text.SHA256, r.Text.Positions))
		}
		return rows
	}
	if d := cmp.Diff(read(alone.Dir, 1), read(dir, 2)); d != "" {
		t.Errorf("records differ (- one process, + ranks):\n%s", d)
	}
}

func TestShortText(t *testing.T) {
	j, _ := textsJob(t, PolicyFull)
	if err := os.WriteFile(j.Config.Data.String(), []byte(`{"text": "a"}`), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := j.Run(t.Context())
	if want := "line 1: the text has 1 tokens; two are the fewest of which one is predicted"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}
