package data_test

import (
	"cmp"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"eisft/data"
	"eisft/internal/testfiles"
	"eisft/model/tokenizer"
)

// specials are the special tokens of the templates that are tried.
var specials = []string{
	"<s>", "</s>", "<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>",
	"<|endoftext|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|start|>", "<|channel|>", "<|message|>",
	"<|return|>", "<|call|>", "<｜User｜>", "<｜Assistant｜>", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>",
	"<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>",
}

// withTemplate returns the demo base's tokenizer with all specials, and a template. The EOS
// is </s> if none is given.
func withTemplate(t testing.TB, template string, eos ...string) (*tokenizer.Tokenizer, *tokenizer.Template) {
	t.Helper()
	text, err := os.ReadFile(testfiles.Repository(t, "model/demo/tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]json.RawMessage
	var added []map[string]any
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(file["added_tokens"], &added); err != nil {
		t.Fatal(err)
	}
	known := map[any]bool{}
	for _, a := range added {
		known[a["content"]] = true
	}
	id := 20000
	for _, s := range specials {
		if !known[s] {
			known[s] = true
			added = append(added, map[string]any{"id": id, "content": s, "special": true})
			id++
		}
	}
	dir := t.TempDir()
	put := func(name string, v any) {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if file["added_tokens"], err = json.Marshal(added); err != nil {
		t.Fatal(err)
	}
	put("tokenizer.json", file)
	put("tokenizer_config.json", map[string]string{"bos_token": "<s>", "eos_token": cmp.Or(append(eos, "</s>")...), "chat_template": template})
	tk, err := tokenizer.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	tpl, err := tokenizer.LoadTemplate(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tk, tpl
}

// templateOf reads the template of a tokenizer_config.json.
func templateOf(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Template string `json:"chat_template"`
	}
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	return config.Template
}

// Templates that end answers, or begin them, in a way of their own.
const (
	// twoEnds ends the last answer as gpt-oss does, and calls of tools otherwise.
	twoEnds = `{% for m in messages %}<|start|>{{ m.role }}{% if m.role == 'assistant' %}<|channel|>{% if m.tool_calls %}commentary<|message|>{{ m.tool_calls[0].function.arguments }}<|call|>{% else %}final<|message|>{{ m.content }}{% if loop.last and not add_generation_prompt %}<|return|>{% else %}<|end|>{% endif %}{% endif %}{% else %}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}`
	// r1 is that of DeepSeek-R1-Distill as far as it matters here.
	r1 = `{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}<｜User｜>{{ m.content }}{% elif m.role == 'assistant' %}<｜Assistant｜>{{ m.content.split('</think>')[-1] }}<｜end▁of▁sentence｜>{% endif %}{% endfor %}{% if add_generation_prompt %}<｜Assistant｜><think>
{% endif %}`
	// opened has an empty <think> block in answers, and an open one in its prompt (Nemotron).
	opened = `{% for m in messages %}<|im_start|>{{ m.role }}
{% if m.role == 'assistant' %}<think></think>{{ m.content.split('</think>')[-1] }}{% else %}{{ m.content }}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
<think>
{% endif %}`
	// nested renders what a tool says within the call (Gemma 4).
	nested = `{% for m in messages %}{% if m.role != 'tool' %}<|im_start|>{{ m.role }}
{% if not loop.last and messages[loop.index].role == 'tool' %}{{ messages[loop.index].content }} {% endif %}{{ m.content }}<|im_end|>
{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}`
	// thinking2507 opens a <think> block that answers of earlier turns do not have.
	thinking2507 = `{% for m in messages %}<|im_start|>{{ m.role }}
{% if m.role == 'assistant' %}{% set parts = m.content.split('</think>') %}{% if loop.last %}<think>
{{ parts[0].replace('<think>', '').strip() if parts | length > 1 else '' }}
</think>

{% endif %}{{ parts[-1].strip() }}{% else %}{{ m.content }}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
<think>
{% endif %}`
)

// templates are those of real models that the tokenizer's goldens have, and the above.
func templates(t testing.TB) map[string]string {
	all := map[string]string{"two ends": twoEnds, "r1": r1, "opened": opened, "nested": nested, "thinking 2507": thinking2507}
	all["qwen3"] = templateOf(t, testfiles.Golden(t, "qwen3/tokenizer_config.json"))
	files, err := filepath.Glob(filepath.Join(testfiles.Repository(t, "model/tokenizer/testdata/templates"), "*.jinja"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".jinja")
		if name == "python" || name == "whitespace" { // these render no conversation
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(text)
	}
	return all
}

// conversations have words that stand in one message alone: those of the assistant's
// messages begin with an a.
func conversations() map[string][]tokenizer.Message {
	said := func(turns ...string) (messages []tokenizer.Message) {
		for _, turn := range turns {
			role, content, _ := strings.Cut(turn, ": ")
			messages = append(messages, tokenizer.Message{Role: role, Content: content})
		}
		return messages
	}
	return map[string][]tokenizer.Message{
		"one":       said("user: uone", "assistant: aone atwo"),
		"turns":     said("user: uone\nutwo", "assistant: aone", "user: uthree ", "assistant: atwo.\n\natwob", "user: 你好 u🙂", "assistant: a🙂"),
		"system":    said("system: sone", "user: uone", "assistant: aone"),
		"systems":   said("system: sone", "user: uone", "assistant: aone", "user: utwo", "assistant: atwo"),
		"space":     said("user:  uone ", "assistant:  aone\n", "user: \nutwo", "assistant: \natwo "),
		"same":      said("user: uone", "assistant: uone", "user: uone", "assistant: uone"),
		"thinking":  said("user: uone", "assistant: <think>\nathought\n</think>\n\naone", "user: utwo", "assistant: <think>\nathink\n</think>\n\natwo"),
		"tags":      said("user: </think> uone <b>", "assistant: <b>aone</b>", "user: utwo", "assistant: <i>atwo"),
		"mark":      said("user: Answer0Here uone", "assistant: Answer1Here Answer0Here0. aone", "user: u", "assistant: atwo"),
		"a's words": said("user: aone", "assistant: aone", "user: aone\natwo", "assistant: atwo"),
	}
}

// TestSpansOfTemplates checks for real templates that what is learned of an answer is
// its words, with its thinking where the template renders that, and a token that ends it.
func TestSpansOfTemplates(t *testing.T) {
	// What a template cannot be trained with, and the reason in its words.
	refused := map[string]string{
		"chatml":          "nothing follows an answer", // the last one has no end
		"mistral/systems": "message 3: the chat template renders the turns before this answer differently",
		"gemma/system":    "System role not supported", "gemma/systems": "System role not supported",
	}
	for name, template := range templates(t) {
		tk, tpl := withTemplate(t, template)
		encoder := data.NewEncoder(tk, tpl, 0)
		for kind, messages := range conversations() {
			t.Run(name+"/"+kind, func(t *testing.T) {
				e, err := encoder.Encode(data.Sample{Where: "test", Messages: messages, Depth: math.NaN()})
				if want := cmp.Or(refused[name], refused[name+"/"+kind]); want != "" || err != nil {
					if err == nil || want == "" || !strings.Contains(err.Error(), want) {
						t.Errorf("got %v, want %q", err, want)
					}
					return
				}
				wantConsistent(t, e)
				wantSpans(t, tk, messages, e)
			})
		}
	}
}

// wantSpans checks that each turn of e is its answer's words and a special token.
func wantSpans(t *testing.T, tk *tokenizer.Tokenizer, messages []tokenizer.Message, e data.Encoded) {
	t.Helper()
	answers := 0
	for _, m := range messages {
		if m.Role == "assistant" {
			answers++
		}
	}
	if len(e.Turns) != answers {
		t.Fatalf("%d turns, want %d", len(e.Turns), answers)
	}
	for _, turn := range e.Turns {
		ids := e.IDs[turn.Start:turn.End]
		end := ids[len(ids)-1:]
		if tk.Decode(end, true) != "" {
			t.Errorf("the turn ends with %q, which is not special", tk.Decode(end, false))
		}
		got := strings.TrimSpace(tk.Decode(ids[:len(ids)-1], false))
		content := strings.TrimSpace(messages[turn.Message].Content)
		thinking, words, thought := strings.Cut(content, "</think>")
		if !thought {
			words = content
		}
		words = strings.TrimSpace(words)
		bare := strings.TrimSpace(strings.TrimSuffix(got, words))
		switch {
		case !strings.HasSuffix(got, words):
			t.Errorf("learned %q of %q", got, content)
		case bare == "", bare == "<|channel|>final<|message|>": // nothing but the words
		case strings.Join(strings.Fields(bare), "") == "<think></think>" && !thought:
		case bare == "</think>": // of the template's own block
		case thought && strings.Contains(bare, strings.TrimSpace(strings.TrimPrefix(thinking, "<think>"))) && strings.HasSuffix(bare, "</think>"):
		default:
			t.Errorf("learned %q of %q", got, content)
		}
	}
}

// TestSpansWithTwoEnds is a conversation whose answers end with different tokens.
func TestSpansWithTwoEnds(t *testing.T) {
	tk, tpl := withTemplate(t, twoEnds)
	e := data.NewEncoder(tk, tpl, 0)
	enc, err := e.Encode(chat("first question", "one", "a long second question", "two"))
	if err != nil {
		t.Fatal(err)
	}
	const header = "<|channel|>final<|message|>"
	if d := gocmp.Diff([]string{header + "one<|end|>", header + "two<|return|>"}, lossText(tk, enc)); d != "" {
		t.Error(d)
	}
	ends, err := e.EndsOfTurn()
	if got := tk.Decode(ends, false); err != nil || got != "<|return|><|end|>" {
		t.Errorf("a turn ends with %q (%v)", got, err)
	}
	for _, bad := range []data.Sample{chat("q", "a<|end|>b", "r", "c"), chat("q", "a<|return|>"), chat("a<|return|>b", "c"), chat("q", "a", "<|end|>", "c")} {
		if _, err := e.Encode(bad); err == nil || !strings.Contains(err.Error(), ", which ends a turn") {
			t.Errorf("%q: %v", bad.Messages, err)
		}
	}
}

// TestSpansOfCases encodes what had its loss on the user's words, and what was refused.
func TestSpansOfCases(t *testing.T) {
	for _, c := range []struct {
		config, file string
		want         []string
		unused       string
	}{
		{"testdata/loss-two-ends", "testdata/loss-two-ends/multi.jsonl", []string{"one<|end|>", "two<|endoftext|>"}, ""},
		{"testdata/loss-two-ends", "testdata/loss-two-ends/single.jsonl", []string{"one<|endoftext|>"}, ""},
		{"r1-distill/tokenizer", "r1-distill/single.jsonl", []string{"one<｜end▁of▁sentence｜>"}, "<think>\n"},
		{"r1-distill/tokenizer", "r1-distill/think.jsonl", []string{"\n\nA<｜end▁of▁sentence｜>"}, "<think>\n"},
	} {
		t.Run(c.file, func(t *testing.T) {
			// eos_token is what the case's own tokenizer_config.json says; the template spells it out.
			path := func(name string) string {
				if strings.HasPrefix(name, "testdata/") {
					return name
				}
				return testfiles.Shared(t, "cases/inputs/"+name)
			}
			tk, tpl := withTemplate(t, templateOf(t, path(c.config+"/tokenizer_config.json")))
			sample, err := open(t, path(c.file)).At(0)
			if err != nil {
				t.Fatal(err)
			}
			enc, err := data.NewEncoder(tk, tpl, 0).Encode(sample)
			if err != nil {
				t.Fatal(err)
			}
			if d := gocmp.Diff(c.want, lossText(tk, enc)); d != "" {
				t.Error(d)
			}
			if enc.Unused != c.unused || (enc.Unrepeated > 0) != (c.unused != "") {
				t.Errorf("%d answers without %q, want %q", enc.Unrepeated, enc.Unused, c.unused)
			}
		})
	}
}

// TestEndIsNoToken encodes with a tokenizer that does not have the EOS of its configuration.
func TestEndIsNoToken(t *testing.T) {
	const eos = "<end of it>"
	tk, tpl := withTemplate(t, "{% for m in messages %}<|im_start|>{{ m.content }}"+eos+"{% endfor %}{% if add_generation_prompt %}<|im_start|>{% endif %}", eos)
	encoder := data.NewEncoder(tk, tpl, 0)
	enc, err := encoder.Encode(chat("q", "one", "r", "two"))
	if err != nil {
		t.Fatal(err)
	}
	if d := gocmp.Diff([]string{"one" + eos, "two" + eos}, lossText(tk, enc)); d != "" {
		t.Error(d)
	}
	if ends, err := encoder.EndsOfTurn(); err != nil || len(ends) > 0 {
		t.Errorf("tokens %d end a turn (%v), want none", ends, err)
	}
}

// TestTemplateOptions encodes with thinking switched off by the template's own option.
func TestTemplateOptions(t *testing.T) {
	tk, tpl := withTemplate(t, templateOf(t, testfiles.Golden(t, "qwen3/tokenizer_config.json")))
	tpl = tpl.With([]tokenizer.Field{{Name: "enable_thinking", Value: json.RawMessage("false")}})
	enc, err := data.NewEncoder(tk, tpl, 0).Encode(chat("q", "one", "r", "two"))
	if err != nil {
		t.Fatal(err)
	}
	if d := gocmp.Diff([]string{"one<|im_end|>", "two<|im_end|>"}, lossText(tk, enc)); d != "" {
		t.Error(d)
	}
	if enc.Unrepeated != 1 || enc.Unused != "<think>\n\n</think>\n\n" {
		t.Errorf("%d answers without %q", enc.Unrepeated, enc.Unused)
	}
	_, err = data.NewEncoder(tk, tpl, 0).Encode(chat("q", "<think>\nhm\n</think>\n\none"))
	if want := "generation prompt goes on with"; err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "data.template_options") {
		t.Errorf("thinking that is switched off: %v, want %q", err, want)
	}
	// A row's own variables go before the template's.
	s := chat("q", "<think>\nhm\n</think>\n\none")
	s.Variables = []tokenizer.Field{{Name: "enable_thinking", Value: json.RawMessage("true")}}
	if enc, err = data.NewEncoder(tk, tpl, 0).Encode(s); err != nil {
		t.Fatal(err)
	}
	if d := gocmp.Diff([]string{"<think>\nhm\n</think>\n\none<|im_end|>"}, lossText(tk, enc)); d != "" {
		t.Error(d)
	}
}

// calls is a conversation in which the assistant calls a tool.
func calls(t testing.TB) data.Sample {
	t.Helper()
	field := func(name, value string) tokenizer.Field {
		return tokenizer.Field{Name: name, Value: json.RawMessage(value)}
	}
	return data.Sample{Where: "test", Depth: math.NaN(), Messages: []tokenizer.Message{
		{Role: "user", Content: "Weather?"},
		{Role: "assistant", Content: "Let me look.", Fields: []tokenizer.Field{
			field("reasoning_content", `"I should call"`),
			field("tool_calls", `[{"id": "1", "type": "function", "function": {"name": "w", "arguments": "{\"place\": 1}"}}]`),
		}},
		{Role: "tool", Content: "sunny", Fields: []tokenizer.Field{field("tool_call_id", `"1"`)}},
		{Role: "assistant", Content: "It is sunny."},
	}}
}

// TestOnlyLastAnswerEnds refuses templates in which the next turn begins right behind an
// answer: the model would learn to write that for the user.
func TestOnlyLastAnswerEnds(t *testing.T) {
	for name, header := range map[string]string{"a token a role": "<|{{ m.role }}|>", "a token for all": "<|start|>{{ m.role }}\n"} {
		prompt := strings.ReplaceAll(header, "{{ m.role }}", "assistant")
		tk, tpl := withTemplate(t, "{% for m in messages %}"+header+"{{ m.content }}{% if loop.last and m.role == 'assistant' %}<|end|>{% endif %}{% endfor %}{% if add_generation_prompt %}"+prompt+"{% endif %}")
		encoder := data.NewEncoder(tk, tpl, 0)
		_, err := encoder.Encode(chat("q", "a", "r", "b"))
		if want := "test: message 2: the chat template does not end this answer with <|end|>"; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
		enc, err := encoder.Encode(chat("q", "a"))
		if err != nil {
			t.Fatal(err)
		}
		if d := gocmp.Diff([]string{"a<|end|>"}, lossText(tk, enc)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// TestToolWithinAnswer refuses a template that has what a tool says within the answer
// before it.
func TestToolWithinAnswer(t *testing.T) {
	tk, tpl := withTemplate(t, nested)
	_, err := data.NewEncoder(tk, tpl, 0).Encode(calls(t))
	if want := "test: message 2: the chat template renders message 3 within this answer"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestContentIsNull refuses a template that writes None for an answer's content.
func TestContentIsNull(t *testing.T) {
	s := calls(t)
	s.Messages[1].Fields = append(s.Messages[1].Fields, tokenizer.Field{Name: "content", Value: json.RawMessage("null")})
	tk, tpl := withTemplate(t, strings.Replace(nested, "messages[loop.index].role == 'tool'", "false", 1))
	_, err := data.NewEncoder(tk, tpl, 0).Encode(s)
	if want := "test: message 2: the content is null, for which the chat template writes \"None\""; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestContentIsNullFails names the message whose null content a template fails at.
func TestContentIsNullFails(t *testing.T) {
	s := calls(t)
	s.Messages[1].Fields = append(s.Messages[1].Fields, tokenizer.Field{Name: "content", Value: json.RawMessage("null")})
	tk, tpl := withTemplate(t, strings.Replace(twoEnds, "{{ m.role }}", "{{ m.role }}{% if '<' in m.content %}{% endif %}", 1))
	_, err := data.NewEncoder(tk, tpl, 0).Encode(s)
	if want := "test: message 2: the content is null, at which the chat template fails; it renders the conversation with an empty one"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestLostInPart says that the thinking of one answer is rendered and that of another is not,
// and nothing of fields that are empty.
func TestLostInPart(t *testing.T) {
	tk, tpl := withTemplate(t, templateOf(t, testfiles.Golden(t, "qwen3/tokenizer_config.json")))
	s := chat("q", "a", "r", "b")
	for i, thought := range map[int]string{1: `"hm"`, 3: `"well\n"`} {
		s.Messages[i].Fields = []tokenizer.Field{{Name: "reasoning_content", Value: json.RawMessage(thought)}, {Name: "audio", Value: json.RawMessage("[]")}}
	}
	lost, err := data.NewEncoder(tk, tpl, 0).Lost(s)
	if err != nil {
		t.Fatal(err)
	}
	if d := gocmp.Diff([]string{"reasoning_content of some messages"}, lost); d != "" {
		t.Error(d)
	}
}

// TestOtherBefore refuses an answer that is asked for behind other words than it is learned
// behind, and says what may help: Qwen3 forgets what a call's answer thought at the user's next
// turn.
func TestOtherBefore(t *testing.T) {
	tk, tpl := withTemplate(t, templateOf(t, testfiles.Golden(t, "qwen3/tokenizer_config.json")))
	encoder := data.NewEncoder(tk, tpl, 0)
	s := calls(t)
	if _, err := encoder.Encode(s); err != nil {
		t.Error(err)
	}
	s.Messages = append(s.Messages, chat("And there?", "Rain.").Messages...)
	_, err := encoder.Encode(s)
	if want := "test: message 4: the chat template renders the turns before this answer differently"; err == nil || !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), "a conversation that ends with this answer may be rendered alike") {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestEndWithinAnswer refuses an answer whose thinking, a field, has the token that ends a
// turn.
func TestEndWithinAnswer(t *testing.T) {
	tk, tpl := withTemplate(t, templateOf(t, testfiles.Golden(t, "qwen3/tokenizer_config.json")))
	s := calls(t)
	s.Messages[1].Fields[0].Value = json.RawMessage(`"it is <|im_end|> here"`)
	_, err := data.NewEncoder(tk, tpl, 0).Encode(s)
	if want := "test: message 2: this answer contains <|im_end|>, which ends a turn"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestSpansOfCalls encodes calls of tools.
func TestSpansOfCalls(t *testing.T) {
	const call = "<tool_call>\n{\"name\": \"w\", \"arguments\": {\"place\": 1}}\n</tool_call>"
	for name, c := range map[string]struct {
		template string
		want     []string
		lost     []string
	}{
		"qwen3": {
			templateOf(t, testfiles.Golden(t, "qwen3/tokenizer_config.json")),
			[]string{"<think>\nI should call\n</think>\n\nLet me look.\n" + call + "<|im_end|>", "<think>\n\n</think>\n\nIt is sunny.<|im_end|>"},
			[]string{"tool_call_id"},
		},
		"two ends": {
			twoEnds,
			[]string{`<|channel|>commentary<|message|>{"place": 1}<|call|>`, "<|channel|>final<|message|>It is sunny.<|return|>"},
			[]string{"reasoning_content", "tool_call_id", data.LostContent},
		},
		"alternating": { // Mistral's: no call, no answer of a tool
			"{% for m in messages %}{% if m.role == 'tool' and not messages[loop.index0 - 1].tool_calls %}{{ raise_exception('no call') }}{% endif %}<|start|>{{ m.role }} {% if m.tool_calls %}{{ m.tool_calls[0].function.arguments }}{% else %}{{ m.content }}{% endif %}<|end|>{% endfor %}{% if add_generation_prompt %}<|start|>assistant {% endif %}",
			[]string{`{"place": 1}<|end|>`, " It is sunny.<|end|>"}, // the prompt's space is part of the word
			[]string{"reasoning_content", "tool_call_id", data.LostContent},
		},
		"chatml": {
			"{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
			[]string{"Let me look.<|im_end|>", "It is sunny.<|im_end|>"},
			[]string{"reasoning_content", "tool_calls", "tool_call_id"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tk, tpl := withTemplate(t, c.template)
			encoder := data.NewEncoder(tk, tpl, 0)
			enc, err := encoder.Encode(calls(t))
			if err != nil {
				t.Fatal(err)
			}
			wantConsistent(t, enc)
			if d := gocmp.Diff(c.want, lossText(tk, enc)); d != "" {
				t.Error(d)
			}
			lost, err := encoder.Lost(calls(t))
			if err != nil {
				t.Fatal(err)
			}
			if d := gocmp.Diff(c.lost, lost); d != "" {
				t.Error(d)
			}
		})
	}
}
