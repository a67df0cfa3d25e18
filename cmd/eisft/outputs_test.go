package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"eisft/eval"
	"eisft/export/manifest"
	"eisft/internal/filehash"
	"eisft/train/runs"
)

// exists tells whether there is something at a path.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// TestExportReplaces: --replace takes the place of an export, and of nothing else.
func TestExportReplaces(t *testing.T) {
	runFolder(t)
	export := func(out string, more ...string) result {
		return eisft(t, append([]string{"export", "--shape", "32x84", "--verify=false", "--out", out}, more...)...)
	}
	if r := export("ex"); r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	if r := export("ex", "--replace", "--inputs", "ids"); r.code != 0 || exists("ex/embeddings.safetensors") {
		t.Fatalf("exit code %d: %s; the old export is still there: %v", r.code, r.stderr, exists("ex/embeddings.safetensors"))
	}
	base, err := filepath.Abs("base")
	if err != nil {
		t.Fatal(err)
	}
	copyExport := func(to string) {
		t.Helper()
		if err := os.CopyFS(to, os.DirFS("ex")); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		make func() string // returns a file that must stay
		out  string
		want string // in the error
	}{
		{"a user's folder", func() string { writeFile(t, "thesis/chapter1.txt", "x"); return "thesis/chapter1.txt" }, "thesis", "thesis cannot be replaced: it has no manifest.json, so eisft export did not write it"},
		{"all runs", func() string {
			writeFile(t, "runs/other/adapter.safetensors", "x")
			return "runs/other/adapter.safetensors"
		}, "runs", "runs cannot be replaced: the run ("},
		{"the run", func() string { return latestRun + "/config.yaml" }, latestRun, "cannot be replaced: the run ("},
		{"the working directory", func() string { return "s.yaml" }, ".", ". cannot be replaced: the run ("},
		{"an export with a user's file", func() string { copyExport("mine"); writeFile(t, "mine/thesis.txt", "x"); return "mine/thesis.txt" }, "mine", "mine cannot be replaced: thesis.txt in it was not written by eisft export"},
		{"an export with a user's folder", func() string { copyExport("deep"); writeFile(t, "deep/a/thesis.txt", "x"); return "deep/a/thesis.txt" }, "deep", "deep cannot be replaced: a in it was not written by eisft export"},
		{"another program's manifest", func() string { writeFile(t, "web/manifest.json", `{"name": "app"}`); return "web/manifest.json" }, "web", "web cannot be replaced: its manifest.json was not written by eisft export"},
		{"a file", func() string { writeFile(t, "file", "x"); return "file" }, "file", "file: it is there and is not a folder"},
	} {
		kept := c.make()
		r := export(c.out, "--replace")
		if r.code != exitError || !strings.Contains(r.stderr, c.want) || !exists(kept) {
			t.Errorf("%s: exit code %d, %q, %s is there: %v; want an error with %q", c.name, r.code, r.stderr, kept, exists(kept), c.want)
		}
	}
	copyExport(base)
	t.Chdir(base)
	if r := eisft(t, "export", "--run", "../"+latestRun, "--shape", "32x84", "--verify=false", "--replace", "--out", "."); r.code != exitError || !strings.Contains(r.stderr, "the working directory (") {
		t.Errorf("an export as the working directory: exit code %d, %s", r.code, r.stderr)
	}
}

