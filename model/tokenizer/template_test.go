package tokenizer

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"eisft/model/hf"
	"eisft/model/tokenizer/jinja"
)

// templateIn makes a checkpoint folder with a chat template and loads it.
func templateIn(t testing.TB, source string) (*Template, error) {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "chat_template.jinja", source)
	write(t, dir, "tokenizer_config.json", `{"bos_token": {"content": "<s>"}, "eos_token": "</s>"}`)
	return LoadTemplate(dir)
}

func write(t testing.TB, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestTemplatesMatchJinja compares with Jinja2 set up as in transformers
// (scripts/reference/chat_templates.py).
func TestTemplatesMatchJinja(t *testing.T) {
	var cases []struct {
		Template, Conversation string
		Messages               []Message
		Prompt                 bool `json:"add_generation_prompt"`
		Rendered, Refused      string
	}
	readJSON(t, "testdata/templates.json", &cases)
	templates := map[string]*Template{}
	for _, c := range cases {
		if templates[c.Template] == nil {
			source := read(t, "testdata/templates", c.Template)
			template, err := templateIn(t, source)
			if err != nil {
				t.Fatalf("%s: %v", c.Template, err)
			}
			if template.Source() != source {
				t.Errorf("%s: Source is not the file's text", c.Template)
			}
			templates[c.Template] = template
		}
		got, err := templates[c.Template].Render(c.Messages, RenderOptions{GenerationPrompt: c.Prompt})
		switch {
		case c.Refused != "":
			if err == nil || !strings.Contains(err.Error(), "refuses the messages: "+c.Refused) {
				t.Errorf("%s, %s: got %q, %v; want it refused: %s", c.Template, c.Conversation, got, err, c.Refused)
			}
		case err != nil || got != c.Rendered:
			t.Errorf("%s, %s, prompt %v: %v\n got %s\nwant %s", c.Template, c.Conversation, c.Prompt, err, got, c.Rendered)
		}
	}
}

func TestTemplateErrors(t *testing.T) {
	for _, c := range []struct{ name, source, want string }{
		{"include", "a\n{% include 'x' %}", "2: {% include %} is not supported: a chat template stands alone"},
		{"unknown statement", "\n{% frob %}", "2: unknown statement {% frob %}"},
		{"unknown filter", "{{ 'a' | frobnicate }}", `1: no filter is named "frobnicate"`},
		{"unknown test", "{{ 'a' is frobnicated }}", `1: no test is named "frobnicated"`},
		{"unknown method", "\n\n{{ 'a'.frobnicate() }}", `3: str has no attribute "frobnicate"`},
		{"changing a list", "{% set l = [] %}{{ l.append(1) }}", `1: the attribute "append" of a list is not safe`},
		{"unclosed if", "a\n{% if true %}\n\n", "2: {% if %} has no {% endif %}"},
		{"unclosed tag", "x\n\n{{ messages", "3: the tag has no }}"},
		{"unclosed comment", "{# x", "1: the comment has no #}"},
		{"unclosed string", "{{ 'x }}", "1: the string 'x }}... has no end"},
		{"unclosed bracket", "{{ (1 }}", `1: found '}', want ')'`},
		{"empty tag", "{{ }}", "1: an expression is missing"},
		{"odd character", "{{ a ? b }}", `1: unexpected "?"`},
		{"loop without end", "{% for i in range(100000) %}\n{% for j in range(100000) %}{% endfor %}{% endfor %}", "2: the template takes more than 5000000 steps"},
		{"raw", "{% raw %}{{", "1: {% raw %} has no {% endraw %}"},
		{"for without in", "{% for x %}{% endfor %}", "1: found \"%}\", want in"},
		{"recursive macro", "{% macro f() %}\n{{ f() }}{% endmacro %}{{ f() }}", "2: macro f: calls are nested more than 100 deep"},
		{"nesting", "{{ " + strings.Repeat("(", 300) + "1" + strings.Repeat(")", 300) + " }}", "1: expressions or statements are nested more than 200 deep"},
		{"size", strings.Repeat(" ", 1<<20+1), "1: the template is 1048577 bytes long, want at most 1048576"},
		{"attribute of nothing", "{{ nothing.x }}", `1: "nothing" is undefined`},
		{"date", "{{ strftime_now('%Q') }}", `1: function strftime_now: %Q in "%Q" is not supported`},
		{"range", "{% for i in range(1000000) %}{% endfor %}", "1: function range: it has 1000000 numbers"},
	} {
		template, err := templateIn(t, c.source)
		if err == nil {
			_, err = template.Render([]Message{{Role: "user", Content: "Hi"}}, RenderOptions{GenerationPrompt: true})
		}
		if err == nil || !strings.Contains(err.Error(), "chat_template.jinja:"+c.want) {
			t.Errorf("%s: error %v\nwant %s", c.name, err, c.want)
		}
	}
}

func TestLoadTemplate(t *testing.T) {
	for _, c := range []struct{ name, config, want string }{
		{"string", `{"chat_template": "one"}`, "one"},
		{"default of several", `{"chat_template": [{"name": "rag", "template": "x"}, {"name": "default", "template": "two"}]}`, "two"},
		{"the only one", `{"chat_template": [{"name": "x", "template": "three"}]}`, "three"},
		{"none", `{}`, "has neither a chat_template.jinja nor a chat_template"},
		{"null", `{"chat_template": null}`, "has neither"},
		{"no default", `{"chat_template": [{"name": "a", "template": ""}, {"name": "b", "template": ""}]}`, `named "default" (found ["a" "b"])`},
		{"wrong type", `{"chat_template": 7}`, `want a string or a list of {"name", "template"}, found 7`},
		{"invalid", "{\n\"chat_template\": }", "tokenizer_config.json: invalid JSON at line 2, column 18 (offset 20)"},
	} {
		dir := t.TempDir()
		write(t, dir, "tokenizer_config.json", c.config)
		template, err := LoadTemplate(dir)
		got := ""
		if err == nil {
			got, err = template.Render(nil, RenderOptions{})
		}
		if got != c.want && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %q, %v; want %s", c.name, got, err, c.want)
		}
	}
	for _, c := range []struct{ processor, want string }{
		{`{"chat_template": "{{ bos_token }}one"}`, "<s>one"},
		{`{"chat_template": 7}`, "chat_template.json: chat_template: want a string"},
		{`{`, "chat_template.json: invalid JSON"},
	} { // of a multimodal model
		dir := t.TempDir()
		write(t, dir, "tokenizer_config.json", `{"bos_token": "<s>"}`)
		write(t, dir, "chat_template.json", c.processor)
		template, err := LoadTemplate(dir)
		got := ""
		if err == nil {
			got, err = template.Render(nil, RenderOptions{})
		}
		if got != c.want && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %q, %v; want %s", c.processor, got, err, c.want)
		}
	}
}

