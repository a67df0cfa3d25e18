package config

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// TestOver: a run goes on with what it was started with, and what is written now over it.
func TestOver(t *testing.T) {
	const head = "model: {path: /m}\ndata: {train: /a.jsonl}\n"
	for _, c := range []struct {
		name, was, now string
		want           string // what it goes on with, as was and now are written
	}{
		{
			"a default that was another one", head + "stages: [{kind: s-sft, warmup: 7, lr: {gate: 0.5}}]\neval: {samples: 3}\n",
			head + "stages: [{kind: s-sft}]\n",
			head + "stages: [{kind: s-sft, warmup: 7, lr: {gate: 0.5}}]\neval: {samples: 3}\n",
		},
		{
			"what is written", head + "seed: 1\nstages: [{kind: s-sft, warmup: 7, lr: {gate: 0.5}}]\neval: {samples: 3, policies: [full]}\n",
			head + "stages: [{kind: s-sft, lr: {gate: 0.1}}]\neval: {policies: [window, eisft], data: /e.jsonl}\n",
			head + "seed: 1\nstages: [{kind: s-sft, warmup: 7, lr: {gate: 0.1}}]\neval: {samples: 3, policies: [window, eisft], data: /e.jsonl}\n",
		},
		{
			"another stage behind, and another kind", head + "stages: [{kind: distill, steps: 7}, {kind: s-sft, warmup: 7}]\n",
			head + "stages: [{kind: distill}, {kind: distill}, {kind: prune}]\n",
			head + "stages: [{kind: distill, steps: 7}, {kind: distill}, {kind: prune}]\n",
		},
		{
			"a stage less", head + "stages: [{kind: distill}, {kind: s-sft}]\n", head + "stages: [{kind: distill}]\n",
			head + "stages: [{kind: distill}]\n",
		},
		{
			"files", "model: {path: /m}\ndata: {train: [/a.jsonl, {path: /b.jsonl, weight: 2}]}\nstages: [{kind: s-sft}]\n",
			"model: {path: /m}\ndata: {train: [/a.jsonl, {path: /c.jsonl}]}\nstages: [{kind: s-sft}]\n",
			"model: {path: /m}\ndata: {train: [/a.jsonl, {path: /c.jsonl}]}\nstages: [{kind: s-sft}]\n",
		},
		{
			"other files with keys", head + "stages: [{kind: s-sft}]\neval: {data: [{path: /b.jsonl, prompt: \"{context}\"}, {path: /c.jsonl, format: text}]}\n",
			head + "stages: [{kind: s-sft}]\neval: {data: [{path: /d.jsonl, format: qa}, {path: /c.jsonl, prompt: \"{context}\"}]}\n",
			head + "stages: [{kind: s-sft}]\neval: {data: [{path: /d.jsonl, format: qa}, {path: /c.jsonl, format: text, prompt: \"{context}\"}]}\n",
		},
		{
			"what is written as nothing", head + "stages: [{kind: s-sft}]\ncheckpoint: {keep: 2}\ntensorboard: true\nvalidation: {share: 5%, every: 3}\n",
			head + "stages: [{kind: s-sft}]\ncheckpoint: {keep: 0}\ntensorboard: false\nvalidation: {share: 0%, every: 0}\n",
			head + "stages: [{kind: s-sft}]\nvalidation: {every: 0}\n",
		},
		{
			"a key that is taken out", head + "stages: [{kind: s-sft}]\nblock: {slot_layers: [1]}\nvalidation: {share: 5%}\n",
			head + "stages: [{kind: s-sft}]\n",
			head + "stages: [{kind: s-sft}]\nblock: {slot_layers: [1]}\nvalidation: {share: 5%}\n",
		},
	} {
		dir := t.TempDir()
		read := func(text string) (*Config, Written) {
			path := filepath.Join(dir, "c.yaml")
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			c, written, err := LoadWritten(path)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			return c, written
		}
		was, _ := read(c.was)
		now, written := read(c.now)
		want, _ := read(c.want)
		got, err := now.Over(was, written, filepath.Join(dir, "c.yaml"))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\n%+v, want\n%+v", c.name, err, got, want)
		}
		if all, err := now.Over(was, nil, ""); err != nil || !reflect.DeepEqual(all, now) {
			t.Errorf("%s, all of it written: %v, %+v", c.name, err, all)
		}
	}
}

// TestWritten: keys of the file and of flags are written, defaults are not.
func TestWritten(t *testing.T) {
	_, w, err := LoadWritten(filepath.Join("..", "..", "configs", "s-sft.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		"seed": true, "stages": true, "stages[0].kind": true, "stages[0].lr.gate": true, "stages[0].betas[1]": true,
		"stages[0].capacity": false, "validation.share": false, "tensorboard": true,
	} {
		if w.has(path) != want {
			t.Errorf("%s: written %v", path, !want)
		}
	}
	if !Written(nil).has("x") {
		t.Error("nil is not all")
	}
}
