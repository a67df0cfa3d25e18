package train

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eisft/data"
	"eisft/eval"
	"eisft/internal/atomicfile"
	"eisft/model"
	"eisft/train/config"
	"eisft/train/runs"
)

// TestSameConfig names every key that differs, with its value in the run and now.
func TestSameConfig(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(c *config.Config)
		want   string // between "configuration: " and "; resume"
	}{
		{"nothing", func(*config.Config) {}, ""},
		{"one rate", func(c *config.Config) {
			s := c.Stages[1].(config.SSFT)
			s.LR = maps.Clone(s.LR)
			s.LR[model.GroupRetention] = 0.5
			c.Stages[1] = s
		}, "stages[1].lr.retention was 0.01 and is 0.5"},
		{"two keys", func(c *config.Config) { c.Seed, c.Block.Window = 7, 32 }, "block.window was 16 and is 32, seed was 0 and is 7"},
		{"a text", func(c *config.Config) { c.Data.Prompt = "a b" }, `data.prompt was not set and is "a b"`},
		{"a key that comes and goes", func(c *config.Config) { c.Block.SlotLayers = []int{1} }, "block.slot_layers was not set and is [1]"},
		{"a list", func(c *config.Config) { c.Model.Ignore = []string{"a"} }, `model.ignore was not set and is ["a"]`},
		{"what is beside training", func(c *config.Config) {
			c.Eval.Policies, c.Checkpoint.Every, c.TensorBoard = []eval.Policy{eval.PolicyFull}, 7, true
		}, ""},
		{"a stage less", func(c *config.Config) { c.Stages = c.Stages[:1] }, `stages[1] was {`},
	} {
		then := tinyConfig(t, "["+distillStage+", "+sftStage+"]")
		path := filepath.Join(t.TempDir(), runs.ConfigFile)
		if err := then.Write(path); err != nil {
			t.Fatal(err)
		}
		now := *then
		now.Stages = append([]config.Stage(nil), then.Stages...)
		c.change(&now)
		_, err := sameConfig(then, &now, path)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v, want no error", c.name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), path+": the run was started with another configuration: "+c.want) {
			t.Errorf("%s: %v\nwant %s", c.name, err, c.want)
		}
	}
}

// TestResumeDir: the run that was stopped last is resumed, whatever its number, whichever
// folders are gone or left over, and whoever has a similar name.
func TestResumeDir(t *testing.T) {
	type folder struct {
		name    string
		stopped int    // minutes after the first one; 0: it has no checkpoint
		of      string // the name in its configuration; "": it has none
	}
	for _, c := range []struct {
		name    string
		folders []folder
		want    string // "" for an error
	}{
		{"one", []folder{{"tiny", 1, "tiny"}}, "tiny"},
		{"the highest number is a leftover", []folder{{"tiny", 1, "tiny"}, {"tiny-2", 0, "tiny"}, {"tiny-3", 0, ""}}, "tiny"},
		{"the first is deleted", []folder{{"tiny-2", 1, "tiny"}}, "tiny-2"},
		{"the last stopped has the lower number", []folder{{"tiny", 3, "tiny"}, {"tiny-2", 1, "tiny"}, {"tiny-10", 2, "tiny"}}, "tiny"},
		{"the last stopped has the higher number", []folder{{"tiny", 2, "tiny"}, {"tiny-2", 1, "tiny"}, {"tiny-10", 3, "tiny"}}, "tiny-10"},
		{"another configuration is called tiny-2", []folder{{"tiny", 1, "tiny"}, {"tiny-2", 2, "tiny-2"}}, "tiny"},
		{"similar names", []folder{{"tiny", 1, "tiny"}, {"tiny-02", 2, "tiny"}, {"tiny-1", 2, "tiny"}, {"tiny2", 2, "tiny"}, {"tiny-x", 2, "tiny"}, {"tiny-", 2, "tiny"}}, "tiny"},
		{"all finished", []folder{{"tiny", 0, "tiny"}}, ""},
		{"none", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := tinyConfig(t, "["+sftStage+"]")
			start := time.Now().Add(-time.Hour)
			for _, f := range c.folders {
				dir := filepath.Join(cfg.Output, f.name)
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				if f.of != "" {
					theirs := *cfg
					theirs.Name = f.of
					if err := theirs.Write(filepath.Join(dir, runs.ConfigFile)); err != nil {
						t.Fatal(err)
					}
				}
				if f.stopped > 0 {
					path, at := filepath.Join(dir, runs.CheckpointFile), start.Add(time.Duration(f.stopped)*time.Minute)
					if err := errors.Join(os.WriteFile(path, nil, 0o644), os.Chtimes(path, at, at)); err != nil {
						t.Fatal(err)
					}
				}
			}
			dir, err := resumeDir(cfg)
			if c.want == "" && err == nil || c.want != "" && (err != nil || filepath.Base(dir) != c.want) {
				t.Errorf("resumes %q, %v, want %q", dir, err, c.want)
			}
		})
	}
}

