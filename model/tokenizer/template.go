package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"eisft/model/tokenizer/jinja"
)

// Message is one turn of a conversation.
type Message struct {
	Role    string // "system", "user" or "assistant", or what the template knows
	Content string
	// Fields is what else the message has, in the order of its file: tool_calls,
	// reasoning_content, name, … A field of the name content stands in the place of Content.
	Fields []Field
}

// Field is a named value in JSON, whose order of keys is kept.
type Field struct {
	Name  string
	Value json.RawMessage
}

// RenderOptions say how a conversation is rendered.
type RenderOptions struct {
	// GenerationPrompt ends the text where the assistant's answer begins.
	GenerationPrompt bool
	// Variables are what the template knows beside the messages: tools, documents,
	// enable_thinking, …
	Variables []Field
}

// Template renders conversations as a model was trained to read them. Its methods
// may be called from several goroutines at once.
type Template struct {
	source string
	config config
	jinja  *jinja.Template

	variables []Field // of every rendering
}

// ErrNoTemplate is wrapped by LoadTemplate's error for a checkpoint without a chat
// template, as base models often are.
var ErrNoTemplate = errors.New("no chat template")

// LoadTemplate reads the chat template of a model: chat_template.jinja or else the
// chat_template of tokenizer_config.json, of several the one named "default", or else that
// of chat_template.json. path is as for [Load]. Templates are in Jinja as transformers
// renders it (package jinja); an error says in which line.
func LoadTemplate(path string) (*Template, error) {
	s, err := openSource(path)
	if err != nil {
		return nil, fmt.Errorf("load chat template: %w", err)
	}
	c, err := s.config()
	if err != nil {
		return nil, err
	}
	text, from, err := s.template(c)
	if err != nil {
		return nil, fmt.Errorf("load chat template: %w", err)
	}
	t := &Template{source: text, config: c}
	if t.jinja, err = jinja.Parse(from, text); err != nil {
		return nil, err
	}
	return t, nil
}

// template returns the text of the template and where it stands.
func (s *source) template(c config) (text, from string, err error) {
	data, from, err := s.read(TemplateFile)
	if err == nil {
		return string(data), from, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", "", err
	}
	from = filepath.Join(s.dir, ConfigFile) + ": chat_template"
	if s.gguf != nil {
		from = s.path + ": tokenizer.chat_template"
	}
	if !c.hasTemplate() { // multimodal models have had it beside their processor's files
		if c, from, err = s.readConfig(processorFile); err != nil {
			return "", "", err
		}
		from += ": chat_template"
	}
	if !c.hasTemplate() {
		return "", "", fmt.Errorf("%w: %s has neither a %s nor a chat_template in %s", ErrNoTemplate, s.dir, TemplateFile, ConfigFile)
	}
	if json.Unmarshal(c.ChatTemplate, &text) == nil {
		return text, from, nil
	}
	var named []struct{ Name, Template string }
	if json.Unmarshal(c.ChatTemplate, &named) != nil {
		return "", "", fmt.Errorf(`%s: want a string or a list of {"name", "template"}, found %.40s`, from, c.ChatTemplate)
	}
	var names []string
	for _, n := range named {
		if n.Name == "default" || len(named) == 1 {
			return n.Template, from, nil
		}
		names = append(names, n.Name)
	}
	return "", "", fmt.Errorf(`%s: none of the templates is named "default" (found %q)`, from, names)
}

// Source returns the template's text as it stands in its file.
func (t *Template) Source() string { return t.source }

// Render returns the conversation as text, special tokens spelled out. What a template
// refuses (raise_exception) is a [jinja.Raised] with the template's words. A template that
// would take too long or too much memory is an error (package jinja has the bounds).
func (t *Template) Render(msgs []Message, o RenderOptions) (string, error) {
	messages := make([]jinja.Value, len(msgs))
	for i, m := range msgs {
		var err error
		if messages[i], err = m.value(); err != nil {
			return "", fmt.Errorf("message %d: %w", i+1, err)
		}
	}
	vars := map[string]jinja.Value{
		"messages":              jinja.NewList(messages...),
		"add_generation_prompt": o.GenerationPrompt,
		"tools":                 nil,
		"documents":             nil,
	}
	for name, token := range map[string]tokenText{
		"bos_token": t.config.BOS, "eos_token": t.config.EOS, "pad_token": t.config.Pad, "unk_token": t.config.Unk,
	} {
		if token != "" {
			vars[name] = string(token)
		}
	}
	for _, v := range slices.Concat(t.variables, o.Variables) {
		var err error
		if vars[v.Name], err = v.value(); err != nil {
			return "", err
		}
	}
	return t.jinja.Render(vars)
}

// value returns m as transformers hands it to a template.
func (m Message) value() (jinja.Value, error) {
	d := &jinja.Dict{}
	d.Set("role", m.Role)
	if !slices.ContainsFunc(m.Fields, func(f Field) bool { return f.Name == "content" }) {
		d.Set("content", m.Content)
	}
	for _, f := range m.Fields {
		v, err := f.value()
		if err != nil {
			return nil, err
		}
		d.Set(f.Name, v)
	}
	return d, nil
}

func (f Field) value() (jinja.Value, error) {
	v, err := jinja.FromJSON(f.Value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	return v, nil
}
