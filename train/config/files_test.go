package config

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"eisft/data"
	"eisft/internal/strictyaml"
)

// training is small with other data.
func training(section string) string {
	return strings.Replace(small, "  train: train.parquet\n", section, 1)
}

// TestFiles: data.train is a path, a pattern, or a list of them and of sections, whose paths
// are relative to the file, and what is written is read again.
func TestFiles(t *testing.T) {
	text := training(`  train:
    - a.jsonl
    - "../b/*.jsonl.zst"
    - {path: /c.parquet, weight: 2.5, format: text, columns: {text: body}}
    - path: d.parquet
      prompt: |
        {context}

        Say it briefly.
      prompts: {x: "{context}"}
  long: keep-end
validation: {share: 5%}
`)
	c := parse(t, text)
	want := data.Files{
		{Path: "/project/configs/a.jsonl"},
		{Path: "/project/b/*.jsonl.zst"},
		{Path: "/c.parquet", Weight: 2.5, Options: data.Options{Format: data.FormatText, Columns: data.Columns{Text: "body"}}},
		{Path: "/project/configs/d.parquet", Options: data.Options{Prompt: "{context}\n\nSay it briefly.\n", Prompts: map[string]string{"x": "{context}"}}},
	}
	if !reflect.DeepEqual(c.Data.Train, want) || c.Validation.Share != 0.05 || c.Data.Long != data.LongKeepEnd {
		t.Errorf("got %+v", c.Data)
	}
	if h := c.Eval.HeldOut; c.Eval.Nothing() || h == nil || h.Share != 0.05 || !reflect.DeepEqual(h.Set.Files, want) {
		t.Errorf("held out is %+v", h)
	}
	out, err := c.Text("/project/runs/x")
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(out, "/project/runs/x/config.yaml")
	if err != nil || !reflect.DeepEqual(c, again) {
		t.Errorf("read back (%v)\n%+v, want\n%+v in\n%s", err, again, c, out)
	}
	if c = parse(t, text+"eval: {data: e.parquet}\n"); c.Eval.HeldOut != nil {
		t.Error("rows that are held out go before eval.data")
	}
	set, err := Parse([]byte(small), "/project/configs/c.yaml", strictyaml.Setting{Path: "data.train", Value: "[x.jsonl, {path: y.jsonl, weight: 2}]", Flag: "--set"})
	here, _ := filepath.Abs("")
	if err != nil || set.Data.Train[1].Path != filepath.Join(here, "y.jsonl") || set.Data.Train[1].Weight != 2 {
		t.Errorf("%+v, %v", set, err)
	}
}

func TestFilesErrors(t *testing.T) {
	for section, want := range map[string]string{
		"":                                  "data.train is missing, but it is required",
		"  train: ''\n":                     "data.train is missing, but it is required",
		"  train: []\n":                     "data.train is missing, but it is required",
		"  train: 3\n":                      "data.train must be text, not 3",
		"  train: [3]\n":                    "data.train[0] must be text, not 3",
		"  train:\n":                        "data.train has no value; give one or remove the key",
		"  train: ['']\n":                   "data.train[0].path is missing, but it is required",
		"  train: {path: a.jsonl}\n":        "data.train must be a path, or a list of paths and sections, not a section of keys; put - in front of it",
		"  train: [{paht: a.jsonl}]\n":      `data.train[0].paht is not a known key; did you mean "path"?`,
		"  train: [{path: a, wieght: 1}]\n": `data.train[0].wieght is not a known key; did you mean "weight"?`,
		"  train: [{path: a, columns: {contex: a}}]\n":             `data.train[0].columns.contex is not a known key; did you mean "context"?`,
		"  train: [{path: a, weight: many}]\n":                     `data.train[0].weight must be a number, not "many"`,
		"  train: [{path: a, weight: -1}]\n":                       "data.train[0].weight is -1; it must be more than 0",
		"  train: [{path: a, weight: 0}]\n":                        "data.train[0].weight is 0: nothing would be drawn of the entry, whose rows would be read and checked all the same; leave the entry out, or give it more than 0",
		"  train: [a, {weight: 1}]\n":                              "data.train[1].path is missing, but it is required",
		"  train: a\neval: {data: [{path: a, weight: 2}]}\n":       "eval.data[0].weight is for data.train, whose rows are drawn; of these every row is read once, in order: leave it out",
		"  train: a\neval: {data: {path: a}}\n":                    "eval.data must be a path, or a list of paths and sections, not a section of keys; put - in front of it",
		"  train: a\nvalidation: {data: [a, {weight: 1}]}\n":       "validation.data[1].path is missing, but it is required",
		"  train: a\nvalidation: {data: [{path: a, weight: 1}]}\n": "validation.data[0].weight is for data.train",
		"  train: [{path: a, format: alpacca}]\n":                  `data.train[0].format is "alpacca"; did you mean "alpaca"?`,
		"  train: [[a]]\n":                                         "data.train[0] must be text, not a list",
		"  train: a\n  long: midle\n":                              `data.long is "midle"; did you mean "middle"? It must be one of keep-start, keep-end, middle, split, drop`,
		"  train: a\nvalidation: {share: 120%}\n":                  `validation.share is "120%"; want a share of the rows below 100%, such as 5% or 0.05`,
		"  train: a\nvalidation: {share: some}\n":                  `validation.share is "some"; want a share of the rows below 100%, such as 5% or 0.05`,
		"  train: a\nvalidation: {share: [5%]}\n":                  "validation.share must be text, not a list",
		"  train: a\nvalidation: {share: 1}\n":                     `validation.share is "1"; want a share of the rows below 100%, such as 5% or 0.05`,
		"  train: a\nvalidation: {shar: 0.1}\n":                    `validation.shar is not a known key; did you mean "share"?`,
		"  train: a\nvalidation: {share: 0.1, data: b}\n":          "validation has data and share, of which one can say",
	} {
		text := training(section)
		if section == "" {
			text = strings.Replace(text, "data:\n", "data: {samples: 1}\n", 1)
		}
		_, err := Parse([]byte(text), "/project/configs/c.yaml")
		if err == nil || !strings.Contains(err.Error(), ": "+want) {
			t.Errorf("%q: %v, want %s", section, err, want)
		}
	}
}
