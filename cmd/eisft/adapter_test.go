package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/model"
)

// adapterFolder changes to a folder in which alone holds nothing but an adapter, and elsewhere
// the base, which is not where the adapter says.
func adapterFolder(t *testing.T) {
	t.Helper()
	base, err := filepath.Abs("../../model/demo")
	if err != nil {
		t.Fatal(err)
	}
	runFolder(t)
	if err := os.Mkdir("alone", 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{model.AdapterConfig, model.AdapterWeights} {
		if err := os.Rename(filepath.Join(latestRun, name), filepath.Join("alone", name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS("elsewhere", os.DirFS(base)); err != nil {
		t.Fatal(err)
	}
	edit(t, "alone/"+model.AdapterConfig, `/demo",`, `/nothing",`)
}

// edit replaces a text in a file that must be there.
func edit(t *testing.T, path, from, to string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), from) {
		t.Fatalf("%s has no %q", path, from)
	}
	writeFile(t, path, strings.Replace(string(text), from, to, 1))
}

// TestAdapterAlone: an adapter without its run is enough for every command that reads with one,
// wherever its base lies.
func TestAdapterAlone(t *testing.T) {
	device, err := filepath.Abs("../../configs/devices/snapdragon-8-elite.yaml")
	if err != nil {
		t.Fatal(err)
	}
	adapterFolder(t)
	for _, args := range [][]string{
		{"generate", "--prompt", "x", "--max-new-tokens", "1"},
		{"chat"},
		{"eval", "--data", "train.jsonl", "--dry-run"},
		{"quantize", "--calib", "train.jsonl", "--dry-run"},
		{"export", "--shape", "32x84", "--verify=false", "--golden=false", "--quantized-only=false"},
		{"check", "alone/export/32x84", "--run", "alone"},
		{"plan", "--device", device, "--shape", "32x84"},
	} {
		name := args[0]
		if name != "check" {
			args = append(args, "--run", "alone")
		}
		if r := eisft(t, args...); r.code != exitError || !strings.Contains(r.stderr, "run alone: its base is not at ") || !strings.Contains(r.stderr, "say with --model where it is") {
			t.Errorf("%s without its base: exit code %d, %s", name, r.code, r.stderr)
		}
		if r := eisft(t, append(args, "--model", "elsewhere")...); r.code != 0 {
			t.Errorf("%s: exit code %d, %s", name, r.code, r.stderr)
		}
	}
}

// TestAdapterBaseErrors: what --model names is held to what the adapter was trained for.
func TestAdapterBaseErrors(t *testing.T) {
	adapterFolder(t)
	edit(t, "elsewhere/config.json", `"rope_theta": 10000.0`, `"rope_theta": 20000.0`)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--run", "alone", "--model", "elsewhere"}, exitError, "the adapter was trained for the base "},
		{[]string{"--run", "alone", "--model", "nowhere"}, exitError, "--model: nowhere: no such file"},
		{[]string{"--run", "alone", "--model", ""}, exitUsage, "--model is empty"},
		{[]string{"--config", "s.yaml", "--model", "elsewhere"}, exitUsage, "--set model.path=elsewhere"},
		{[]string{"--run", "elsewhere"}, exitError, "found neither config.yaml of a run nor adapter_config.json of an adapter"},
	} {
		r := eisft(t, append([]string{"generate", "--prompt", "x"}, c.args...)...)
		if r.code != c.code || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%v: exit code %d, %s; want %d with %q", c.args, r.code, r.stderr, c.code, c.want)
		}
	}
}

// TestAdapterCommands: what is shown of adapters, and what is said to wrong command lines.
func TestAdapterCommands(t *testing.T) {
	adapterFolder(t)
	if r := eisft(t, "adapter", "convert", "alone", "half", "--type", "float16", "--model", "elsewhere"); r.code != 0 || r.stdout != "half\n" {
		t.Fatalf("exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
	edit(t, "half/"+model.AdapterConfig, `"window": 32`, `"window": 16`)
	for _, c := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"show", "half"}, 0, []string{"half: adapter", "trained parameters  202,800", "norms by kind of tensor", "L2 norms by layer"}},
		{[]string{"show", "alone"}, exitError, []string{"the base is not at ", "say with --model where it is", "eisft: alone has a problem"}},
		{[]string{"show", "alone", "--model", "elsewhere"}, 0, []string{"base                elsewhere"}},
		{[]string{"show", "alone", "--model", "elsewhere", "--json"}, 0, []string{`"kind": "adapter"`}},
		{[]string{"show", "elsewhere"}, exitError, []string{"adapter_config.json"}},
		{[]string{"show", "nowhere"}, exitError, []string{"nowhere: there is no such folder"}},
		{[]string{"show"}, exitUsage, []string{"name one folder"}},
		{[]string{"diff", "alone", "half"}, 0, []string{"the same, 2-", "window 32, but 16", "equal tensors  "}},
		{[]string{"diff", "alone", "elsewhere"}, exitError, []string{"adapter_config.json"}},
		{[]string{"diff", "alone"}, exitUsage, []string{"name two folders; there are 1"}},
		{[]string{"convert", "alone", "new"}, 0, []string{"warning: the base is not at ", "--model says where it is"}},
		{[]string{"convert", "alone", "half"}, exitError, []string{"half holds an adapter already"}},
		{[]string{"convert", "alone", "x", "--type", "float61"}, exitUsage, []string{"float16"}},
		{[]string{"convert", "nowhere", "x"}, exitError, []string{"nowhere"}},
		{[]string{"convert", "alone"}, exitUsage, []string{"name two folders, from and to; there are 1"}},
		{[]string{"shown"}, exitUsage, []string{"show"}},
	} {
		r := eisft(t, append([]string{"adapter"}, c.args...)...)
		for _, want := range c.want {
			if r.code != c.code || !strings.Contains(r.stdout+r.stderr, want) {
				t.Errorf("%v: exit code %d, %s%s; want %d with %q", c.args, r.code, r.stdout, r.stderr, c.code, want)
			}
		}
	}
}
