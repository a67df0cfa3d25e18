package data_test

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"eisft/data"
	"eisft/internal/testfiles"
	"eisft/model/tokenizer"
)

// chat makes a sample of alternating user and assistant turns.
func chat(contents ...string) data.Sample {
	s := data.Sample{Where: "test", Depth: math.NaN()}
	for i, c := range contents {
		s.Messages = append(s.Messages, tokenizer.Message{Role: []string{"user", "assistant"}[i%2], Content: c})
	}
	return s
}

// lossText is what each turn of an encoded sample teaches.
func lossText(tk *tokenizer.Tokenizer, e data.Encoded) []string {
	var turns []string
	for _, turn := range e.Turns {
		turns = append(turns, tk.Decode(e.IDs[turn.Start:turn.End], false))
	}
	return turns
}

// wantConsistent checks that Loss marks the turns and nothing else.
func wantConsistent(t *testing.T, e data.Encoded) {
	t.Helper()
	loss := make([]bool, len(e.IDs))
	for _, turn := range e.Turns {
		for i := turn.Start; i < turn.End; i++ {
			loss[i] = true
		}
	}
	if !slices.Equal(loss, e.Loss) {
		t.Errorf("%s: Loss does not mark just the turns", e.Where)
	}
}

func TestEncodeMarksAnswers(t *testing.T) {
	for _, c := range []struct {
		name, dir string
		sample    data.Sample
		want      []string
	}{
		{"demo", "demo", chat("What pet did Ola get?", "a red fox", "When?", "Monday\nat 3:30 pm"), []string{"a red fox<|end|>", "Monday\nat 3:30 pm<|end|>"}},
		{"demo, answer starts with a space", "demo", chat("Who?", " Ola"), []string{" Ola<|end|>"}},
		{"demo, a token spans the border", "demo", chat("Who?", "\nOla"), []string{"\n\nOla<|end|>"}},
		{"qwen", "qwen3", chat("What pet did Ola get?", "a red fox", "When?", "Monday"), []string{"a red fox<|im_end|>", "<think>\n\n</think>\n\nMonday<|im_end|>"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tk, template := load(t, c.dir)
			e := data.NewEncoder(tk, template, 0)
			got, err := e.Encode(c.sample)
			if err != nil {
				t.Fatal(err)
			}
			wantConsistent(t, got)
			for _, turn := range got.Turns {
				if ends, err := e.EndsOfTurn(); err != nil || !slices.Equal(ends, got.IDs[turn.End-1:turn.End]) {
					t.Errorf("a turn ends with tokens %d (%v), this one with %d", ends, err, got.IDs[turn.End-1])
				}
			}
			if d := cmp.Diff(c.want, lossText(tk, got)); d != "" {
				t.Error(d)
			}
			whole, err := template.Render(c.sample.Messages, tokenizer.RenderOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.IDs, tk.Encode(whole, false)) {
				t.Error("the ids are not those of the whole text")
			}
		})
	}
}

// TestEncodePromptEqualsGeneration checks on real conversations that the tokens before
// each answer are those of the prompt the model gets when it has to answer.
func TestEncodePromptEqualsGeneration(t *testing.T) {
	for _, dir := range []string{"demo", "qwen3"} {
		t.Run(dir, func(t *testing.T) {
			tk, template := load(t, dir)
			encoder := data.NewEncoder(tk, template, 0)
			source := open(t, testfiles.Repository(t, "data/demo/train.parquet"))
			for i := 0; i < source.Len(); i += 100 {
				sample, err := source.At(i)
				if err != nil {
					t.Fatal(err)
				}
				enc, err := encoder.Encode(sample)
				if err != nil {
					t.Fatal(err)
				}
				wantConsistent(t, enc)
				for _, turn := range enc.Turns {
					prompt, err := template.Render(sample.Messages[:turn.Message], tokenizer.RenderOptions{GenerationPrompt: true})
					if err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(enc.IDs[:turn.Start], tk.Encode(prompt, false)) {
						t.Errorf("%s: the tokens before message %d are not the prompt's", sample.Where, turn.Message+1)
					}
				}
			}
		})
	}
}

