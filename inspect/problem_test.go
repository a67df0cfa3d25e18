package inspect_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/inspect"
	"eisft/internal/testfiles"
)

// TestDamagedGGUF: a .gguf file is configuration, weights and tokenizer; what is wrong with it
// is said once.
func TestDamagedGGUF(t *testing.T) {
	found, err := filepath.Glob(filepath.Join(testfiles.Golden(t, "gguf"), "*.gguf"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no .gguf file (%v)", err)
	}
	whole, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.gguf")
	for _, n := range []int{100, 3000, 20000} {
		write(t, path, string(whole[:n]))
		r, err := inspect.Path(t.Context(), path, inspect.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Problems) != 1 {
			t.Errorf("of %d bytes: %q", n, r.Problems)
		}
	}
}

// TestConfiguration: a configuration is described, and what it names must be there.
func TestConfiguration(t *testing.T) {
	r, got := describe(t, "../configs/s-sft.yaml", inspect.Options{})
	wantText(t, got, "s-sft.yaml: configuration", "stages", "distill", "prune", "512 slots")
	if r.Err() != nil {
		t.Error(got)
	}
	path := filepath.Join(t.TempDir(), "c.yaml")
	write(t, path, "model: {path: nowhere}\ndata: {train: none.jsonl}\nstages: [{kind: s-sft}]\n")
	r, got = describe(t, path, inspect.Options{})
	wantText(t, got, "model.path: ", "data.train: ", "no such file")
	if r.Err() == nil {
		t.Error(got)
	}
	write(t, path, "mdl: {}\n")
	if _, got = describe(t, path, inspect.Options{}); !strings.Contains(got, "model") {
		t.Error(got)
	}
}
