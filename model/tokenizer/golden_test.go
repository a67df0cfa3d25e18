package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"eisft/internal/testfiles"
)

var loaded = map[string]*Tokenizer{}

// load returns one of the tokenizers of testfiles.Tokenizer, which it loads once.
func load(t testing.TB, name string) *Tokenizer {
	t.Helper()
	dir := testfiles.Tokenizer(t, name)
	if loaded[dir] == nil {
		tk, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		loaded[dir] = tk
	}
	return loaded[dir]
}

func readJSON(t testing.TB, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// TestGolden compares with the tokenizers library.
func TestGolden(t *testing.T) {
	for _, c := range []struct{ golden, dir string }{
		{"tokenizer/base.json", "demo"},
		{"tokenizer/qwen3.json", "qwen3"},
	} {
		t.Run(c.dir, func(t *testing.T) { compareGolden(t, load(t, c.dir), c.golden) })
	}
}

func compareGolden(t *testing.T, tk *Tokenizer, golden string) {
	t.Helper()
	var cases []struct {
		Text        string  `json:"text"`
		IDs         []int32 `json:"ids"`
		Decoded     string  `json:"decoded"`
		DecodedSkip string  `json:"decoded_skip"`
	}
	readJSON(t, testfiles.Golden(t, golden), &cases)
	if len(cases) < 41 {
		t.Fatalf("found %d cases, want 41", len(cases))
	}
	for _, g := range cases {
		if got := tk.Encode(g.Text, true); !slices.Equal(got, g.IDs) {
			t.Errorf("Encode(%q) = %v, want %v", g.Text, got, g.IDs)
		}
		if got := tk.Decode(g.IDs, false); got != g.Decoded {
			t.Errorf("Decode(%v) = %q, want %q", g.IDs, got, g.Decoded)
		}
		if got := tk.Decode(g.IDs, true); got != g.DecodedSkip {
			t.Errorf("Decode(%v, skip) = %q, want %q", g.IDs, got, g.DecodedSkip)
		}
		if got := streamed(tk, g.IDs); got != g.DecodedSkip {
			t.Errorf("stream of %v = %q, want %q", g.IDs, got, g.DecodedSkip)
		}
	}
}

func streamed(tk *Tokenizer, ids []int32) string {
	var b strings.Builder
	s := tk.NewStream()
	for _, id := range ids {
		b.WriteString(s.Add(id))
	}
	return b.String() + s.Flush()
}

// TestGoldenStories compares with run.c's own tokenizer, on short strings and on
// whole stories.
func TestGoldenStories(t *testing.T) {
	compareStories(t, load(t, "stories260k"))
}

func compareStories(t *testing.T, tk *Tokenizer) {
	t.Helper()
	dir := testfiles.Golden(t, "stories260k")
	texts := strings.Split(strings.TrimSuffix(read(t, dir, "texts.txt"), "\n"), "\n")
	compareLines(t, tk, texts, read(t, dir, "texts.ids"))

	var stories []string
	for s := range strings.SplitSeq(read(t, dir, "tinystories_sample.txt"), "<|endoftext|>") {
		if s = strings.TrimSpace(s); s != "" {
			stories = append(stories, s)
		}
	}
	compareLines(t, tk, stories, read(t, dir, "sample_ids.txt"))
}

func read(t testing.TB, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func compareLines(t *testing.T, tk *Tokenizer, texts []string, idLines string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(idLines), "\n")
	if len(lines) != len(texts) {
		t.Fatalf("found %d texts and %d lines of ids", len(texts), len(lines))
	}
	for i, text := range texts {
		var want []int32
		for f := range strings.FieldsFuncSeq(lines[i], func(r rune) bool { return r == ' ' || r == ',' }) {
			id, err := strconv.Atoi(f)
			if err != nil {
				t.Fatalf("line %d: %v", i+1, err)
			}
			want = append(want, int32(id))
		}
		if got := tk.Encode(text, true); !slices.Equal(got, want) {
			t.Errorf("Encode(%q) = %v, want %v", text, got, want)
		}
		if got := tk.Decode(want, true); got != text {
			t.Errorf("Decode = %q, want %q", got, text)
		}
		if got := streamed(tk, want); got != text {
			t.Errorf("stream = %q, want %q", got, text)
		}
	}
}

// TestGoldenChatTemplates compares with transformers.
func TestGoldenChatTemplates(t *testing.T) {
	var cases []struct {
		Tokenizer string
		Messages  []Message
		Prompt    bool `json:"add_generation_prompt"`
		Rendered  string
	}
	readJSON(t, testfiles.Golden(t, "tokenizer/chat_templates.json"), &cases)
	dirs := map[string]string{"base": testfiles.Base(t, "demo"), "qwen3": testfiles.Golden(t, "qwen3")}
	for i, c := range cases {
		template, err := LoadTemplate(dirs[c.Tokenizer])
		if err != nil {
			t.Fatal(err)
		}
		got, err := template.Render(c.Messages, RenderOptions{GenerationPrompt: c.Prompt})
		if err != nil || got != c.Rendered {
			t.Errorf("case %d (%s): got %q, %v\nwant %q", i, c.Tokenizer, got, err, c.Rendered)
		}
	}
}
