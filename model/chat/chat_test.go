package chat

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/modeltest"
	"eisft/model/tokenizer"
)

const demo = "../demo"

// demoParts opens the demo base with full attention.
func demoParts(t *testing.T) (*model.Model, *tokenizer.Tokenizer, *tokenizer.Template) {
	t.Helper()
	m := modeltest.Open(t, demo, model.FullAttention(256))
	tk, err := tokenizer.Load(demo)
	if err != nil {
		t.Fatal(err)
	}
	tpl, err := tokenizer.LoadTemplate(demo)
	if err != nil {
		t.Fatal(err)
	}
	return m, tk, tpl
}

// golden is a prompt and the reference's greedy answer to it.
type golden struct {
	Messages []tokenizer.Message
	Rendered string
	Answer   string
}

func openGolden(t *testing.T) golden {
	t.Helper()
	text, err := os.ReadFile(testfiles.Golden(t, "demo/golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func newDemo(t *testing.T) *Session {
	t.Helper()
	m, tk, tpl := demoParts(t)
	s, err := New(m, model.StreamOptions{}, tk, tpl)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ask(t *testing.T, s *Session, text string) string {
	t.Helper()
	answer, err := s.Ask(t.Context(), text, AnswerOptions{MaxNewTokens: 40})
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestAskDemoGolden(t *testing.T) {
	g, s := openGolden(t), newDemo(t)
	var pieces []string
	var progress []int
	answer, err := s.Ask(t.Context(), g.Messages[0].Content+"\n", AnswerOptions{
		MaxNewTokens: 40,
		Text:         func(piece string) error { pieces = append(pieces, piece); return nil },
		Progress:     func(done, total int) { progress = append(progress, done, total) },
	})
	if err != nil || answer != g.Answer || strings.Join(pieces, "") != g.Answer || len(pieces) < 2 {
		t.Errorf("answer %q in pieces %q (%v), want %q", answer, pieces, err, g.Answer)
	}
	n := len(s.tokenizer.Encode(g.Rendered, false))
	if want := []int{0, n, 256, n, 512, n, n, n}; !slices.Equal(progress, want) {
		t.Errorf("progress %v, want %v", progress, want)
	}
}

// TestTurnsAreTheTemplates asks twice, and once with the whole conversation
// rendered: the same tokens are read, and the same answer is given.
func TestTurnsAreTheTemplates(t *testing.T) {
	g, s := openGolden(t), newDemo(t)
	const second = "Question: What is the door code for the garage?"
	first := ask(t, s, g.Messages[0].Content)
	got := ask(t, s, second)

	messages := append(slices.Clone(g.Messages), tokenizer.Message{Role: "assistant", Content: first}, tokenizer.Message{Role: "user", Content: second})
	m, tk, tpl := demoParts(t)
	whole, err := tpl.Render(messages, tokenizer.RenderOptions{GenerationPrompt: true})
	if err != nil {
		t.Fatal(err)
	}
	ids := tk.Encode(whole, false)
	if n := len(ids) + len(tk.Encode(got, false)); s.Tokens() != n {
		t.Errorf("the session has had %d tokens, want %d", s.Tokens(), n)
	}
	stream := m.NewStream(model.StreamOptions{})
	next, err := stream.Read(t.Context(), ids, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := stream.Generate(t.Context(), next, model.GenerateOptions{MaxNewTokens: 40, Stop: StopIDs(m.Base.Config, tk, nil)})
	if want := tk.Decode(out, true); err != nil || got != want || got != "7468" {
		t.Errorf("answered %q turn by turn, %q as a whole (%v), want 7468", got, want, err)
	}
}

// TestReadOnceAskTwice reads a text, saves, and asks the opened state.
func TestReadOnceAskTwice(t *testing.T) {
	g := openGolden(t)
	m, tk, tpl := demoParts(t)
	path := filepath.Join(t.TempDir(), "state")
	text, question, _ := strings.Cut(g.Messages[0].Content, "\n\nQuestion: ")
	s := newDemo(t)
	if err := s.Read(t.Context(), text+"\n", nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(path); err != nil {
		t.Fatal(err)
	}
	for question, want := range map[string]string{question: g.Answer, "What is the door code for the garage?": "7468"} {
		s, err := Open(path, m, model.StreamOptions{}, tk, tpl)
		if err != nil {
			t.Fatal(err)
		}
		if got := ask(t, s, "Question: "+question); got != want {
			t.Errorf("%s %q, want %q", question, got, want)
		}
		if err := s.Save(path + "2"); err != nil {
			t.Fatal(err)
		}
		if s, err = Open(path+"2", m, model.StreamOptions{}, tk, tpl); err != nil {
			t.Fatal(err)
		}
		if got := ask(t, s, "Question: "+question); got != want {
			t.Errorf("asked again: %s %q, want %q", question, got, want)
		}
	}
}

func TestRawText(t *testing.T) {
	m, tk, _ := demoParts(t)
	s, err := New(m, model.StreamOptions{}, tk, nil)
	if err != nil {
		t.Fatal(err)
	}
	g := openGolden(t)
	if got := ask(t, s, g.Rendered); got != g.Answer {
		t.Errorf("continued with %q, want %q", got, g.Answer)
	}
}

func TestRefusals(t *testing.T) {
	m, tk, tpl := demoParts(t)
	dir := t.TempDir()
	save := func(tpl *tokenizer.Template) string {
		path := filepath.Join(dir, "state")
		s, err := New(m, model.StreamOptions{}, tk, tpl)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Read(t.Context(), "Good morning.", nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Save(path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bare := filepath.Join(dir, "bare")
	if err := m.NewStream(model.StreamOptions{}).Save(bare, nil); err != nil {
		t.Fatal(err)
	}
	open := func(path string, tpl *tokenizer.Template) error {
		_, err := Open(path, m, model.StreamOptions{}, tk, tpl)
		return err
	}
	s := newDemo(t)
	_, empty := s.Ask(t.Context(), " \n", AnswerOptions{MaxNewTokens: 1})
	gone := errors.New("the reader has gone")
	_, failed := newDemo(t).Ask(t.Context(), "Hello", AnswerOptions{MaxNewTokens: 5, Text: func(string) error { return gone }})
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"raw with template":    {open(save(nil), tpl), "the state is that of a raw text, which has no turns; go on with it without the chat template"},
		"chat without":         {open(save(tpl), nil), "the state is that of a conversation; go on with it with the chat template"},
		"not a conversation's": {open(bare, tpl), `the note "turn" is ""; the state was not saved by a conversation`},
		"no file":              {open(filepath.Join(dir, "none"), tpl), "no such file or directory"},
		"empty question":       {empty, "there is nothing to read: the prompt is empty"},
		"empty text":           {s.Read(t.Context(), "", nil), "there is nothing to read: the prompt is empty"},
		"reader":               {failed, gone.Error()},
	} {
		if tc.err == nil || !strings.Contains(tc.err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", name, tc.err, tc.want)
		}
	}
}

func TestForm(t *testing.T) {
	for _, tc := range []struct {
		dir, template string
		want          Form
		err           string
	}{
		{dir: demo, want: Form{"<|user|>\n", "<|end|>\n<|user|>\n", "<|end|>\n<|assistant|>\n"}},
		{dir: testfiles.Golden(t, "qwen3"), want: Form{"<|im_start|>user\n", "<|im_end|>\n<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"}},
		{template: "{{ messages[0]['content'] | upper }}", err: "chat template: it changes the messages"},
		{template: "{% for m in messages %}{{ m['content'] }}|{{ loop.index }}{% endfor %}", err: `chat template: it ends the first turn with "|1", the second with "|3"`},
		{template: "{% for m in messages %}{{ m['content'] }}{% endfor %}", err: "chat template: nothing stands between an answer and the next turn"},
	} {
		dir := tc.dir
		if dir == "" {
			dir = t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "chat_template.jinja"), []byte(tc.template), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		tpl, err := tokenizer.LoadTemplate(dir)
		if err != nil {
			t.Fatal(err)
		}
		got, err := FormOf(tpl)
		if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.HasPrefix(err.Error(), tc.err) {
			t.Errorf("%s%s: %+v, %v; want %+v, %q", tc.dir, tc.template, got, err, tc.want, tc.err)
		}
	}
}

// TestStopsAtBothEnds: an answer ends with the token of a last one, and with that of one
// before a user's turn, where a template has two.
func TestStopsAtBothEnds(t *testing.T) {
	dir := t.TempDir()
	const template = `{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% if m.role == 'assistant' and loop.last %}<|endoftext|>{% else %}<|end|>{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|><think>{% endif %}`
	if err := os.WriteFile(filepath.Join(dir, "chat_template.jinja"), []byte(template), 0o666); err != nil {
		t.Fatal(err)
	}
	tpl, err := tokenizer.LoadTemplate(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, tk, _ := demoParts(t)
	s, err := New(m, model.StreamOptions{}, tk, tpl)
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range []string{"<|endoftext|>", "<|end|>"} {
		id, ok := tk.TokenID(end)
		if !ok || !slices.Contains(s.stop[len(StopIDs(m.Base.Config, tk, nil)):], id) {
			t.Errorf("%s does not end an answer: %d", end, s.stop)
		}
	}
	if want := (Form{"<|user|>", "<|end|><|user|>", "<|end|><|assistant|><think>"}); s.form != want {
		t.Errorf("the form is %+v, want %+v", s.form, want)
	}
}
