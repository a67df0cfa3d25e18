package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/train/config"
)

// TestConfigInit writes a template that trains on what the flags name, once.
func TestConfigInit(t *testing.T) {
	demo := testfiles.Repository(t, "model/demo")
	t.Chdir(t.TempDir())
	chatRows(t)
	r := eisft(t, "config", "init", "--model", demo, "--data", "chats.jsonl", "mine.yaml")
	if r.code != 0 || !strings.Contains(r.stdout, "eisft train --config mine.yaml --dry-run") {
		t.Fatalf("exit code %d, stdout %q, stderr %q", r.code, r.stdout, r.stderr)
	}
	c, err := config.Load("mine.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if wd, _ := os.Getwd(); c.Name != "mine" || c.Data.Train.String() != filepath.Join(wd, "chats.jsonl") || len(c.Eval.Data) > 0 || len(c.Stages) != 3 {
		t.Errorf("name %q, data %q, evaluation %q, %d stages", c.Name, c.Data.Train, c.Eval.Data, len(c.Stages))
	}
	if r := eisft(t, "config", "init", "--model", demo, "--data", "chats.jsonl", "mine.yaml"); r.code != exitError || !strings.Contains(r.stderr, "mine.yaml is there already") {
		t.Errorf("written over: exit code %d, stderr %q", r.code, r.stderr)
	}
	if r := eisft(t, "config", "init", "--model", demo, "--data", "chat.jsonl", "x.yaml"); r.code != exitError || !strings.Contains(r.stderr, "--data: chat.jsonl: no such file") {
		t.Errorf("data that is not there: exit code %d, stderr %q", r.code, r.stderr)
	}
	if _, err := os.Stat("x.yaml"); err == nil {
		t.Error("a configuration was written whose data is not there")
	}
	if r := eisft(t, "config", "init", "--model", demo, "x.yaml"); r.code != exitUsage {
		t.Errorf("without data: exit code %d, stderr %q", r.code, r.stderr)
	}
}

// TestConfigShow prints what --set makes of a file, as a file that says the same.
func TestConfigShow(t *testing.T) {
	t.Chdir(testfiles.Repository(t, "configs"))
	r := eisft(t, "config", "show", "s-sft.yaml", "--set", "stages.0.lr.gate=5e-2", "--set", "stages.2.trainable=[gate]")
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("exit code %d, stderr %q", r.code, r.stderr)
	}
	got, err := config.Parse([]byte(r.stdout), "s-sft.yaml")
	if err != nil {
		t.Fatal(err)
	}
	distill, sft := got.Stages[0].(config.Distill), got.Stages[2].(config.SSFT)
	if distill.LR["gate"] != 0.05 || distill.LR["retention"] != 0.02 || !slices.Equal(sft.Trainable, []model.Group{model.GroupGate}) {
		t.Errorf("shown:\n%s", r.stdout)
	}
	r = eisft(t, "config", "show", "s-sft.yaml", "--set", "stages.0.lr.gat=5e-2")
	if want := "eisft: --set stages[0].lr.gat is not a known key; did you mean \"gate\"?\n"; r.code != exitError || r.stderr != want {
		t.Errorf("exit code %d, stderr %q, want %q", r.code, r.stderr, want)
	}
	if r := eisft(t, "config", "show", "s-sft.yaml", "--set", "seed"); r.code != exitUsage {
		t.Errorf("exit code %d, stderr %q", r.code, r.stderr)
	}
}

// TestFlagsFirst: a flag may stand behind an argument, and behind -- there are no flags.
func TestFlagsFirst(t *testing.T) {
	for line, want := range map[string]string{
		"eisft inspect PATH --json":              "eisft inspect --json -- PATH",
		"eisft inspect PATH --model DIR --json":  "eisft inspect --model DIR --json -- PATH",
		"eisft inspect --model=DIR PATH --json":  "eisft inspect --model=DIR --json -- PATH",
		"eisft inspect --json -- PATH --model":   "eisft inspect --json -- PATH --model",
		"eisft data preview FILE --rows 3":       "eisft data preview --rows 3 -- FILE",
		"eisft eval --compare A B --json x.json": "eisft eval --compare --json x.json -- A B",
		"eisft inspect PATH --help":              "eisft inspect --help",
		"eisft data stats - --config":            "eisft data stats --config -- -",
		"eisft --version":                        "eisft --version",
		"eisft train --config x.yaml":            "eisft train --config x.yaml",
		"eisft nothing x --json":                 "eisft nothing x --json",
		"eisft inspect x " + completionFlag:      "eisft inspect x " + completionFlag,
		"eisft":                                  "eisft",
	} {
		if got := strings.Join(flagsFirst(verbs(), strings.Fields(line)), " "); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}

// TestCompletion asks bash, with the real script and program, what may come next.
func TestCompletion(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(reexec, "1") // the test itself is the program
	script := `source <("$0" completion bash)
COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _eisft; echo "${COMPREPLY[*]}"`
	for line, want := range map[string]string{
		"da": "data", "data st": "stats", "train --from-q": "--from-quantized", "data preview --ro": "--rows", "train --config x.y": "",
	} {
		args := append([]string{"-c", script, program, program}, strings.Fields(line)...)
		out, err := exec.Command(bash, args...).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s: %q (%v), want %q", line, got, err, want)
		}
	}
	for _, shell := range []string{"zsh", "fish"} {
		if r := eisft(t, "completion", shell); r.code != 0 || !strings.Contains(r.stdout, "eisft") {
			t.Errorf("%s: exit code %d, stderr %q", shell, r.code, r.stderr)
		}
	}
	if r := eisft(t, "version"); r.code != 0 || !strings.HasPrefix(r.stdout, "eisft "+version()+", go") {
		t.Errorf("exit code %d, stdout %q", r.code, r.stdout)
	}
}
