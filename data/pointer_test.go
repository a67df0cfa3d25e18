package data

import (
	"os"
	"path/filepath"
	"testing"
)

// TestPointers: a data file of which Git LFS has brought the pointer alone.
func TestPointers(t *testing.T) {
	for _, name := range []string{"train.parquet", "train.jsonl", "train.jsonl.gz"} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 123456\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path, Options{})
		want := path + ": found a Git LFS pointer in the place of the file of 123456 bytes that it stands for: run git lfs pull in its folder, or download the file itself"
		if err == nil || err.Error() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}
