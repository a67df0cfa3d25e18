package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/export/ort/orttest"
	"eisft/internal/testfiles"
)

// inCache moves a folder's files into the layout of Hugging Face's cache, where a snapshot
// is links to blobs that are named by their hash, and returns its root.
func inCache(t *testing.T, dir string, revisions ...string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "models--org--name")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range append([]string{"blobs", "refs"}, revisions...) {
		if sub != "blobs" && sub != "refs" {
			sub = filepath.Join("snapshots", sub)
		}
		if err := os.MkdirAll(filepath.Join(root, sub), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		blob := filepath.Join("blobs", hex.EncodeToString(sum[:]))
		if err := os.WriteFile(filepath.Join(root, blob), data, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, revision := range revisions {
			if err := os.Symlink(filepath.Join("..", "..", blob), filepath.Join(root, "snapshots", revision, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
}

// TestSlowLinkedExport: an exported folder that is links, as in Hugging Face's cache, is checked,
// inspected and run as one that is files.
func TestSlowLinkedExport(t *testing.T) {
	testfiles.Slow(t)
	orttest.Require(t)
	runFolder(t)
	out := filepath.Join("runs", "latest", "export", "32x84")
	if r := eisft(t, "export", "--shape", "32x84", "--verify=false", "--golden=false"); r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	linked := filepath.Join(inCache(t, out, "rev"), "snapshots", "rev")
	for _, command := range [][]string{{"check", "--run", "runs/latest"}, {"inspect"}} {
		want, got := eisft(t, append(command, out)...), eisft(t, append(command, linked)...)
		if got.code != 0 || strings.ReplaceAll(got.stdout, linked, out) != want.stdout {
			t.Errorf("%s: exit code %d, %s%s", command, got.code, got.stdout, got.stderr)
		}
	}
	arguments := []string{"--prompt", "The room is blue. What is blue?", "--max-new-tokens", "8"}
	want := eisft(t, append([]string{"run", "--graph", out}, arguments...)...)
	got := eisft(t, append([]string{"run", "--graph", linked}, arguments...)...)
	if got.code != 0 || got.stdout != want.stdout || len(got.stdout) < 2 {
		t.Errorf("the graphs answer %q (exit code %d, %s), the files %q", got.stdout, got.code, got.stderr, want.stdout)
	}
}
