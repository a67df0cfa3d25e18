package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model/hf"
)

// onStrangeBase changes to a folder whose s.yaml trains beside a copy of the demo base whose
// config.json has two more keys, one of which may change what the model computes.
func onStrangeBase(t *testing.T) {
	t.Helper()
	demo := testfiles.Base(t, "demo")
	t.Chdir(trainingFolder(t, 1))
	if err := os.CopyFS("base", os.DirFS(demo)); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join("base", hf.ConfigFile)
	for file, change := range map[string][2]string{
		config:   {`"model_type"`, `"attn_colour": "red", "favourite_colour": "blue", "model_type"`},
		"s.yaml": {demo, "base"},
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(strings.Replace(string(text), change[0], change[1], 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStrangeKeys: a key that is not understood and may change what the model computes is an
// error that says what to do; doing that, training, inspecting and exporting go on.
func TestStrangeKeys(t *testing.T) {
	onStrangeBase(t)
	r := eisft(t, "train", "--config", "s.yaml")
	if want := `attn_colour: found "red"; this is not understood for LlamaForCausalLM`; r.code != exitError || !strings.Contains(r.stderr, want) || !strings.Contains(r.stderr, "ignore: [attn_colour]") {
		t.Fatalf("exit code %d: %s, want %q", r.code, r.stderr, want)
	}
	r = eisft(t, "inspect", "base")
	if r.code == 0 || !strings.Contains(r.stdout, `attn_colour              "red"                 refused  –`) || !strings.Contains(r.stdout, "hidden_size              256                   used") {
		t.Errorf("exit code %d: %s", r.code, r.stdout)
	}
	text, err := os.ReadFile("s.yaml")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, "s.yaml", strings.Replace(string(text), "model: {", "model: {ignore: [attn_colour], ", 1))
	const warning = "has keys that are not understood and are ignored: favourite_colour"
	for _, args := range [][]string{
		{"train", "--config", "s.yaml"},
		{"generate", "--prompt", "Hello", "--max-new-tokens", "1"},
		{"inspect", latestRun},
		{"export", "--shape", "32x84", "--verify=false"},
	} {
		r := eisft(t, args...)
		if r.code != 0 || args[0] != "export" && !strings.Contains(r.stderr+r.stdout, warning) {
			t.Errorf("eisft %v: exit code %d, %s%s; want %q", args, r.code, r.stdout, r.stderr, warning)
		}
	}
	var config map[string]any
	if text, err = os.ReadFile(filepath.Join(latestRun, "export", "32x84", hf.ConfigFile)); err == nil {
		err = json.Unmarshal(text, &config)
	}
	if err != nil || config["attn_colour"] != nil || config["favourite_colour"] != "blue" {
		t.Errorf("the exported folder has a config.json of %v (%v)", config, err)
	}
}

// TestInspectKeys: eisft inspect lists the keys of a model as a table, in JSON too.
func TestInspectKeys(t *testing.T) {
	r := eisft(t, "inspect", "--json", testfiles.Base(t, "qwen2"))
	var report struct {
		Tables []struct {
			Title string
			Rows  [][]any
		}
	}
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		t.Fatalf("%v: %s%s", err, r.stdout, r.stderr)
	}
	uses := map[any][]any{}
	for _, table := range report.Tables {
		if table.Title == "configuration" {
			for _, row := range table.Rows {
				uses[row[0]] = row[1:]
			}
		}
	}
	for key, want := range map[string][]any{
		"hidden_size":               {"64", "used", nil},
		"rope_parameters.rope_type": {`"default"`, "used", nil},
		"transformers_version":      {`"5.17.0"`, "ignored", "how the model was made or saved"},
		"sliding_window":            {"null", "ignored", "null: not set"},
	} {
		got := uses[key]
		if len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
			t.Errorf("%s: %v, want %v", key, got, want)
		}
	}
}
