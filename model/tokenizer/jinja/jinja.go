// Package jinja renders chat templates: Jinja2 as transformers' apply_chat_template sets it
// up (ImmutableSandboxedEnvironment, trim_blocks, lstrip_blocks, loopcontrols,
// {% generation %}, raise_exception, strftime_now, its own tojson). Values behave as in
// Python: strings are counted in code points, dicts keep their order, generators are used up.
//
// A template comes with a model and is not trusted. Parsing and rendering are bounded in
// steps, bytes and depth (limits.go), so that every template ends, soon, with a text or an
// error. What Python has and this package lacks is an error that names it: integers beyond
// 64 bits, include, import, extends, and filters whose result nobody could repeat (random).
package jinja

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// Template is a parsed template. It may be rendered by several goroutines at once.
type Template struct {
	name string
	body []stmt
}

// Error says where in a template something was wrong: "NAME:LINE: what".
type Error struct {
	Name string // as given to Parse
	Line int    // counted from 1
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %v", e.Name, e.Line, e.Err) }

// Unwrap returns what was wrong.
func (e *Error) Unwrap() error { return e.Err }

// Raised is what a template says with raise_exception.
type Raised struct{ Message string }

func (r *Raised) Error() string { return "the template refuses the messages: " + r.Message }

// Parse reads a template. name stands in errors.
func Parse(name, source string) (*Template, error) {
	if len(source) > maxSource {
		return nil, &Error{name, 1, fmt.Errorf("the template is %d bytes long, want at most %d", len(source), maxSource)}
	}
	if !utf8.ValidString(source) {
		return nil, &Error{name, 1, errors.New("the template is not UTF-8")}
	}
	tokens, err := lex(source)
	if err == nil {
		p := parser{tokens: tokens}
		var body []stmt
		if body, err = p.template(); err == nil {
			return &Template{name, body}, nil
		}
	}
	return nil, located(err, name, 1)
}

// Render returns the text of the template with those variables. Their values are those of
// FromJSON, or nil (None), bool, int64, float64, string, *List and *Dict.
func (t *Template) Render(vars map[string]Value) (string, error) {
	in := newInterp(vars, time.Now)
	root := &scope{in: in}
	if err := root.run(t.body); err != nil {
		return "", located(err, t.name, in.line)
	}
	return in.out.String(), nil
}

// located names the template in an error that knows its line, or puts both before it.
func located(err error, name string, line int) error {
	var at *Error
	if errors.As(err, &at) {
		at.Name = name
		return at
	}
	return &Error{name, line, err}
}

// at makes an error at a line; one that has its line already stays as it is.
func at(line int, err error) error {
	var e *Error
	if err == nil || errors.Is(err, errBreak) || errors.Is(err, errContinue) || errors.As(err, &e) {
		return err
	}
	return &Error{Line: line, Err: err}
}
