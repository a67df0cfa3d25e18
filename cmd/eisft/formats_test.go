package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model"
)

// TestOlderFiles: what the program wrote when adapters did not name their weights, bases were
// known by a part of them and checkpoints were of version 1 is read, gone on with and renewed.
func TestOlderFiles(t *testing.T) {
	files, demo := testfiles.Golden(t, "formats"), testfiles.Repository(t, "model/demo")
	t.Chdir(t.TempDir())
	for to, from := range map[string]string{".": files, "base": demo} {
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	ok := func(args ...string) result {
		t.Helper()
		r := eisft(t, args...)
		if r.code != 0 {
			t.Errorf("eisft %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
		}
		return r
	}
	wantText := func(r result, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(r.stdout+r.stderr, w) {
				t.Errorf("no %q in\n%s%s", w, r.stdout, r.stderr)
			}
		}
	}
	wantText(ok("inspect", "runs/old"), "3 of 3", "what was gained", "269.691")
	ok("generate", "--run", "runs/old", "--prompt", "x", "--max-new-tokens", "1")
	wantText(ok("inspect", "runs/stopped"), "5 of 6", "training is not finished")
	// Its own configuration has the defaults of its time.
	wantText(ok("train", "--config", "runs/stopped/config.yaml", "--resume"), "6")
	wantText(ok("inspect", "runs/stopped"), "6 of 6")

	ok("adapter", "convert", "runs/old", "new")
	wantText(ok("adapter", "diff", "runs/old", "new"), "f4a7dba6cb09ac65e6153d8e24e771a0 and 2-", "equal tensors  10 of 10 that both have")
	text, err := os.ReadFile(filepath.Join("new", model.AdapterConfig))
	if err != nil || !strings.Contains(string(text), `"weights_sha256"`) {
		t.Errorf("the adapter does not name its weights (%v): %s", err, text)
	}
}