// TestOneProcessARun: a run that is being trained, or resumed, is not resumed a second
// time, and the error says by which process it runs.
func TestOneProcessARun(t *testing.T) {
	c := tinyConfig(t, "["+sftStage+"]")
	stopped, err := Train(newStopAfter(t, 30), c, Options{})
	if !errors.Is(err, ErrStopped) {
		t.Fatal(err)
	}
	lock, err := atomicfile.TakeLock(filepath.Join(stopped.Dir, runs.LockFile)) // released by now
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	before := losses(t, stopped.Dir)
	_, err = Train(t.Context(), c, Options{Resume: true})
	wantError(t, err, stopped.Dir+" is being trained: process "+fmt.Sprint(os.Getpid())+" on "+host+" is at work there since 20")
	if after := losses(t, stopped.Dir); after != before {
		t.Errorf("the losses became %s, want %s as before", after, before)
	}
	lock.Release()
	var notes []string
	if _, err := Train(t.Context(), c, Options{Resume: true, Note: func(m string) { notes = append(notes, m) }}); err != nil {
		t.Fatal(err)
	}
	if len(notes) != 1 || !strings.HasPrefix(notes[0], "resuming "+stopped.Dir+", which was stopped after step ") {
		t.Errorf("notes %q", notes)
	}
	if _, err := os.Lstat(filepath.Join(stopped.Dir, runs.LockFile)); err == nil {
		t.Error("the lock file is still there")
	}
}

// TestLeftLinks: temporary links of processes that were killed stop nobody.
func TestLeftLinks(t *testing.T) {
	c := tinyConfig(t, "["+sftStage+"]")
	if err := os.MkdirAll(c.Output, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{runs.Latest, fmt.Sprintf("%s.%d", runs.Latest, os.Getpid()), ".latest.dn4z03773mx1.tmp"} {
		if err := os.Symlink("gone", filepath.Join(c.Output, name)); err != nil {
			t.Skip(err)
		}
	}
	if _, err := Train(t.Context(), c, Options{}); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(filepath.Join(c.Output, runs.Latest)); err != nil || to != "tiny" {
		t.Errorf("latest is %q, %v, want tiny", to, err)
	}
}

// TestNoCheckpoint: why a run cannot be resumed, and what can be done.
func TestNoCheckpoint(t *testing.T) {
	for file, want := range map[string]string{
		runs.FinishedFile:    "it was finished; go on beyond its end with --extend",
		model.AdapterWeights: "it was finished by an earlier version, which kept none; --adapter ",
		runs.MetricsFile:     "it was ended before its first one was written",
	} {
		c := tinyConfig(t, "["+sftStage+"]")
		dir := runDir(c, 1)
		if err := errors.Join(os.MkdirAll(dir, 0o755), c.Write(filepath.Join(dir, runs.ConfigFile)), os.WriteFile(filepath.Join(dir, file), nil, 0o644)); err != nil {
			t.Fatal(err)
		}
		_, err := resumeDir(c)
		wantError(t, err, dir+" has no checkpoint to resume from: "+want)
	}
}

// TestEvaluationIsCheckedFirst: of a run that cannot be evaluated nothing is left.
func TestEvaluationIsCheckedFirst(t *testing.T) {
	c := tinyConfig(t, "["+sftStage+"]")
	path := filepath.Join(t.TempDir(), "bad.jsonl")
	if err := os.WriteFile(path, []byte(`{"context": "a", "input": "b", "answers": []}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, before := range []bool{true, false} {
		c.Eval = eval.Config{Data: data.One(path), Before: before, MaxNewTokens: 1, Policies: []eval.Policy{eval.PolicyWindow}}
		_, err := Train(t.Context(), c, Options{})
		wantError(t, err, "evaluation: ", "bad.jsonl:line 1")
		if _, err := os.Lstat(c.Output); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was made (%v)", c.Output, err)
		}
	}
}

// TestOutputIsCheckedFirst: a folder that cannot be written is found before the evaluation
// of the untrained block, which here would fail.
func TestOutputIsCheckedFirst(t *testing.T) {
	for name, prepare := range map[string]func(output string) error{
		"a file is in its place": func(output string) error { return os.WriteFile(output, nil, 0o644) },
		"latest is not a link":   func(output string) error { return os.MkdirAll(filepath.Join(output, runs.Latest), 0o755) },
	} {
		c := tinyConfig(t, "["+sftStage+"]")
		c.Eval = eval.Config{Data: data.One(filepath.Join(t.TempDir(), "gone.jsonl")), MaxNewTokens: 1}
		if err := prepare(c.Output); err != nil {
			t.Fatal(err)
		}
		_, err := Train(t.Context(), c, Options{})
		wantError(t, err, c.Output)
		if err != nil && strings.Contains(err.Error(), "gone.jsonl") {
			t.Errorf("%s: %v, which is about the evaluation", name, err)
		}
	}
}
