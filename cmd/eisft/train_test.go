package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eisft/train/config"
	"eisft/train/runs"
)

// trainingFolder makes a folder with a configuration of one stage, s.yaml, that
// trains on the demo base in a moment, and returns it. held.jsonl has other texts.
func trainingFolder(t *testing.T, steps int) string {
	t.Helper()
	dir := t.TempDir()
	base, err := filepath.Abs("../../model/demo")
	if err != nil {
		t.Fatal(err)
	}
	var rows bytes.Buffer
	for i := range 8 {
		text := fmt.Sprintf("Anna: We meet in room %d.\n", i) + strings.Repeat("Ben: I shall bring the report and the figures with me.\n", 10)
		row := map[string]any{"messages": []map[string]string{
			{"role": "user", "content": text + "\nQuestion: Where do we meet?"},
			{"role": "assistant", "content": fmt.Sprintf("In room %d.", i)},
		}}
		if err := json.NewEncoder(&rows).Encode(row); err != nil {
			t.Fatal(err)
		}
	}
	files := map[string]string{
		"train.jsonl": rows.String(),
		"held.jsonl":  strings.ReplaceAll(rows.String(), "Anna", "Carl"),
		"s.yaml": fmt.Sprintf(`model: {path: %q}
block: {sink: 4, window: 32, segment: 32, slots: 16}
data: {train: train.jsonl, max_tokens: 512}
stages:
  - {kind: s-sft, steps: %d, warmup: 1}
checkpoint: {every: 1}
`, base, steps),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTrain(t *testing.T) {
	dir := trainingFolder(t, 2)
	t.Chdir(dir)
	r := eisft(t, "train", "--config", "s.yaml")
	if r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	if want := filepath.Join("runs", "s") + ": 202800 parameters trained"; !strings.HasPrefix(r.stdout, want) {
		t.Errorf("stdout %q does not begin with %q", r.stdout, want)
	}
	got, err := config.Load(filepath.Join("runs", "latest", runs.ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "train.jsonl"); got.Data.Train.String() != want {
		t.Errorf("the resolved configuration trains on %s, want %s", got.Data.Train, want)
	}
}

// TestWarnings: a block that shows more tokens at once than the base was trained on can
// be trained and used, and each command says so.
func TestWarnings(t *testing.T) {
	t.Chdir(trainingFolder(t, 1))
	text, err := os.ReadFile("s.yaml")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, "s.yaml", strings.Replace(string(text), "slots: 16", "slots: 2000", 1))
	want := "the block shows 2068 tokens at once (sink 4 + slots 2000 + window 32 + segment 32), but the base was trained on texts of 2048"
	for _, args := range [][]string{
		{"train", "--config", "s.yaml"},
		{"generate", "--prompt", "Hello", "--max-new-tokens", "1"},
		{"inspect", latestRun},
	} {
		r := eisft(t, args...)
		if r.code != 0 || !strings.Contains(r.stderr+r.stdout, want) {
			t.Errorf("eisft %v: exit code %d, %s%s; want %q", args, r.code, r.stdout, r.stderr, want)
		}
	}
}

// TestUnfinishedRun: what uses a run says that its training is not at its end.
func TestUnfinishedRun(t *testing.T) {
	runFolder(t)
	args := []string{"generate", "--prompt", "Hello", "--max-new-tokens", "1"}
	if r := eisft(t, args...); r.code != 0 || strings.Contains(r.stderr, "not finished") {
		t.Errorf("a whole run: exit code %d, stderr %q", r.code, r.stderr)
	}
	writeFile(t, filepath.Join(latestRun, runs.CheckpointFile), "")
	if r := eisft(t, args...); r.code != 0 || !strings.Contains(r.stderr, "eisft: warning: training of "+latestRun+" is not finished: this uses what its last checkpoint holds; eisft train with --resume goes on\n") {
		t.Errorf("a run that was stopped: exit code %d, stderr %q", r.code, r.stderr)
	}
}

func TestTrainErrors(t *testing.T) {
	t.Chdir(trainingFolder(t, 1))
	if err := os.WriteFile("bad.yaml", []byte("mdel: {}\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		args []string
		code int
		want string // in stderr
	}{
		{"no configuration", nil, exitUsage, "eisft: --config is required\nRun 'eisft train --help' for usage.\n"},
		{"missing file", []string{"--config", "none.yaml"}, exitError, "eisft: none.yaml: no such file here, nor in a configs folder in or above "},
		{"unknown key", []string{"--config", "bad.yaml"}, exitError, `eisft: bad.yaml:1: mdel is not a known key; did you mean "model"?`},
		{"nothing to resume", []string{"--config", "s.yaml", "--resume"}, exitError, "eisft: there is no run runs/s to resume; leave --resume out to start one\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if r := eisft(t, append([]string{"train"}, tc.args...)...); r.code != tc.code || !strings.Contains(r.stderr, tc.want) {
				t.Errorf("exit code %d, stderr %q; want %d and %q", r.code, r.stderr, tc.code, tc.want)
			}
		})
	}
	if _, err := os.Stat("runs"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a failed start left a folder runs (%v)", err)
	}
}

// TestTrainStopAndResume: a run that is stopped by Ctrl-C and resumed ends with
// the bytes of one that was not stopped.
func TestTrainStopAndResume(t *testing.T) {
	const steps = 8
	whole, stopped := trainingFolder(t, steps), trainingFolder(t, steps)
	t.Chdir(whole)
	if r := eisft(t, "train", "--config", "s.yaml"); r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := process(ctx, t, "train", "--config", "s.yaml")
	cmd.Dir = stopped
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	checkpoint := filepath.Join(stopped, "runs", "s", runs.CheckpointFile)
	for ctx.Err() == nil {
		if _, err := os.Stat(checkpoint); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted || !strings.Contains(stderr.String(), "--resume") {
		t.Fatalf("interrupted: %v, stderr %q; want exit code %d and how to resume", err, stderr.String(), exitInterrupted)
	}
	t.Chdir(stopped)
	if r := eisft(t, "train", "--config", "s.yaml", "--resume"); r.code != 0 {
		t.Fatalf("resumed: exit code %d: %s", r.code, r.stderr)
	}
	want, got := adapter(t, whole), adapter(t, stopped)
	if !bytes.Equal(got, want) {
		t.Error("the resumed run's adapter differs from that of the whole run")
	}
}

func adapter(t *testing.T, dir string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "runs", "latest", "adapter.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
