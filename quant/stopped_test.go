package quant

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestStoppedNames: the name of a model whose quantization was stopped may hold what stages' folders end with.
func TestStoppedNames(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		".a.partial", ".a.partial-promoted", ".b.partial.partial-variant", ".c.partial",
		".d.partial-other", ".e.partial-rank1", ".partial", "f.partial",
	} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, ".g.partial"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got, want := Stopped(dir), []string{"a", "b.partial", "c"}; !slices.Equal(got, want) {
		t.Errorf("stopped: %q, want %q", got, want)
	}
}