// TestConcurrentRender lets goroutines share a template.
func TestConcurrentRender(t *testing.T) {
	template, err := templateIn(t, read(t, "testdata/templates", "smollm3.jinja"))
	if err != nil {
		t.Fatal(err)
	}
	msgs := []Message{{Role: "system", Content: "S"}, {Role: "user", Content: "Q"}, {Role: "assistant", Content: "A"}}
	want, err := template.Render(msgs, RenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				if got, err := template.Render(msgs, RenderOptions{}); err != nil || got != want {
					t.Errorf("goroutines disturb each other: %q, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkRender(b *testing.B) {
	for _, name := range []string{"chatml.jinja", "llama32.jinja"} {
		b.Run(name, func(b *testing.B) {
			template, err := templateIn(b, read(b, "testdata/templates", name))
			if err != nil {
				b.Fatal(err)
			}
			msgs := []Message{{Role: "system", Content: "Answer from the conversation."}}
			for range 6 {
				msgs = append(msgs, Message{Role: "user", Content: "What did they decide?"}, Message{Role: "assistant", Content: "To meet on Friday."})
			}
			for b.Loop() {
				if _, err := template.Render(msgs, RenderOptions{GenerationPrompt: true}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(msgs)), "µs/message")
		})
	}
}

// FuzzTemplate checks that no template panics.
func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{
		"{% for m in messages %}<{{ m.role }}>{{ m['content'] | trim }}{% endfor %}", "{{ bos_token }}{% if add_generation_prompt %}a{% endif %}",
		"{%- if messages[0].role != 'user' %}{{ raise_exception('no') }}{% endif -%}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		if len(source) > 1<<12 {
			return
		}
		parsed, err := jinja.Parse("fuzz", source)
		if err != nil {
			return
		}
		template := Template{jinja: parsed}
		_, _ = template.Render([]Message{{Role: "system", Content: "S"}, {Role: "user", Content: "Hi"}}, RenderOptions{GenerationPrompt: true})
	})
}

// FuzzConfig: whatever the files beside a tokenizer.json say of its special tokens and of the
// chat template, they are refused by their name, or the tokenizer works.
func FuzzConfig(f *testing.F) {
	dir := f.TempDir()
	write(f, dir, File, tokenizerJSON(parts{"added_tokens": `[{"id": 258, "content": "<s>", "special": true}]`}, byteAlphabet))
	f.Add(`{"bos_token": {"content": "<s>"}, "eos_token": "</s>", "chat_template": "{{ bos_token }}{{ messages[0].content }}"}`, `{"eos_token": "<s>"}`, `{"pad_token_id": [258, 1]}`)
	f.Add(`{"added_tokens_decoder": {}, "chat_template": [{"name": "default", "template": "{{ eos_token }}"}]}`, `{"bos_token": null}`, `{"eos_token_id": -1}`)
	f.Add(`{"chat_template": [{}, {}]}`, `[]`, `null`)
	f.Fuzz(func(t *testing.T, config, special, generation string) {
		files := map[string]string{ConfigFile: config, specialFile: special, hf.GenerationFile: generation}
		for name, text := range files {
			write(t, dir, name, text)
		}
		named := func(err error) {
			for name := range files {
				if strings.Contains(err.Error(), name) {
					return
				}
			}
			t.Errorf("the error names none of the files: %v", err)
		}
		tk, err := Load(dir)
		if err != nil {
			named(err)
			return
		}
		tk.Encode(tk.BOS()+"a"+tk.EOS(), true)
		template, err := LoadTemplate(dir)
		if err != nil {
			if !errors.Is(err, ErrNoTemplate) {
				named(err)
			}
			return
		}
		_, _ = template.Render([]Message{{Role: "user", Content: "Hi"}}, RenderOptions{GenerationPrompt: true})
	})
}
