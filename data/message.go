package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"eisft/internal/enum"
	"eisft/internal/utf8text"
	"eisft/model/tokenizer"
)

// messagesOf reads a list of messages: {role, content} or ShareGPT's {from, value}, with
// what else a template may know of a message.
func messagesOf(raw json.RawMessage) ([]tokenizer.Message, error) {
	var list []json.RawMessage
	if err := unmarshalAs(raw, &list, turnsKind); err != nil {
		return nil, err
	}
	messages := make([]tokenizer.Message, len(list))
	for i, raw := range list {
		var err error
		if messages[i], err = messageOf(raw); err != nil {
			return nil, fmt.Errorf("message %d: %w", i+1, err)
		}
	}
	return messages, nil
}

func messageOf(raw json.RawMessage) (m tokenizer.Message, err error) {
	if isNull(raw) {
		return m, errors.New("it is null")
	}
	fields, err := fieldsOf(raw)
	if err != nil {
		return m, err
	}
	role, fields := takeField(fields, "role", "from")
	content, fields := takeField(fields, "content", "value")
	if isNull(role.Value) {
		return m, errors.New("no role")
	}
	if m.Role, err = stringOf(role.Value); err != nil {
		return m, fmt.Errorf("%s: %w", role.Name, err)
	}
	for _, f := range fields {
		if !isNull(f.Value) { // as data sets fill up what a message does not have
			m.Fields = append(m.Fields, f)
		}
	}
	if isNull(content.Value) {
		if !calls(m) {
			return m, errors.New("no content, and no tool_calls instead of it")
		}
		m.Fields = append(m.Fields, tokenizer.Field{Name: "content", Value: json.RawMessage("null")})
	} else if m.Content, err = contentOf(content.Value); err != nil {
		return m, fmt.Errorf("%s: %w", content.Name, err)
	}
	if role.Name == "from" {
		if m, err = shareGPT(m); err != nil {
			return m, err
		}
	}
	return m, isLearned(m)
}

// isLearned reports an answer that its data set wants learned less than others, or not at
// all, as fine-tuning services write it. All answers are learned alike.
func isLearned(m tokenizer.Message) error {
	if m.Role != "assistant" {
		return nil
	}
	for _, f := range m.Fields {
		value := string(f.Value)
		weight, err := strconv.ParseFloat(value, 64)
		if f.Name == "weight" && (err != nil || weight != 1) || f.Name == "train" && value != "true" {
			return fmt.Errorf("%s is %.20s, but all answers are learned, and alike: let the conversation end before this one, or take the field out", f.Name, value)
		}
	}
	return nil
}

// takeField takes the field of the first name that is there out of a list of fields.
func takeField(fields []tokenizer.Field, names ...string) (tokenizer.Field, []tokenizer.Field) {
	for _, name := range names {
		if i := slices.IndexFunc(fields, func(f tokenizer.Field) bool { return f.Name == name }); i >= 0 {
			return fields[i], slices.Delete(slices.Clone(fields), i, i+1)
		}
	}
	return tokenizer.Field{}, fields
}

// shareGPTRoles says what ShareGPT's speakers are to a template.
var shareGPTRoles = enum.NewTable[string, string]("from").
	With("human", "user").With("user", "user").
	With("gpt", "assistant").With("assistant", "assistant").
	With("system", "system").
	With("tool", "tool").With("observation", "tool").With("function_response", "tool").
	With("function_call", "assistant")

// shareGPT translates the speaker. A function_call is an answer whose value is the call.
func shareGPT(m tokenizer.Message) (_ tokenizer.Message, err error) {
	from := m.Role
	if m.Role, err = shareGPTRoles.Find(from); err != nil || from != "function_call" {
		return m, err
	}
	calls := []json.RawMessage{json.RawMessage(m.Content)}
	if text := strings.TrimSpace(m.Content); strings.HasPrefix(text, "[") {
		err = json.Unmarshal([]byte(text), &calls)
	}
	var list []map[string]json.RawMessage
	for _, call := range calls {
		var function struct{ Name, Arguments json.RawMessage }
		if err == nil {
			err = json.Unmarshal(call, &function)
		}
		if err == nil && function.Name == nil {
			err = errors.New("it has no name")
		}
		if err != nil {
			return m, fmt.Errorf(`the value of a function_call is not {"name": …, "arguments": …} in JSON: %w`, err)
		}
		list = append(list, map[string]json.RawMessage{"type": json.RawMessage(`"function"`), "function": call})
	}
	value, err := json.Marshal(list)
	m.Content = ""
	m.Fields = append(m.Fields, tokenizer.Field{Name: "content", Value: json.RawMessage("null")}, tokenizer.Field{Name: "tool_calls", Value: value})
	return m, err
}

