package sharedtest

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPath(t *testing.T) {
	top := t.TempDir()
	golden := filepath.Join(top, "shared", "golden")
	below := filepath.Join(top, "checkout", "model", "hf")
	for _, dir := range []string{golden, below} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}

	t.Run("environment", func(t *testing.T) {
		t.Setenv("EISFT_SHARED", filepath.Join(top, "shared"))
		if got := Path(t, "golden"); got != golden {
			t.Errorf("Path = %s, want %s", got, golden)
		}
	})
	t.Run("parents", func(t *testing.T) {
		t.Setenv("EISFT_SHARED", "")
		t.Chdir(below)
		got, err := os.Stat(Path(t, "golden"))
		if err != nil {
			t.Fatal(err)
		}
		if want, _ := os.Stat(golden); !os.SameFile(got, want) {
			t.Errorf("found another folder than %s", golden)
		}
	})
	t.Run("absent", func(t *testing.T) {
		t.Setenv("EISFT_SHARED", filepath.Join(top, "shared"))
		t.Run("skips", func(t *testing.T) {
			defer func() {
				if !t.Skipped() {
					t.Error("an absent file did not skip the test")
				}
			}()
			Path(t, "no/such/file")
		})
	})
}
