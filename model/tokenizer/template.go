package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	gonja "github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/loaders"
	"github.com/nikolalohinski/gonja/v2/parser"
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
	from   string // where it was read, for errors
	config config
	jinja  *exec.Template

	variables []Field // of every rendering
}

// ErrNoTemplate is wrapped by LoadTemplate's error for a checkpoint without a chat
// template, as base models often are.
var ErrNoTemplate = errors.New("no chat template")

// LoadTemplate reads the chat template of a model: chat_template.jinja or else the
// chat_template of tokenizer_config.json, of several the one named "default", or else that
// of chat_template.json. path is as for [Load]. Templates are in Jinja as transformers renders it; what gonja cannot
// run is an error that says where.
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
	t := &Template{source: text, from: from, config: c}
	if t.jinja, err = compileJinja(text); err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	return t, nil
}

// template returns the text of the template and where it stands.
func (s *source) template(c config) (text, from string, err error) {
	data, from, err := s.read(templateFile)
	if err == nil {
		return string(data), from, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", "", err
	}
	from = filepath.Join(s.dir, configFile) + ": chat_template"
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
		return "", "", fmt.Errorf("%w: %s has neither a %s nor a chat_template in %s", ErrNoTemplate, s.dir, templateFile, configFile)
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
// refuses (raise_exception) is an error with the template's words.
func (t *Template) Render(msgs []Message, o RenderOptions) (text string, err error) {
	refused := ""
	messages, err := jinjaMessages(msgs)
	if err != nil {
		return "", err
	}
	vars := map[string]any{
		"messages":              messages,
		"add_generation_prompt": o.GenerationPrompt,
		"tools":                 none{},
		"documents":             none{},
		macroDepth:              new(int),
		"raise_exception": func(args *exec.VarArgs) (any, error) {
			refused = args.First().String()
			return nil, errors.New(refused)
		},
	}
	for name, token := range map[string]tokenText{
		"bos_token": t.config.BOS, "eos_token": t.config.EOS, "pad_token": t.config.Pad, "unk_token": t.config.Unk,
	} {
		if token != "" {
			vars[name] = string(token)
		}
	}
	for _, v := range slices.Concat(t.variables, o.Variables) {
		if vars[v.Name], err = jinjaJSON(v); err != nil {
			return "", err
		}
	}
	defer func() { // gonja reaches into values by reflection
		if r := recover(); r != nil {
			text, err = "", fmt.Errorf("%s: gonja failed: %v", t.from, r)
		}
	}()
	text, err = t.jinja.ExecuteToString(exec.NewContext(vars))
	switch {
	case refused != "":
		return "", fmt.Errorf("%s refuses the messages: %s", t.from, refused)
	case err != nil:
		return "", fmt.Errorf("%s: %w", t.from, err)
	}
	return text, nil
}

// jinjaMessages returns msgs as transformers hands them to a template.
func jinjaMessages(msgs []Message) ([]any, error) {
	out := make([]any, len(msgs))
	for i, m := range msgs {
		pairs := []*exec.Pair{{Key: exec.AsValue("role"), Value: exec.AsValue(m.Role)}}
		if !slices.ContainsFunc(m.Fields, func(f Field) bool { return f.Name == "content" }) {
			pairs = append(pairs, &exec.Pair{Key: exec.AsValue("content"), Value: exec.AsValue(m.Content)})
		}
		for _, f := range m.Fields {
			v, err := jinjaJSON(f)
			if err != nil {
				return nil, fmt.Errorf("message %d: %w", i+1, err)
			}
			pairs = append(pairs, &exec.Pair{Key: exec.AsValue(f.Name), Value: exec.AsValue(v)})
		}
		out[i] = &exec.Dict{Pairs: pairs}
	}
	return out, nil
}

// jinjaJSON returns a field's value as a template sees it.
func jinjaJSON(f Field) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(f.Value))
	dec.UseNumber()
	v, err := jinjaValue(dec)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	return v, nil
}

// jinjaValue decodes the next value; objects keep the order of their keys.
func jinjaValue(dec *json.Decoder) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case nil:
		return none{}, nil
	case json.Number:
		if n, err := t.Int64(); err == nil {
			return int(n), nil
		}
		return t.Float64()
	case json.Delim:
		if t == '{' {
			return jinjaObject(dec)
		}
		list := []any{}
		for dec.More() {
			v, err := jinjaValue(dec)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := dec.Token()
		return list, err
	default:
		return token, nil
	}
}

func jinjaObject(dec *json.Decoder) (any, error) {
	dict := &exec.Dict{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		v, err := jinjaValue(dec)
		if err != nil {
			return nil, err
		}
		dict.Pairs = append(dict.Pairs, &exec.Pair{Key: exec.AsValue(key), Value: exec.AsValue(v)})
	}
	_, err := dec.Token()
	return dict, err
}

// compileJinja translates and compiles a template.
func compileJinja(source string) (t *exec.Template, err error) {
	code, err := translateJinja(source)
	if err != nil {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil {
			t, err = nil, fmt.Errorf("gonja failed: %v", r)
		}
	}()
	const name = "/chat_template"
	loader, err := loaders.NewMemoryLoader(map[string]string{name: code})
	if err != nil {
		return nil, err
	}
	cfg := gonja.New()
	cfg.KeepTrailingNewline = true
	if t, err = exec.NewTemplate(name, cfg, loader, jinjaEnvironment()); err == nil {
		return t, nil
	}
	var syntax *parser.SyntaxError
	if errors.As(err, &syntax) && syntax.Line > 0 {
		return nil, fmt.Errorf("line %d, %q: gonja cannot read it: %s near %q", syntax.Line, line(source, syntax.Line), syntax.Message, syntax.Raw)
	}
	return nil, fmt.Errorf("gonja cannot read it: %w", errors.Unwrap(err))
}

// line returns line n of text, counted from 1, without its indentation.
func line(text string, n int) string {
	lines := strings.Split(text, "\n")
	if n > len(lines) {
		return ""
	}
	return fmt.Sprintf("%.100s", strings.TrimSpace(lines[n-1]))
}
