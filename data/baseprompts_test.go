package data

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBasePrompts: rows are asked as the base was trained, unless the options say otherwise or
// the row is written so already.
func TestBasePrompts(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write(BaseFile, `{"prompt": "Read.\n{context}\n{input}", "prompts": {"qa": "Answer.\n{context}\nQuestion: {input}"}}`)
	base, err := ReadBasePrompts(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		options                Options
		dataset, context, want string
	}{
		"of the dataset":      {Options{Base: base}, "qa", "C", "Answer.\nC\nQuestion: I"},
		"of all":              {Options{Base: base}, "other", "C", "Read.\nC\nI"},
		"written already":     {Options{Base: base}, "qa", "Answer.\nC", "Answer.\nC\n\nI"},
		"the prompt's own":    {Options{Base: base, Prompt: "{context}: {input}"}, "qa", "C", "C: I"},
		"another dataset's":   {Options{Base: base, Prompts: map[string]string{"other": "{context}"}}, "qa", "C", "Answer.\nC\nQuestion: I"},
		"the dataset's":       {Options{Base: base, Prompts: map[string]string{"qa": "{context}+{input}"}}, "qa", "C", "C+I"},
		"a base without them": {Options{}, "qa", "C", "C\n\nI"},
	} {
		if got, err := test.options.prompt(test.dataset, test.context, "I"); err != nil || got != test.want {
			t.Errorf("%s: %q (%v), want %q", name, got, err, test.want)
		}
	}
	for _, none := range []string{t.TempDir(), write("model.gguf", "GGUF")} {
		if b, err := ReadBasePrompts(none); err != nil || b.Prompt != "" || b.Prompts != nil {
			t.Errorf("%s: %+v, %v", none, b, err)
		}
	}
	for text, want := range map[string]string{
		`{"promt": "x"}`:            "unknown field",
		`{"prompt": "{input}"}`:     "does not contain {context}",
		`{"prompts": {"a": "b"}}`:   "prompts: a: template",
		`[]`:                        "it is a JSON array; it must be an object",
		`{"prompt": "{context}"`:    "unexpected EOF",
		`{"prompt": 3}`:             "prompt is a JSON number; it must be text",
		`{"prompts": {"a": ["b"]}}`: "a JSON array; it must be text",
	} {
		write(BaseFile, text)
		if _, err := ReadBasePrompts(dir); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), BaseFile) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestParseColumns(t *testing.T) {
	got, err := ParseColumns("context=document,_id=key")
	if want := (Columns{Context: "document", ID: "key"}); err != nil || got != want {
		t.Errorf("%+v (%v), want %+v", got, err, want)
	}
	for text, want := range map[string]string{
		"": "want NAME=COLUMN", "context": "want NAME=COLUMN", "context=": "want NAME=COLUMN", "contxt=a": "did you mean context?", "context=a,": "want NAME=COLUMN",
	} {
		if _, err := ParseColumns(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
