package relpath

import (
	"os"
	"path/filepath"
	"testing"
)

// TestFrom: what a file names is found through the folder's real path and through links.
func TestFrom(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := func(path string) string { return filepath.Join(root, filepath.FromSlash(path)) }
	for _, dir := range []string{"project/runs-here/nano", "project/model", "disk/deep/runs/nano", "disk/deep/runs/data"} {
		if err := os.MkdirAll(at(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"project/runs": "../disk/deep/runs", "linked": "project"} {
		if err := os.Symlink(filepath.FromSlash(to), at(link)); err != nil {
			t.Skip(err)
		}
	}
	for _, c := range []struct{ dir, target, want string }{
		{"project/runs-here/nano", "project/model", "../../model"},
		{"project/runs/nano", "project/model", at("project/model")}, // relative it would be disk/model
		{"project/runs/nano", "project/runs/data", "../data"},
		{"linked/runs-here/nano", "linked/model", "../../model"}, // the link is above both
		{"project/runs-here/nano", "project/gone", "../../gone"},
		{"project/runs/nano", "project/gone", at("project/gone")},
	} {
		got, err := From(at(c.dir), at(c.target))
		if err != nil || filepath.ToSlash(got) != filepath.ToSlash(c.want) {
			t.Errorf("From(%s, %s) = %s, %v, want %s", c.dir, c.target, got, err, c.want)
		}
		if c.target == "project/gone" {
			continue
		}
		real, err := filepath.EvalSymlinks(at(c.dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{at(c.dir), real} {
			if found := Of(dir, got); !SameFile(found, at(c.target)) {
				t.Errorf("%s in %s leads to %s, want %s", got, dir, found, c.target)
			}
		}
	}
}
