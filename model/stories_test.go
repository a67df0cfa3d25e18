package model_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/kernels"
	"eisft/model/tokenizer"
)

// storiesNLL is the mean negative log-likelihood of the five stories, in nats,
// as karpathy's run.c has it.
var storiesNLL = []float64{1.315989, 1.238555, 0.952234, 1.493450, 1.187921}

// TestStoriesNLL reads a real pretrained model and compares how well it
// predicts five stories, from their text on.
func TestStoriesNLL(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(testfiles.Golden(t, "stories260k"), "tinystories_sample.txt"))
	if err != nil {
		t.Fatal(err)
	}
	dir := testfiles.Golden(t, "stories260k/model")
	tk, err := tokenizer.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := openFull(t, dir)
	var stories []string
	for s := range strings.SplitSeq(string(text), "<|endoftext|>") {
		if s = strings.TrimSpace(s); s != "" {
			stories = append(stories, s)
		}
	}
	if len(stories) != len(storiesNLL) {
		t.Fatalf("%d stories, want %d", len(stories), len(storiesNLL))
	}
	for i, s := range stories {
		if got := nll(t, m, tk.Encode(s, true)); math.Abs(got-storiesNLL[i]) > 1e-3 {
			t.Errorf("story %d: %.6f nats a token, want %.6f", i, got, storiesNLL[i])
		}
	}
}

// nll returns the mean negative log-likelihood of each token after the first.
func nll(t *testing.T, m *model.Model, ids []int32) float64 {
	t.Helper()
	sum := 0.0
	err := m.NewStream(model.StreamOptions{}).Feed(t.Context(), ids, 0, func(first int, hidden []float32) error {
		rows, vocab := len(hidden)/m.Base.Dims.Hidden, m.Base.Head.Out
		logits := make([]float32, rows*vocab)
		m.Logits(logits, hidden)
		for r := range rows {
			if next := first + r + 1; next < len(ids) {
				row := logits[r*vocab : (r+1)*vocab]
				sum += float64(kernels.LogSumExp(row) - row[ids[next]])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum / float64(len(ids)-1)
}

// TestStoriesGreedy writes 256 tokens from the beginning-of-sequence token on.
func TestStoriesGreedy(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(testfiles.Golden(t, "stories260k"), "greedy256.ids"))
	if err != nil {
		t.Fatal(err)
	}
	var want []int32
	for _, word := range strings.Fields(string(text)) {
		id, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, int32(id))
	}
	m := openFull(t, testfiles.Golden(t, "stories260k/model"))
	st := m.NewStream(model.StreamOptions{})
	got := generate(t, st, []int32{int32(m.Base.Config.BOS)}, model.GenerateOptions{MaxNewTokens: len(want)})
	if len(want) != 256 || !slices.Equal(got, want) {
		t.Errorf("wrote %v, want %v", got, want)
	}
}
