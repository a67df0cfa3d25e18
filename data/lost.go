package data

import (
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
// in the text. A field is lost if the text is the same without all fields of its name.
func (e *Encoder) Lost(s Sample) ([]string, error) {
	if s.Messages == nil || e.template == nil {
		return nil, nil
	}
	names := fieldNames(s)
	text, err := e.template.Render(s.Messages, tokenizer.RenderOptions{Variables: s.Variables})
	if err != nil {
		return nil, fmt.Errorf("%s: chat template: %w", s.Where, err)
	}
	var lost []string
	for _, name := range names {
		without, err := e.template.Render(withoutField(s.Messages, name), tokenizer.RenderOptions{Variables: dropped(s.Variables, name)})
		if err == nil && without == text { // a template that fails without it uses it
			lost = append(lost, name)
		}
	}
	thinking, words := said(s.Messages)
	missing := func(part string) bool { return !strings.Contains(text, part) }
	if slices.ContainsFunc(thinking, missing) {
		lost = append(lost, LostThinking)
	}
	if slices.ContainsFunc(words, missing) {
		lost = append(lost, LostContent)
	}
	return lost, nil
}

// fieldNames are the names of what a sample has beside roles and contents.
func fieldNames(s Sample) []string {
	var names []string
	add := func(fields []tokenizer.Field) {
		for _, f := range fields {
			if f.Name != "content" && string(f.Value) != "null" && !slices.Contains(names, f.Name) {
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
