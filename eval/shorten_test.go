package eval

import (
	"slices"
	"strings"
	"testing"
)

// TestMaxTokens: samples are shortened by their last turns, those of which nothing stays are
// left out, and both are said; answers of other lengths are not mixed with those from before.
func TestMaxTokens(t *testing.T) {
	j := demoJob(t)
	whole, err := j.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var notes []string
	j.Note = func(n string) { notes = append(notes, n) }
	j.Config.MaxTokens = len(whole[1].IDs) - 1
	if n := max(len(whole[0].IDs), len(whole[2].IDs)); n > j.Config.MaxTokens {
		t.Fatalf("the rows of one question have up to %d tokens, the other one %d", n, len(whole[1].IDs))
	}
	short, err := j.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(short) != 3 || len(short[1].Turns) != 1 || len(short[1].IDs) > j.Config.MaxTokens || len(short[0].Turns) != 1 {
		t.Errorf("%d samples, of which the second has %d tokens and %d turns", len(short), len(short[1].IDs), len(short[1].Turns))
	}
	j.Config.MaxTokens = len(whole[0].IDs) // which is the shortest
	left, err := j.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 || len(left[0].IDs) != len(whole[0].IDs) {
		t.Errorf("%d samples, want the first one", len(left))
	}
	if len(notes) != 2 || !strings.Contains(notes[0], "0 rows and 1 later answers of others lie beyond eval.max_tokens") || !strings.Contains(notes[1], "2 rows and 0 later") {
		t.Errorf("notes %q", notes)
	}
	j.Config.MaxTokens = 3
	if _, err := j.load(t.Context()); err == nil || !strings.Contains(err.Error(), "none of 3 rows has an answer within eval.max_tokens (3); raise it") {
		t.Errorf("error %v", err)
	}
	s := Settings{MaxTokens: 3}
	if d := s.differences(&Settings{}); len(d) != 1 || d[0] != "max_tokens was 0 and is 3" {
		t.Errorf("differences %q", d)
	}
}

// TestWithinContext: full attention of samples that are longer than the base was trained for
// is left out where that is asked for, and said.
func TestWithinContext(t *testing.T) {
	j := demoJob(t)
	samples, err := j.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	longest := 0
	for _, s := range samples {
		longest = max(longest, len(s.IDs))
	}
	trained := &j.Model.Base.Config.MaxPositionEmbeddings
	defer func(was int) { *trained = was }(*trained)
	for _, tc := range []struct {
		within  bool
		trained int
		want    []Policy
	}{
		{true, longest, []Policy{PolicyFull, PolicyWindow}},
		{true, longest - 1, []Policy{PolicyWindow}},
		{false, longest - 1, []Policy{PolicyFull, PolicyWindow}},
	} {
		*trained = tc.trained
		one, notes := *j, 0
		one.WithinContext, one.Note = tc.within, func(string) { notes++ }
		one.withinContext(samples)
		if !slices.Equal(one.Config.Policies, tc.want) || (notes == 1) != (len(tc.want) == 1) {
			t.Errorf("%+v: policies %v, %d notes", tc, one.Config.Policies, notes)
		}
	}
}
