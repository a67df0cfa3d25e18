package eval

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/data"
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
	j := &Job{Model: m, Tokenizer: tk, Template: tpl, Config: Config{Data: path, Policies: policies}, Stream: model.StreamOptions{NoRouting: true}}
	list, err := j.texts()
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
	if err := r.WriteTable(&out); err != nil || !strings.Contains(out.String(), "perplexity of plain texts by position\npolicy  texts  tokens  all ") || !strings.Contains(out.String(), "perplexity against full\n") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestShortText(t *testing.T) {
	j, _ := textsJob(t, PolicyFull)
	if err := os.WriteFile(j.Config.Data, []byte(`{"text": "a"}`), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := j.Run(t.Context())
	if want := "line 1: the text has 1 tokens; two are the fewest of which one is predicted"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}
