package data

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"eisft/model/tokenizer"
)

// What Lost calls the parts of an answer's content: the thinking that it begins with, and
// the rest.
const (
	LostThinking = "<think> in content"
	LostContent  = "content"
)

// Lost returns what the chat template renders nothing of: names of the messages' fields
// (tool_calls, name, …) and of the sample's own variables (tools, …), in the order in which
// the sample has them, then LostThinking and LostContent where an answer's words are not
// in the text. A field is lost if the text is the same without all fields of its name;
// thinking in a field of its own also where some answer's is not in the text.
func (e *Encoder) Lost(s Sample) ([]string, error) {
	if s.Messages == nil || e.template == nil {
		return nil, nil
	}
	names := fieldNames(s)
	text, err := e.template.Render(s.Messages, tokenizer.RenderOptions{Variables: s.Variables})
	if err != nil {
		return nil, fmt.Errorf("%s: chat template: %w", s.Where, err)
	}
	missing := func(part string) bool { return !strings.Contains(text, part) }
	var lost []string
	for _, name := range names {
		without, err := e.template.Render(withoutField(s.Messages, name), tokenizer.RenderOptions{Variables: dropped(s.Variables, name)})
		switch {
		case err == nil && without == text: // a template that fails without it uses it
			lost = append(lost, name)
		case slices.Contains(thinkingFields, name) && slices.ContainsFunc(texts(s.Messages, name), missing):
			lost = append(lost, name+" of some messages")
		}
	}
	thinking, words := said(s.Messages)
	if slices.ContainsFunc(thinking, missing) {
		lost = append(lost, LostThinking)
	}
	if slices.ContainsFunc(words, missing) {
		lost = append(lost, LostContent)
	}
	return lost, nil
}

// thinkingFields are where data sets have what an answer thinks, if not in its content.
var thinkingFields = []string{"reasoning_content", "reasoning", "thinking"}

// texts are the strings that messages have in a field, without white space around them.
func texts(messages []tokenizer.Message, name string) []string {
	var all []string
	for _, m := range messages {
		for _, f := range m.Fields {
			if text := ""; f.Name == name && json.Unmarshal(f.Value, &text) == nil {
				all = append(all, strings.TrimSpace(text))
			}
		}
	}
	return all
}

// fieldNames are the names of what a sample has beside roles and contents, and is not empty.
func fieldNames(s Sample) []string {
	var names []string
	add := func(fields []tokenizer.Field) {
		for _, f := range fields {
			empty := slices.Contains([]string{"null", "[]", "{}", `""`}, string(f.Value))
			if f.Name != "content" && !empty && !slices.Contains(names, f.Name) {
				names = append(names, f.Name)
			}
		}
	}
	for _, m := range s.Messages {
		add(m.Fields)
	}
	add(s.Variables)
	return names
}

// said returns the <think> blocks with which answers begin, without their tags, and the
// rest of the answers.
func said(messages []tokenizer.Message) (thinking, words []string) {
	for _, m := range messages {
		if m.Role != "assistant" {
			continue
		}
		thought, rest, ok := strings.Cut(m.Content, "</think>")
		if !ok {
			thought, rest = "", m.Content
		}
		thinking = append(thinking, strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(thought), "<think>")))
		words = append(words, strings.TrimSpace(rest))
	}
	return thinking, words
}

func withoutField(messages []tokenizer.Message, name string) []tokenizer.Message {
	out := slices.Clone(messages)
	for i := range out {
		out[i].Fields = dropped(out[i].Fields, name)
	}
	return out
}

// dropped returns fields without those of a name.
func dropped(fields []tokenizer.Field, name string) []tokenizer.Field {
	return slices.DeleteFunc(slices.Clone(fields), func(f tokenizer.Field) bool { return f.Name == name })
}