// calls says whether a message calls tools in place of an answer.
func calls(m tokenizer.Message) bool {
	return slices.ContainsFunc(m.Fields, func(f tokenizer.Field) bool {
		return (f.Name == "tool_calls" || f.Name == "function_call") && string(f.Value) != "[]"
	})
}

// contentOf is a string, or a list of text parts put one behind the other: templates that
// know of parts write nothing between them.
func contentOf(raw json.RawMessage) (string, error) {
	if raw[0] != '[' {
		text, err := stringOf(raw)
		if err != nil {
			err = fmt.Errorf("%w or a list of text parts", err)
		}
		return text, err
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(raw, &parts); err != nil {
		return "", err
	}
	var text strings.Builder
	for i, raw := range parts {
		part := struct {
			Type string
			Text *string
		}{}
		if err := json.Unmarshal(raw, &part); err != nil {
			return "", fmt.Errorf(`part %d is a JSON %s, want {"type": "text", "text": …}`, i+1, jsonKindOf(raw))
		}
		if part.Type != "text" {
			return "", fmt.Errorf("part %d is of the type %q: only parts of the type text can be learned from", i+1, part.Type)
		}
		if part.Text == nil {
			return "", fmt.Errorf("part %d has no text", i+1)
		}
		text.WriteString(*part.Text)
	}
	return text.String(), utf8text.Check(text.String())
}

// fieldsOf takes a JSON object apart, in its order. Of a name that is there twice the
// last value counts, as to other readers.
func fieldsOf(raw json.RawMessage) ([]tokenizer.Field, error) {
	if len(raw) == 0 || raw[0] != '{' {
		return nil, fmt.Errorf("a JSON %s, want an object {...}", jsonKindOf(raw))
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	var fields []tokenizer.Field
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		f := tokenizer.Field{Name: name.(string)}
		if err := d.Decode(&f.Value); err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(fields, func(g tokenizer.Field) bool { return g.Name == f.Name }); i >= 0 {
			fields[i] = f
		} else {
			fields = append(fields, f)
		}
	}
	return fields, nil
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// stringOf reads a JSON string, which must be a text.
func stringOf(raw json.RawMessage) (string, error) {
	var v string
	if err := unmarshalAs(raw, &v, textKind); err != nil {
		return "", err
	}
	return v, checkText(v)
}

func checkText(s string) error {
	if err := utf8text.Check(s); err != nil {
		return fmt.Errorf("its text: %w", err)
	}
	return nil
}

// jsonKindOf names the type of a JSON value.
func jsonKindOf(raw json.RawMessage) string {
	switch {
	case isNull(raw):
		return "null"
	case raw[0] == '{':
		return "object"
	case raw[0] == '[':
		return "array"
	case raw[0] == '"':
		return "string"
	case raw[0] == 't' || raw[0] == 'f':
		return "bool"
	}
	return "number"
}

// variablesOf reads a cell that a template knows by the cell's name.
func variablesOf(c cell, raw json.RawMessage) ([]tokenizer.Field, error) {
	raw, err := unquoted(raw)
	if err != nil || isNull(raw) {
		return nil, err
	}
	if c == kwargsCell {
		return fieldsOf(raw)
	}
	if raw[0] != '[' {
		return nil, fmt.Errorf("found a JSON %s, want a list", jsonKindOf(raw))
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(list, func(raw json.RawMessage) bool { return raw[0] == '"' }) {
		for i := range list {
			if list[i], err = unquoted(list[i]); err != nil {
				return nil, fmt.Errorf("number %d: %w", i+1, err)
			}
		}
		if raw, err = json.Marshal(list); err != nil {
			return nil, err
		}
	}
	name := "tools"
	if c == documentsCell {
		name = "documents"
	}
	return []tokenizer.Field{{Name: name, Value: raw}}, nil
}

// unquoted is JSON, or the JSON that a JSON string holds; of an empty string, nothing.
func unquoted(raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) == 0 || raw[0] != '"' {
		return raw, nil
	}
	text, err := stringOf(raw)
	if err != nil {
		return nil, err
	}
	if text = strings.TrimSpace(text); text != "" && !json.Valid([]byte(text)) {
		return nil, fmt.Errorf("found the string %.40q, which is not JSON", text)
	}
	return json.RawMessage(text), nil
}
