package tokenizer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSpecialTokens: tokens with a role stand in one of three files.
func TestSpecialTokens(t *testing.T) {
	const mark = "\xef\xbb\xbf"
	vocabulary := tokenizerJSON(parts{"added_tokens": `[{"id": 2, "content": "<s>", "special": true}, {"id": 3, "content": "</s>", "special": true}]`}, "ab")
	for name, tc := range map[string]struct{ config, special, generation, want string }{
		"config":               {`{"bos_token":"<a>","eos_token":{"content":"<b>"}}`, "", "", "<a> <b>"},
		"map":                  {"", `{"bos_token":"<a>","eos_token":{"content":"<b>","lstrip":false}}`, "", "<a> <b>"},
		"map, later config":    {`{"added_tokens_decoder":{}}`, `{"bos_token":"<a>","eos_token":"<b>"}`, "", "<a> <b>"},
		"both":                 {`{"bos_token":"<a>","eos_token":"<b>"}`, `{"bos_token":"<c>"}`, "", "<c> <b>"},
		"both, later config":   {`{"added_tokens_decoder":{},"bos_token":"<a>","eos_token":null}`, `{"bos_token":"<c>","eos_token":"<d>"}`, "", "<a> "},
		"ids":                  {"", "", `{"bos_token_id":2,"eos_token_id":[3,1]}`, "<s> </s>"},
		"ids beside a map":     {"", `{"bos_token":"<a>"}`, `{"bos_token_id":2,"eos_token_id":3}`, "<a> </s>"},
		"ids beside null":      {`{"bos_token":null}`, "", `{"bos_token_id":2,"eos_token_id":3}`, " </s>"},
		"ids of nothing":       {"", "", `{"bos_token_id":null,"eos_token_id":77}`, " "},
		"byte order marks":     {mark + `{"bos_token":"<a>"}`, mark + `{"eos_token":"<b>"}`, mark + `{}`, "<a> <b>"},
		"marks before the ids": {mark + `{}`, mark + `{}`, mark + `{"bos_token_id":2}`, "<s> "},
	} {
		dir := t.TempDir()
		write(t, dir, File, mark+vocabulary)
		write(t, dir, TemplateFile, "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}")
		for file, text := range map[string]string{ConfigFile: tc.config, specialFile: tc.special, "generation_config.json": tc.generation} {
			if text != "" {
				write(t, dir, file, text)
			}
		}
		tk, err := Load(dir)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := tk.BOS() + " " + tk.EOS(); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
		template, err := LoadTemplate(dir)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text, err := template.Render([]Message{{Role: "user", Content: " "}}, RenderOptions{})
		if err != nil || text != tc.want {
			t.Errorf("%s: rendered %q (%v), want %q", name, text, err, tc.want)
		}
	}
}

// TestFolders: a tokenizer is found through the layout of Hugging Face's cache, and what
// stands in the place of its file is named.
func TestFolders(t *testing.T) {
	root := filepath.Join(t.TempDir(), "models--org--name")
	snapshot := filepath.Join(root, "snapshots", "r1")
	for _, dir := range []string{snapshot, filepath.Join(root, "blobs")} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	write(t, root, "blobs/x", tokenizerJSON(nil, "ab"))
	if err := os.Symlink("../../blobs/x", filepath.Join(snapshot, File)); err != nil {
		t.Fatal(err)
	}
	if tk, err := Load(root); err != nil || tk.VocabSize() != 2 {
		t.Errorf("cache: %v", err)
	}
	for file, want := range map[string]string{
		File: "load tokenizer: DIR/tokenizer.json: found a Git LFS pointer in the place of the file of 9 bytes that it stands for: run git lfs pull in its folder, or download the file itself",
	} {
		dir := t.TempDir()
		write(t, dir, file, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
		_, err := Load(dir)
		if err == nil || strings.ReplaceAll(err.Error(), dir, "DIR") != want {
			t.Errorf("%s: %v\nwant %s", file, err, want)
		}
	}
}

// TestLimit: tokens that the embedding has no row for are named once, and where they are used.
func TestLimit(t *testing.T) {
	tk, err := parse([]byte(tokenizerJSON(parts{"added_tokens": `[{"id": 3, "content": "[PAD]"}, {"id": 5, "content": "<i>"}, {"id": 6, "content": "<j>"}, {"id": 7, "content": "<k>"}]`}, "abc")))
	if err != nil {
		t.Fatal(err)
	}
	ids := tk.Encode("ab[PAD]", false)
	if err := tk.Check(ids); err != nil {
		t.Errorf("without a limit: %v", err)
	}
	for rows, want := range map[int]string{
		9: "", 8: "",
		7: `the tokenizer has tokens beyond the 7 rows of the model's embedding, "<k>" (id 7): a text with one of them is refused`,
		3: `the tokenizer has tokens beyond the 3 rows of the model's embedding, "[PAD]" (id 3), "<i>" (id 5), "<j>" (id 6), 1 more: a text with one of them is refused`,
	} {
		if got, err := tk.Limit(rows); got != want || err != nil {
			t.Errorf("%d rows: %q (%v), want %q", rows, got, err, want)
		}
	}
	if w, err := tk.Limit(2); w != "" || err == nil || err.Error() != "the tokenizer has 8 tokens, but the model embeds only 2; they belong to different models" {
		t.Errorf("%q, %v", w, err)
	}
	if _, err := tk.Limit(3); err != nil {
		t.Fatal(err)
	}
	if err := tk.Check(ids[:2]); err != nil {
		t.Errorf("ids below: %v", err)
	}
	want := `the text has the token "[PAD]", whose id is 3, but the model's embedding has 3 rows, those of the ids 0 to 2: leave the token out, or take a model that was trained with it`
	if err := tk.Check(ids); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
