package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"eisft/internal/strictyaml"
)

// set reads KEY=VALUEs.
func set(t *testing.T, texts ...string) (all []strictyaml.Setting) {
	t.Helper()
	for _, text := range texts {
		s, err := strictyaml.ParseSetting(text, "--set")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// TestSettings: what is set is as if it stood in the file.
func TestSettings(t *testing.T) {
	const file = "/project/configs/small.yaml"
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		set  []string
		text string
	}{
		"a new key":           {[]string{"seed=7"}, "seed: 7\n" + small},
		"a new section":       {[]string{"block.window=128", "block.gate=mass"}, "block: {window: 128, gate: mass}\n" + small},
		"a whole section":     {[]string{"block={window: 128, gate: mass}"}, "block: {window: 128, gate: mass}\n" + small},
		"a key of a list":     {[]string{"stages.0.lr.gate=1e-4"}, strings.Replace(small, "kind: s-sft", "kind: s-sft\n    lr: {gate: 1e-4}", 1)},
		"brackets":            {[]string{"stages[0].trainable=[gate]"}, strings.Replace(small, "kind: s-sft", "kind: s-sft\n    trainable: [gate]", 1)},
		"the last one counts": {[]string{"seed=7", "seed=8"}, "seed: 8\n" + small},
		"another stage":       {[]string{"stages=[{kind: distill, steps: 3}]"}, strings.Replace(small, "- kind: s-sft", "- {kind: distill, steps: 3}", 1)},
		"a template's option": {[]string{"data.template_options.enable_thinking=false"}, strings.Replace(small, "train.parquet", "train.parquet\n  template_options: {enable_thinking: false}", 1)},
		"text with a sign":    {[]string{"data.prompt={context} = {input}"}, strings.Replace(small, "train.parquet", "train.parquet\n  prompt: '{context} = {input}'", 1)},
		"a path from here":    {[]string{"data.train=x.jsonl"}, strings.Replace(small, "train.parquet", filepath.Join(wd, "x.jsonl"), 1)},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(name, "text") {
				test.set[0] = strings.Replace(test.set[0], "={", "='{", 1) + "'"
			}
			got, err := Parse([]byte(small), file, set(t, test.set...)...)
			if err != nil {
				t.Fatal(err)
			}
			want, err := Parse([]byte(test.text), file)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got\n%+v, want\n%+v", got, want)
			}
		})
	}
}

// TestSettingErrors: the same checks, with the flag in the place of file and line.
func TestSettingErrors(t *testing.T) {
	for text, want := range map[string]string{
		"train.lr=1e-4":                "--set train is not a known key; known here: name, seed, model, block, data, stages, validation, eval, checkpoint, tensorboard, output",
		"stages.0.lr.retantion=1":      `--set stages[0].lr.retantion is not a known key; did you mean "retention"?`,
		"stages.0.lr.retention=x":      `--set stages[0].lr.retention must be a number, not "x"`,
		"stages.0.lr=3":                "--set stages[0].lr must be a section of keys, not 3",
		"stages.1.steps=3":             `--set stages.1.steps: stages is a list of 1; want a number from 0 to 0 in place of "1"`,
		"stages.first.steps=3":         `--set stages.first.steps: stages is a list of 1; want a number from 0 to 0 in place of "first"`,
		"block.window=1.5":             "--set block.window must be a whole number, not 1.5",
		"block.window=-1":              "--set block.window is -1; it must be at least 0",
		"data.max_tokens=10":           "--set data.max_tokens is 10; it must be more than sink + window + segment = 520, or no token ever leaves the window",
		"data.max_tokens=":             "--set data.max_tokens has no value; give one or remove the key",
		"data.max_tokens={":            `--set data.max_tokens: "{" is not YAML: [1:1] could not find flow mapping end token '}'`,
		"data.prompt={context}":        `--set data.prompt must be text, not a section of keys; a text that begins with { stands in quotes: --set 'data.prompt="{…"'`,
		"data.prompt={context} {x}":    `is not YAML: [1:11] value is not allowed in this context; a text that begins with { stands in quotes: --set 'data.prompt="{…"'`,
		"model.path.x=1":               `--set model.path.x: model.path is "../model/demo", and has no keys`,
		"block.preset=nope":            `--set block.preset is "nope"; it must be one of edgeinfinite, eisft, infini`,
		"eval.policies=[full, fool]":   `--set eval.policies[1] is "fool"`,
		"model.quantized={sha256: ab}": "model.quantized.folder is missing",
	} {
		_, err := Parse([]byte(small), "/project/configs/small.yaml", set(t, text)...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error\n%v\nwant\n%s", text, err, want)
		}
	}
	for _, text := range []string{"", "seed", "=1", "a b=1", "a..b=1", "a: b=1", "{a}=1"} {
		if s, err := strictyaml.ParseSetting(text, "--set"); err == nil {
			t.Errorf("%q is taken as %+v", text, s)
		}
	}
}