// TestEncodeEqualsReferencePrompt compares with the prompt the demo base was run with.
func TestEncodeEqualsReferencePrompt(t *testing.T) {
	var golden struct {
		Messages []tokenizer.Message
		Rendered string
	}
	b, err := os.ReadFile(testfiles.Golden(t, "demo/golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &golden); err != nil {
		t.Fatal(err)
	}
	tk, template := load(t, "demo")
	sample := data.Sample{Messages: append(golden.Messages, tokenizer.Message{Role: "assistant", Content: "87,200 dollars"})}
	enc, err := data.NewEncoder(tk, template, 0).Encode(sample)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(enc.IDs[:enc.Turns[0].Start], tk.Encode(golden.Rendered, false)) {
		t.Error("the prompt's tokens differ from the reference's")
	}
}

func TestEncodeLimit(t *testing.T) {
	for _, dir := range []string{"demo", "qwen3"} {
		t.Run(dir, func(t *testing.T) {
			sample := chat("What pet did Ola get?", "a red fox", "When?", "Monday", "Where?", "Oslo")
			tk, template := load(t, dir)
			all, err := data.NewEncoder(tk, template, 0).Encode(sample)
			if err != nil {
				t.Fatal(err)
			}
			for limit := len(all.IDs); ; limit-- {
				enc, err := data.NewEncoder(tk, template, limit).Encode(sample)
				if errors.Is(err, data.ErrTooLong) {
					want := "test: sample is too long: "
					if !strings.HasPrefix(err.Error(), want) || limit >= all.Turns[0].End+8 {
						t.Errorf("limit %d: %v", limit, err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if len(enc.IDs) > limit || len(enc.Turns)+enc.Dropped != 3 || (enc.Dropped > 0) != (limit < len(all.IDs)) {
					t.Errorf("limit %d: %d tokens, %d turns, %d dropped", limit, len(enc.IDs), len(enc.Turns), enc.Dropped)
				}
			}
		})
	}
}

func TestEncodeText(t *testing.T) {
	tk, template := load(t, "demo")
	enc, err := data.NewEncoder(tk, template, 3).Encode(data.Sample{Text: "It was a bright cold day in April."})
	if err != nil {
		t.Fatal(err)
	}
	want := tk.Encode("It was a bright cold day in April.", true)[:3]
	if !slices.Equal(enc.IDs, want) || len(enc.Turns) != 0 || slices.Contains(enc.Loss, true) || len(enc.Loss) != 3 {
		t.Errorf("got %+v", enc)
	}
}

func TestEncodeWithoutTemplate(t *testing.T) {
	tk, _ := load(t, "demo")
	e := data.NewEncoder(tk, nil, 0)
	if enc, err := e.Encode(data.Sample{Text: "It was a bright cold day in April."}); err != nil || len(enc.IDs) == 0 {
		t.Errorf("a text: %d ids, %v", len(enc.IDs), err)
	}
	if _, err := e.Encode(chat("q", "a")); !errors.Is(err, tokenizer.ErrNoTemplate) || !strings.HasPrefix(err.Error(), "test: no chat template: the sample is a conversation") {
		t.Errorf("a conversation: error %v, want %v", err, tokenizer.ErrNoTemplate)
	}
	if _, err := e.EndsOfTurn(); !errors.Is(err, tokenizer.ErrNoTemplate) {
		t.Errorf("the end of a turn: error %v, want %v", err, tokenizer.ErrNoTemplate)
	}
}

// TestEncodeDistance checks that the tokens Distance before the answer are the fact.
func TestEncodeDistance(t *testing.T) {
	tk, template := load(t, "demo")
	encoder := data.NewEncoder(tk, template, 0)
	source := open(t, testfiles.Repository(t, "data/demo/calib.parquet"))
	for i := range source.Len() {
		sample, err := source.At(i)
		if err != nil {
			t.Fatal(err)
		}
		enc, err := encoder.Encode(sample)
		if err != nil {
			t.Fatal(err)
		}
		turn := enc.Turns[0]
		if sample.Fact == "" {
			if turn.Distance != -1 {
				t.Errorf("%s: distance %d of an unknown fact", sample.Where, turn.Distance)
			}
			continue
		}
		if text := tk.Decode(enc.IDs[turn.Start-turn.Distance:turn.Start], false); !strings.HasPrefix(text, sample.Fact) {
			t.Errorf("%s: distance %d is at %.60q, want %q", sample.Where, turn.Distance, text, sample.Fact)
		}
	}
}

func TestBadTemplates(t *testing.T) {
	for _, c := range []struct{ name, template, want string }{
		{"no end", "{% for m in messages %}{{ m['content'] }}\n{% endfor %}", "test: chat template: nothing follows an answer"},
		{"end is no token", "{% for m in messages %}{{ m['content'] }} STOP{% endfor %}", `test: chat template: an answer is followed by "STOP", which does not start with a special token`},
		{"answer left out", "{% for m in messages %}{{ m['role'] }}<|end|>{% endfor %}", "test: chat template: the answer "},
		{"not a prefix", "{{ messages|length }}{% for m in messages %}{{ m['content'] }}<|end|>{% endfor %}", `test: message 2: the chat template renders the turns before this answer differently when they are followed by it: at byte 0 "2`},
		{"answers do not end", "{% for m in messages %}{{ m['content'] }}{% if m['role'] == 'assistant' and m['content'] != 'a' %}<|end|>{% endif %}{% endfor %}", "test: message 2: the chat template does not end this answer with <|end|>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			config, err := json.Marshal(map[string]string{"chat_template": c.template})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), config, 0o600); err != nil {
				t.Fatal(err)
			}
			template, err := tokenizer.LoadTemplate(dir)
			if err != nil {
				t.Fatal(err)
			}
			tk, _ := load(t, "demo")
			if _, err = data.NewEncoder(tk, template, 0).Encode(chat("q", "a")); err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestBadSamples(t *testing.T) {
	encoder := demoEncoder(t, 0)
	lost := chat("q", "a")
	lost.Fact = "not there"
	for want, s := range map[string]data.Sample{
		"test: no messages and no text":                              {Where: "test"},
		"test: message 1 contains <|end|>, which ends a turn":        chat("a<|end|>b", "c"),
		`test: the fact "not there" is not in the rendered text`:     lost,
		"test: message 2 is an empty answer":                         chat("a", ""),
		`test: no answer: the last of its 1 messages is of the role`: chat("a"),
	} {
		if _, err := encoder.Encode(s); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}
