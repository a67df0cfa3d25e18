//go:build unix

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/internal/atomicfile"
	"eisft/train/runs"
)

// TestRuns lists runs in all states with their figures, and what reads the newest run that
// ended well says which have not.
func TestRuns(t *testing.T) {
	t.Chdir(trainingFolder(t, 2))
	replace(t, "s.yaml", "checkpoint:", "validation: {data: train.jsonl, samples: 2, every: 1}\ncheckpoint:")
	if r := eisft(t, "runs"); r.code != exitError || !strings.Contains(r.stderr, "eisft: runs: no such file") {
		t.Errorf("without runs: exit code %d, %q", r.code, r.stderr)
	}
	r := eisft(t, "train", "--config", "s.yaml")
	if r.code != 0 || !strings.Contains(r.stdout, "stage 1 (s-sft): best loss on held-out rows ") || !strings.Contains(r.stdout, " before its first step\n") || !strings.Contains(r.stderr, "validate  on 2 samples") {
		t.Fatalf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
	}
	for name, file := range map[string]string{"stopped": runs.CheckpointFile, "killed": "", "trained": runs.CheckpointFile} {
		if err := os.CopyFS(filepath.Join("runs", name), os.DirFS(filepath.Join("runs", "s"))); err != nil {
			t.Fatal(err)
		}
		if file == "" {
			if err := os.Remove(filepath.Join("runs", name, "adapter.safetensors")); err != nil {
				t.Fatal(err)
			}
			continue
		}
		writeFile(t, filepath.Join("runs", name, file), "")
	}
	lock, err := atomicfile.TakeLock(filepath.Join("runs", "trained", runs.LockFile))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	r = eisft(t, "runs")
	for _, want := range []string{"*  s        finished  s-sft 2/2  ", "\n   stopped  stopped   s-sft 2/2  ", "   trained  running   s-sft 2/2  ", "   killed   broken    s-sft 2/2  ", "\ntrained: process ", "\nkilled: it has no adapter"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in\n%s", want, r.stdout)
		}
	}
	r = eisft(t, "runs", "runs", "--json")
	var list []runs.Summary
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil || len(list) != 4 || list[1].State != runs.Finished || !list[1].Latest || list[1].Stages[0].Validation == nil || list[1].Bytes < 800000 {
		t.Errorf("%v: %+v", err, list)
	}
	if err := os.Remove(latestRun); err != nil {
		t.Fatal(err)
	}
	want := "or name its folder with --run: there is runs/stopped (stopped), runs/trained (running)"
	if r := eisft(t, "generate", "--prompt", "a"); r.code != exitError || !strings.Contains(r.stderr, want) {
		t.Errorf("exit code %d, %q, want %q", r.code, r.stderr, want)
	}
	if r := eisft(t, "train", "--config", "s.yaml", "--resume", "--extend"); r.code != exitUsage || !strings.Contains(r.stderr, "leave one of them out") {
		t.Errorf("exit code %d, %q", r.code, r.stderr)
	}
}

// TestSlowProfileOfRanks: each rank writes a profile of its own.
func TestSlowProfileOfRanks(t *testing.T) {
	t.Chdir(trainingFolder(t, 1))
	mustRun(t, asRanks(t.Context(), t, 2, "train", "--config", "s.yaml", "--cpuprofile", "cpu.prof"))
	for _, name := range []string{"cpu.prof", "cpu.prof.1"} {
		if info, err := os.Stat(name); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
