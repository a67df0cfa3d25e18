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
	"eisft/model/hf"
	"eisft/model/kernels"
)

// TestFilesOfLlamaCpp reads files that llama.cpp wrote and compares the logits after a prompt and
// the tokens that follow, greedily, with what llama.cpp makes of the same numbers in float32. Every
// key of theirs is used or known to be harmless.
func TestFilesOfLlamaCpp(t *testing.T) {
	t.Run("repository", func(t *testing.T) { compareWithLlamaCpp(t, testfiles.Golden(t, "gguf")) })
	t.Run("shared", func(t *testing.T) { compareWithLlamaCpp(t, testfiles.Shared(t, "cases/gguf")) })
}

func compareWithLlamaCpp(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.gguf"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", dir, len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(file, ".gguf")
		t.Run(filepath.Base(name), func(t *testing.T) {
			want := readLlamaCppCase(t, name+".txt")
			wantKnownKeys(t, file)
			m := openFull(t, file)
			st := m.NewStream(model.StreamOptions{})
			vocab := m.Base.Head.Out
			logits := logitsAfter(t, m, st, tokens(want["prompt"]))
			logits = logits[len(logits)-vocab:]
			// 256 numbers with 6 digits: as exact as they are, and as sums in another order leave them
			near(t, 2e-5)("logits", logits, want["logits_after_prompt"])
			var greedy []int32
			for range want["greedy_exact"] {
				next := int32(kernels.ArgMax(logits))
				greedy = append(greedy, next)
				logits = logitsAfter(t, m, st, []int32{next})
			}
			if !slices.Equal(greedy, tokens(want["greedy_exact"])) {
				t.Errorf("greedy tokens %v, want %v", greedy, want["greedy_exact"])
			}
		})
	}
}

func wantKnownKeys(t *testing.T, file string) {
	t.Helper()
	c, err := hf.LoadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range c.Keys {
		if k.Use != hf.KeyUsed && k.Use != hf.KeyIgnored {
			t.Errorf("key %+v", k)
		}
	}
}

// readLlamaCppCase reads lines of a name and numbers.
func readLlamaCppCase(t *testing.T, path string) map[string][]float32 {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]float32{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		for _, f := range fields[1:] {
			x, err := strconv.ParseFloat(f, 32)
			if err != nil {
				t.Fatalf("%s: %s: %v", path, fields[0], err)
			}
			all[fields[0]] = append(all[fields[0]], float32(x))
		}
	}
	return all
}

func tokens(ids []float32) []int32 {
	out := make([]int32, len(ids))
	for i, id := range ids {
		out[i] = int32(math.Round(float64(id)))
	}
	return out
}