// TestExportsRace: of two exports to one place one is there in the end, whole, and the
// other one has failed with a message.
func TestExportsRace(t *testing.T) {
	runFolder(t)
	for _, more := range [][]string{nil, {"--replace"}} {
		var results [2]result
		var work sync.WaitGroup
		for i, shape := range []string{"32x84", "32x100"} {
			work.Go(func() {
				results[i] = eisft(t, append([]string{"export", "--shape", shape, "--verify=false", "--out", "ex"}, more...)...)
			})
		}
		work.Wait()
		failed := 0
		for i, r := range results {
			m, err := manifest.Read("ex")
			if err != nil {
				t.Fatal(err)
			}
			if errs := m.VerifyFiles("ex", filehash.Compute); len(errs) > 0 {
				t.Error(errs)
			}
			if r.code == 0 {
				continue
			}
			failed++
			if !strings.Contains(r.stderr, "ex appeared while the export was at work") && !strings.Contains(r.stderr, "another process is writing it now") && !strings.Contains(r.stderr, "the folder exists: ex") {
				t.Errorf("export %d: exit code %d, %s", i, r.code, r.stderr)
			}
			if m.Shapes[0].Name == []string{"32x84", "32x100"}[i] {
				t.Errorf("export %d has failed, but is there", i)
			}
		}
		if more == nil && failed != 1 {
			t.Errorf("%d exports have failed, want 1", failed)
		}
		entries, err := os.ReadDir(".")
		if err != nil || slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return strings.HasPrefix(e.Name(), ".") }) {
			t.Errorf("left behind: %v (%v)", entries, err)
		}
		if err := os.RemoveAll("ex"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLeftovers: hidden folders that a killed quantization has left are passed over,
// listed, and removed by the next command that writes into the run.
func TestLeftovers(t *testing.T) {
	runFolder(t)
	quantize := []string{"quantize", "--calib", "train.jsonl", "--samples", "2", "--eval-data", "held.jsonl", "--eval-samples", "1"}
	if r := eisft(t, quantize...); r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	model := filepath.Join(latestRun, "quant", "w8a16")
	left := filepath.Join(latestRun, "quant", ".w8a16.dn4z03773mx1.tmp")
	if err := errors.Join(os.Rename(model, left), os.Remove(filepath.Join(left, "report.json"))); err != nil {
		t.Fatal(err)
	}
	r := eisft(t, "inspect", latestRun)
	if r.code != 0 || !strings.Contains(r.stdout, left+" was left behind by a process that was killed") || !strings.Contains(r.stdout, "not quantized yet") {
		t.Errorf("inspect: exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
	export := []string{"export", "--shape", "32x84", "--verify=false", "--golden=false", "--replace"}
	if r := eisft(t, export...); r.code != 0 || strings.Contains(r.stdout, "w8a16") || exists(left) {
		t.Errorf("the leftover was exported, or is still there (%v): exit code %d, %s%s", exists(left), r.code, r.stdout, r.stderr)
	}
	if r := eisft(t, quantize...); r.code != 0 {
		t.Errorf("exit code %d, %s", r.code, r.stderr)
	}
	if r := eisft(t, export...); r.code != 0 || !strings.Contains(r.stdout, "w8a16") {
		t.Errorf("exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
}

// TestLeftoversOfOthers: what a killed export has left is listed of its run and of an export beside
// it, and another command that writes into the run removes it.
func TestLeftoversOfOthers(t *testing.T) {
	runFolder(t)
	export := []string{"export", "--shape", "32x84", "--verify=false", "--golden=false", "--out"}
	beside, inside := filepath.Join("graphs", ".b.dn4z03773mx1.tmp"), filepath.Join(latestRun, "export", ".32x84.dn4z03773mx1.tmp")
	if r := eisft(t, append(export, "graphs/a")...); r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	writeFile(t, filepath.Join(beside, "weights.bin"), "")
	writeFile(t, filepath.Join(inside, "weights.bin"), "")
	for folder, left := range map[string]string{"graphs/a": beside, latestRun: inside} {
		if r := eisft(t, "inspect", folder); r.code != 0 || strings.Count(r.stdout, left+" was left behind by a process that was killed") != 1 {
			t.Errorf("inspect %s: exit code %d, %s%s", folder, r.code, r.stdout, r.stderr)
		}
	}
	if r := eisft(t, append(export, "graphs/c")...); r.code != 0 || exists(beside) || exists(inside) {
		t.Errorf("export: exit code %d, %s; left: %v beside, %v in the run", r.code, r.stderr, exists(beside), exists(inside))
	}
	writeFile(t, filepath.Join(inside, "weights.bin"), "")
	if r := eisft(t, "eval", "--data", "train.jsonl", "--samples", "1"); r.code != 0 || exists(inside) {
		t.Errorf("eval: exit code %d, %s; left: %v", r.code, r.stderr, exists(inside))
	}
}

// TestOutputsAreCheckedFirst: an output that cannot be written is found before the work,
// which here would fail for another reason.
func TestOutputsAreCheckedFirst(t *testing.T) {
	runFolder(t)
	writeFile(t, "folder/x", "")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"generate", "--prompt-file", "gone", "--save-state", "folder"}, "--save-state: write folder: it is a folder; name a file"},
		{[]string{"generate", "--prompt-file", "gone", "--save-state", "no/state"}, "--save-state: write no/state: there is no folder no"},
		{[]string{"eval", "--data", "gone", "--json", "folder"}, "--json: write folder: it is a folder; name a file"},
		{[]string{"eval", "--data", "gone", "--json", "s.yaml/x"}, "--json: write s.yaml/x: not a directory"},
		{[]string{"bench", "--model", "gone", "--json", "folder"}, "--json: write folder: it is a folder; name a file"},
		{[]string{"env", "--cpuprofile", "folder"}, "--cpuprofile: write folder: it is a folder; name a file"},
		{[]string{"env", "--memprofile", "folder"}, "--memprofile: write folder: it is a folder; name a file"},
		{[]string{"env", "--trace", "folder"}, "--trace: write folder: it is a folder; name a file"},
		{[]string{"export", "--shape", "32x84", "--out", "s.yaml/x"}, "write s.yaml/x: "},
	} {
		if r := eisft(t, c.args...); r.code != exitError || !strings.HasPrefix(r.stderr, "eisft: "+c.want) || r.stdout != "" {
			t.Errorf("%v: exit code %d, %q, want %q", c.args, r.code, r.stderr, c.want)
		}
	}
}

// TestLinkedRuns: a folder of runs that is a link to another disk is written and read like
// any other, by the run's name and through latest.
func TestLinkedRuns(t *testing.T) {
	dir := trainingFolder(t, 1)
	t.Chdir(dir)
	disk := filepath.Join(t.TempDir(), "a", "deep", "disk")
	if err := os.MkdirAll(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(disk, "runs"); err != nil {
		t.Skip(err)
	}
	if r := eisft(t, "train", "--config", "s.yaml"); r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	for _, run := range []string{latestRun, "runs/s", filepath.Join(disk, "s")} {
		if r := eisft(t, "generate", "--run", run, "--prompt", "x", "--max-new-tokens", "1"); r.code != 0 {
			t.Errorf("%s: exit code %d: %s", run, r.code, r.stderr)
		}
		if r := eisft(t, "inspect", run); r.code != 0 {
			t.Errorf("inspect %s: exit code %d, %s%s", run, r.code, r.stdout, r.stderr)
		}
		if r := eisft(t, "train", "--config", filepath.Join(run, runs.ConfigFile), "--resume"); !strings.Contains(r.stderr, "has no checkpoint to resume from") {
			t.Errorf("the configuration in %s: %s", run, r.stderr)
		}
	}
}

// TestStoppedCommands: no command that is stopped speaks of a cancelled context.
func TestStoppedCommands(t *testing.T) {
	runFolder(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("stopped by Ctrl-C"))
	for _, args := range [][]string{
		{"train", "--config", "s.yaml"},
		{"quantize", "--calib", "train.jsonl"},
		{"export", "--shape", "32x84"},
		{"eval", "--data", "train.jsonl"},
		{"generate", "--prompt", "x"},
		{"bench", "--model", filepath.Join("..", "none"), "--case", "stream"},
		{"inspect", "train.jsonl"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(ctx, append([]string{"eisft"}, args...), strings.NewReader(""), &stdout, &stderr)
		if strings.Contains(stderr.String(), "context") || code == 0 && stderr.Len() > 0 {
			t.Errorf("%v: exit code %d, %q", args, code, stderr.String())
		}
	}
}

// TestKilledEvaluation kills an evaluation again and again, at any moment: the same command
// goes on, and the end is that of one that nobody has killed.
func TestKilledEvaluation(t *testing.T) {
	runFolder(t)
	args := []string{"eval", "--data", "train.jsonl", "--policy", "full", "--policy", "window", "--max-new-tokens", "4", "--out"}
	if r := eisft(t, append(args, "whole")...); r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	kills := 0
	for wait := 250 * time.Millisecond; ; wait += 150 * time.Millisecond {
		cmd := process(t.Context(), t, append(args, "killed")...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(wait, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		if err == nil {
			break
		}
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != -1 {
			t.Fatalf("killed after %s: %v, %s", wait, err, stderr.String())
		}
		kills++
	}
	answers := func(folder string) string {
		k, err := eval.ReadKept(folder)
		if err != nil {
			t.Fatal(err)
		}
		for i := range k.Records {
			k.Records[i].ReadSeconds, k.Records[i].WriteSeconds = 0, 0
		}
		text, err := json.Marshal(k.Records)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if got, want := answers("killed"), answers("whole"); got != want {
		t.Errorf("after %d kills the records are\n%s\nwant\n%s", kills, got, want)
	}
}

// TestKilledTraining kills a training again and again, at any moment: what is there can be
// opened at all times, and the end is that of a training that nobody has killed.
func TestKilledTraining(t *testing.T) {
	const steps = 4
	whole, killed := trainingFolder(t, steps), trainingFolder(t, steps)
	t.Chdir(whole)
	if r := eisft(t, "train", "--config", "s.yaml"); r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	t.Chdir(killed)
	args := []string{"train", "--config", "s.yaml"}
	folder := filepath.Join("runs", "s")
	for wait := 400 * time.Millisecond; ; wait += 110 * time.Millisecond {
		cmd := process(t.Context(), t, args...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(wait, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		if exists(filepath.Join(folder, "adapter.safetensors")) {
			if _, err := runs.Open(folder); err != nil {
				t.Fatalf("killed after %s: %v", wait, err)
			}
		}
		if err == nil {
			break
		}
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != -1 {
			t.Fatalf("killed after %s: %v, %s", wait, err, stderr.String())
		}
		if args = []string{"train", "--config", "s.yaml"}; exists(filepath.Join(folder, runs.CheckpointFile)) {
			args = append(args, "--resume")
		} else if err := os.RemoveAll("runs"); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(adapter(t, killed), adapter(t, whole)) {
		t.Error("the adapter differs from that of a training that nobody has killed")
	}
	entries, err := os.ReadDir(folder)
	if err != nil || slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return strings.HasPrefix(e.Name(), ".") }) {
		t.Errorf("left behind: %v (%v)", entries, err)
	}
}
