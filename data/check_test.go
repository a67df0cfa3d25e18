package data_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"eisft/data"
	"eisft/model/tokenizer"
)

// chats writes one conversation a line, as contents of alternating turns.
func chats(t *testing.T, rows ...[]string) *data.Source {
	t.Helper()
	var text strings.Builder
	for _, row := range rows {
		type message struct {
			Role    string `json:"role"`
			Content string `json:"content"`
		}
		var messages []message
		for i, content := range row {
			messages = append(messages, message{[]string{"user", "assistant"}[i%2], content})
		}
		if err := json.NewEncoder(&text).Encode(map[string]any{"messages": messages}); err != nil {
			t.Fatal(err)
		}
	}
	source, err := data.Open(write(t, "a.jsonl", []byte(text.String())), data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = source.Close() })
	return source
}

func survey(t *testing.T, s *data.Source, e *data.Encoder, o data.CheckOptions) *data.Survey {
	t.Helper()
	found, err := data.CheckRows(t.Context(), s, e, o)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestCheckRows lists what cannot be trained on, and counts what is left out.
func TestCheckRows(t *testing.T) {
	long := strings.Repeat("long ", 100)
	source := chats(t, []string{"q", "a"}, []string{"q", " "}, []string{"q", long}, []string{"q", "b", "r", "c", long, "d", "q", "e"}, []string{"q<|end|>", "a"})
	found := survey(t, source, demoEncoder(t, 50), data.CheckOptions{})
	_, err := found.Use(data.BadRowFail)
	if err == nil || !errors.Is(err, data.ErrTooLong) {
		t.Errorf("got %v, want ErrTooLong", err)
	}
	path := found.Path
	want := path + `: 3 of 5 rows cannot be trained on:
  line 2: message 2 is an empty answer
  line 3: sample is too long: 111 tokens with the first answer, the limit is 50
  line 5: message 1 contains <|end|>, which ends a turn
mend or remove them, or leave them out with data.on_bad_row: skip; 1 is longer than data.max_tokens, which is 50: raise it, or say with data.long (keep-start, keep-end, middle, split, drop) what becomes of long ones`
	if d := gocmp.Diff(want, err.Error()); d != "" {
		t.Error(d)
	}
	rows, err := found.Use(data.BadRowSkip)
	if err != nil || !slices.Equal(rows, []data.Piece{{Row: 0}, {Row: 3}}) {
		t.Errorf("rows %v (%v), want 0 and 3", rows, err)
	}
	_, list, _ := strings.Cut(want, "\n")
	list, _, _ = strings.Cut(list, "\nmend")
	if d := gocmp.Diff([]string{
		path + ": 3 of 5 rows cannot be trained on, left out (data.on_bad_row: skip):\n" + list,
		path + ": the last 2 answers of 1 sample are beyond data.max_tokens, which is 50, and not learned",
	}, found.Warnings()); d != "" {
		t.Error(d)
	}
	if one := survey(t, source.First(1), demoEncoder(t, 50), data.CheckOptions{}); one.Rows != 1 || len(one.Bad) != 0 || len(one.Warnings()) != 0 {
		t.Errorf("of the first row: %+v", one)
	}
	if _, err := survey(t, chats(t, []string{"q", long}), demoEncoder(t, 5), data.CheckOptions{}).Use(data.BadRowSkip); err == nil || strings.Contains(err.Error(), "skip") {
		t.Errorf("none fits: %v", err)
	}
}

// TestCheckManyRows names the first ten, whatever the order in which they were encoded.
func TestCheckManyRows(t *testing.T) {
	var rows [][]string
	for i := range 200 {
		rows = append(rows, []string{"q", strings.Repeat(" ", i%2) + strings.Repeat("a", i%2)})
	}
	found := survey(t, chats(t, rows...), demoEncoder(t, 0), data.CheckOptions{})
	_, err := found.Use(data.BadRowFail)
	if err == nil || strings.Count(err.Error(), "empty answer") != 10 || !strings.Contains(err.Error(), "\n  and 90 more\n") ||
		!strings.Contains(err.Error(), "\n  line 1: ") || !strings.Contains(err.Error(), "\n  line 19: ") {
		t.Errorf("got %v", err)
	}
	if use, err := found.Use(data.BadRowSkip); err != nil || len(use) != 100 || use[0].Row != 1 || use[99].Row != 199 {
		t.Errorf("%d rows in use (%v)", len(use), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := data.CheckRows(ctx, chats(t, rows...), demoEncoder(t, 0), data.CheckOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestCheckTexts: plain texts are bad where answers are learned, and may be cut off.
func TestCheckTexts(t *testing.T) {
	source, err := data.Open(write(t, "t.jsonl", []byte(`{"text":"one two three four five six"}`+"\n"+`{"text":"one"}`+"\n")), data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	e := demoEncoder(t, 4)
	if found := survey(t, source, e, data.CheckOptions{Answers: true}); len(found.Bad) != 2 || !strings.HasPrefix(found.Bad[1].Reason, "no answer to learn from") {
		t.Errorf("with answers: %+v", found.Bad)
	}
	found := survey(t, source, e, data.CheckOptions{})
	if want := found.Path + ": 1 text is longer than data.max_tokens, which is 4, and cut off there"; !slices.Equal(found.Warnings(), []string{want}) || len(found.Bad) > 0 {
		t.Errorf("got %q, want %q", found.Warnings(), want)
	}
}

// TestCheckLost says once of how many samples a template renders nothing of what.
func TestCheckLost(t *testing.T) {
	tk, tpl := withTemplate(t, r1)
	source := chats(t, []string{"q", "<think>\nhm\n</think>\n\na", "r", "b"}, []string{"q", "<think>hm</think>a"}, []string{"q", "a"})
	found := survey(t, source, data.NewEncoder(tk, tpl, 0), data.CheckOptions{})
	want := []string{
		found.Path + ": the thinking (<think>…</think>) in answers of 2 samples is not rendered by the chat template, and not learned",
		found.Path + `: the chat template's generation prompt ends in "<think>\n", which 4 answers of 3 samples do not repeat: they are learned without it; options of the template (data.template_options) may change its prompt`,
	}
	if d := gocmp.Diff(want, found.Warnings()); d != "" {
		t.Error(d)
	}
}

// TestRowsHash covers what is learned, and nothing else.
func TestRowsHash(t *testing.T) {
	hash := func(name, text string, o data.Options, n int) string {
		t.Helper()
		s, err := data.Open(write(t, name, []byte(text)), o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		sum, err := s.First(n).RowsHash(t.Context())
		if err != nil || len(sum) != 64 {
			t.Fatalf("%q, %v", sum, err)
		}
		return sum
	}
	const row = `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}` + "\n"
	first := hash("a.jsonl", row, data.Options{}, 0)
	for name, same := range map[string]string{
		"another file":       hash("b.jsonl", row, data.Options{}, 0),
		"spaces and an id":   hash("a.jsonl", `{"_id":"7", "messages": [{"role":"user","content":"q"}, {"content":"a","role":"assistant"}]}`, data.Options{}, 0),
		"rows not in use":    hash("a.jsonl", row+row, data.Options{}, 1),
		"other columns name": hash("a.jsonl", strings.Replace(row, "messages", "m", 1), data.Options{Columns: data.Columns{Messages: "m"}}, 0),
	} {
		if same != first {
			t.Errorf("%s changes the hash", name)
		}
	}
	seen := map[string]string{first: "the row"}
	const long = `{"context":"c","input":"i","answers":["a"]}` + "\n"
	for name, other := range map[string]string{
		"an answer":                      hash("a.jsonl", strings.Replace(row, `"a"`, `"b"`, 1), data.Options{}, 0),
		"an answer that counts as right": hash("a.jsonl", strings.Replace(long, `["a"]`, `["a","b"]`, 1), data.Options{}, 0),
		"a row more":                     hash("a.jsonl", row+row, data.Options{}, 0),
		"a bad row":                      hash("a.jsonl", row+"{", data.Options{}, 0),
		"a prompt":                       hash("a.jsonl", long, data.Options{Prompt: "{input} {context}"}, 0),
		"no prompt":                      hash("a.jsonl", long, data.Options{}, 0),
	} {
		if was := seen[other]; was != "" {
			t.Errorf("%s has the hash of %s", name, was)
		}
		seen[other] = name
	}
}

// TestCheckIsKept: a check that took long is read back, where all that it depends on is the
// same.
func TestCheckIsKept(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", dir)
	data.KeepEveryCheck(t)
	source := chats(t, []string{"q", "a"}, []string{"q", " "}, []string{"q", "<think>hm</think>b"})
	kept := func() []string {
		files, err := filepath.Glob(filepath.Join(dir, "eisft", "rows", "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	tk, tpl := withTemplate(t, r1)
	options := tpl.With([]tokenizer.Field{{Name: "x", Value: json.RawMessage("1")}})
	for i, c := range []struct {
		e *data.Encoder
		o data.CheckOptions
	}{
		{data.NewEncoder(tk, tpl, 0), data.CheckOptions{}},
		{data.NewEncoder(tk, tpl, 9), data.CheckOptions{}},
		{data.NewEncoder(tk, options, 0), data.CheckOptions{}},
		{data.NewEncoder(tk, tpl, 0), data.CheckOptions{Answers: true}},
		{data.NewEncoder(tk, tpl, 0).Long(data.LongDrop), data.CheckOptions{}},
		{demoEncoder(t, 0), data.CheckOptions{}},
	} {
		first := survey(t, source, c.e, c.o)
		if n := len(kept()); n != i+1 {
			t.Fatalf("%d checks are kept, want %d", n, i+1)
		}
		if d := gocmp.Diff(first, survey(t, source, c.e, c.o)); d != "" {
			t.Errorf("read back: %s", d)
		}
	}
	// The same rows at other lines, an EOS and a limit of tokens that are none of the file's.
	row := `{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "%s"}]}` + "\n\n"
	moved := open(t, write(t, "a.jsonl", fmt.Appendf(nil, strings.Repeat(row, 3), "a", " ", "<think>hm</think>b")))
	again := survey(t, moved, data.NewEncoder(tk, tpl, 0), data.CheckOptions{})
	if n := len(kept()); n != 6 || len(again.Bad) != 1 || again.Bad[0].Where != "line 3" {
		t.Errorf("other lines: %d checks are kept, bad are %v", n, again.Bad)
	}
	other, _ := withTemplate(t, r1, "<|end|>")
	survey(t, source, data.NewEncoder(other, tpl, 0), data.CheckOptions{})
	if n := len(kept()); n != 7 {
		t.Errorf("another EOS: %d checks are kept, want 7", n)
	}
	if _, err := other.Limit(other.VocabSize() - 1); err != nil {
		t.Fatal(err)
	}
	survey(t, source, data.NewEncoder(other, tpl, 0), data.CheckOptions{})
	if n := len(kept()); n != 8 {
		t.Errorf("another embedding: %d checks are kept, want 8", n)
	}
	for _, path := range kept() { // a mark that only reading back can show
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(text), `"Tokens":`, `"Tokens":1000000`, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if found := survey(t, source, data.NewEncoder(tk, tpl, 0), data.CheckOptions{}); found.Tokens < 1000000 {
		t.Error("the check was carried out again")
	}
	for _, path := range kept() {
		if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if found := survey(t, source, data.NewEncoder(tk, tpl, 0), data.CheckOptions{}); found.Rows != 3 {
		t.Errorf("a broken file: %+v", fmt.Sprint(found))
	}
}

// TestCheckIsSmall: of a good row nothing is kept.
func TestCheckIsSmall(t *testing.T) {
	const n = 1 << 14
	source, err := data.Open(write(t, "a.jsonl", []byte(strings.Repeat("{\"text\": \"a\"}\n", n))), data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	e := demoEncoder(t, 0)
	survey(t, source.First(1), e, data.CheckOptions{})
	before, most := held(), uint64(0)
	ctx := watched{t.Context(), func() { most = max(most, held()) }, new(int)}
	found, err := data.CheckRows(ctx, source, e, data.CheckOptions{})
	if err != nil || found.Tokens == 0 {
		t.Fatalf("%+v (%v)", found, err)
	}
	if got := (int64(most) - int64(before)) / n; got > 16 {
		t.Errorf("%d bytes a row while rows are checked, want at most 16", got)
	}
}

// watched looks at something now and then while others ask it whether to go on.
type watched struct {
	context.Context
	look  func()
	asked *int
}

func (w watched) Err() error {
	if *w.asked++; *w.asked%4096 == 0 {
		w.look()
	}
	return w.Context.Err()
}
