package runs

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/data"
	"eisft/eval"
	"eisft/train/config"
)

// TestEvaluatedOn: a card names rows without folders of the machine, those that are held out, too.
func TestEvaluatedOn(t *testing.T) {
	train := data.Files{{Path: "/home/me/chats*.jsonl"}, {Path: "/home/me/b.parquet"}}
	r := &Run{Config: config.Config{Data: config.Data{Train: train}}}
	r.Config.Eval.HeldOut = &eval.HeldOut{Share: 0.05}
	if got, want := r.evaluatedOn(), "5% of chats*.jsonl, b.parquet, held out of training"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	r.Config.Eval.Data = data.One("/home/me/test.parquet")
	if got := r.evaluatedOn(); got != "test.parquet" {
		t.Errorf("%q", got)
	}
}

// TestListJSON: where there are no runs the list is one in JSON, and a score of 0 is a score.
func TestListJSON(t *testing.T) {
	list, err := List(t.TempDir())
	if text, _ := json.Marshal(list); err != nil || string(text) != "[]" {
		t.Errorf("%s, %v", text, err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, EvalFile), []byte(`{"after":[{"policy":"eisft","scores":[{"bucket":"all","n":1,"em":0}]}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s := Summary{Dir: dir}
	if err := s.evaluation(); err != nil {
		t.Fatal(err)
	}
	if text, _ := json.Marshal(s); !strings.Contains(string(text), `"score":0,`) {
		t.Errorf("no score in %s", text)
	}
}

// TestBaseCard: the license of a base's card, whatever it looks like.
func TestBaseCard(t *testing.T) {
	for text, want := range map[string]cardHead{
		"---\nlicense: apache-2.0\nlanguage: en\n---\n# A":                                    {License: "apache-2.0"},
		"---\r\nlicense: mit\r\n---\r\n":                                                      {License: "mit"},
		"---\nlicense: other\nlicense_name: qwen\nlicense_link: https://example.org/l\n---\n": {License: "other", LicenseName: "qwen", LicenseLink: "https://example.org/l"},
		"---\nlicense: [mit]\n---\n":                                                          {License: "mit"},
		"---\nlicense: [mit, bsd]\n---\n":                                                     {}, // whose choice is not ours
		"---\nlicense: {a: b}\n---\n":                                                         {},
		"---\nlicense: mit\n":                                                                 {},
		"---\n\t: [\n---\n":                                                                   {},
		"# license: mit":                                                                      {},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, CardFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := baseCard(dir); got.License != want.License || got.LicenseName != want.LicenseName || got.LicenseLink != want.LicenseLink {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
	if got := baseCard(filepath.Join(t.TempDir(), "none")); got.License != "" {
		t.Errorf("of no folder: %+v", got)
	}
}

// TestHubID finds repositories in paths of Hugging Face's cache.
func TestHubID(t *testing.T) {
	for path, want := range map[string]string{
		"/home/a/.cache/huggingface/hub/models--Qwen--Qwen2.5-0.5B/snapshots/06": "Qwen/Qwen2.5-0.5B",
		"models--org--a-b": "org/a-b", "/m/demo": "", "/m/models--gpt2": "", "/hub/datasets--org--d/x": "", "/my-models--a--b/x": "",
	} {
		if got := hubID(path, "models"); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// FuzzBaseCard: a card of any content is no panic.
func FuzzBaseCard(f *testing.F) {
	f.Add("---\nlicense: mit\n---\n")
	f.Fuzz(func(t *testing.T, text string) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, CardFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		baseCard(dir)
	})
}
