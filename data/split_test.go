package data_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"eisft/data"
)

// questions writes rows with n contexts, two questions about each.
func questions(n int) string {
	var rows strings.Builder
	for i := range n {
		for _, q := range []string{"who", "when"} {
			fmt.Fprintf(&rows, `{"context":"report %d","input":"%s","answers":["%s %d"]}`+"\n", i, q, q, i)
		}
	}
	return rows.String()
}

// sides splits a file and returns what the rows of each side are about.
func sides(t *testing.T, content string, share data.Share) (train, held []string) {
	t.Helper()
	s, err := data.Open(write(t, "a.jsonl", []byte(content)), data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	a, b, err := s.Split(t.Context(), share)
	if err != nil {
		t.Fatal(err)
	}
	read := func(s *data.Source) (all []string) {
		for i := range s.Len() {
			sample, err := s.At(i)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, sample.Context)
		}
		return all
	}
	return read(a), read(b)
}

// TestSplit holds out about the share; all rows about a text are on one side, and stay there
// whatever is added, left out or moved.
func TestSplit(t *testing.T) {
	const n = 500
	all := questions(n)
	train, held := sides(t, all, 0.1)
	if got := float64(len(held)) / (2 * n); math.Abs(got-0.1) > 0.04 { // three standard deviations of 500 texts
		t.Errorf("%.3f of the rows are held out, want 0.1", got)
	}
	if len(train)+len(held) != 2*n || len(held)%2 != 0 {
		t.Errorf("%d and %d rows", len(train), len(held))
	}
	for _, context := range held {
		if slices.Contains(train, context) {
			t.Errorf("%s is on both sides", context)
		}
	}
	lines := strings.SplitAfter(strings.TrimSpace(all), "\n")
	slices.Reverse(lines)
	lines[0] += "\n"
	_, other := sides(t, strings.Join(lines[:2*n-100], "")+strings.ReplaceAll(all, "report", "paper"), 0.1)
	for _, context := range other {
		if strings.HasPrefix(context, "report") && !slices.Contains(held, context) {
			t.Errorf("%s has changed its side", context)
		}
	}
	for _, context := range held[100:] { // without those that were left out
		if !slices.Contains(other, context) {
			t.Errorf("%s has changed its side", context)
		}
	}
	more, _ := sides(t, all, 0.3)
	for _, context := range held {
		if slices.Contains(more, context) {
			t.Errorf("%s is held out of 10%%, and not of 30%%", context)
		}
	}
}

// TestSplitEmpty: a side without rows is an error that says so.
func TestSplitEmpty(t *testing.T) {
	for share, want := range map[data.Share]string{0.0001: "a share of 0.01% held out of 4 rows leaves none to evaluate on", 0.9999: "leaves none to train on"} {
		s, err := data.Open(write(t, "a.jsonl", []byte(questions(2))), data.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Split(t.Context(), share); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		_ = s.Close()
	}
}

// TestSplitUnread: where nothing is held out because rows cannot be read, the error says why.
func TestSplitUnread(t *testing.T) {
	s, err := data.Open(write(t, "a.jsonl", []byte(questions(2))), data.Options{Prompt: "{context}"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, _, err := s.Split(t.Context(), 0.5); err == nil || !strings.Contains(err.Error(), "nothing can be held out: 4 of 4 rows cannot be read, the first of them: ") {
		t.Errorf("%v", err)
	}
}

func TestShare(t *testing.T) {
	for text, want := range map[string]data.Share{"5%": 0.05, "5 %": 0.05, "0.05": 0.05, "0": 0, "12.5%": 0.125, "1e-2": 0.01} {
		var got data.Share
		if err := yaml.Unmarshal([]byte(text), &got); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, float64(got), err)
		}
		written, err := yaml.Marshal(got)
		var again data.Share
		if err != nil || yaml.Unmarshal(written, &again) != nil || again != got {
			t.Errorf("%s: written as %s", text, written)
		}
	}
	for _, text := range []string{"", "x", "100%", "1", "-1%", "nan", "5%%", "inf"} {
		if got, err := data.ParseShare(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func FuzzShare(f *testing.F) {
	f.Add("5%")
	f.Add("0.05")
	f.Fuzz(func(t *testing.T, text string) {
		share, err := data.ParseShare(text)
		if err == nil && !(share >= 0 && share < 1) {
			t.Errorf("%q is %v", text, float64(share))
		}
	})
}
