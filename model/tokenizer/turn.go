package tokenizer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Token is a token and how it is written in a text.
type Token struct {
	Text string
	ID   int32 // NoToken for an EOS that is a text of ordinary tokens
}

// NoToken is the id of a [Token] that the vocabulary does not have.
const NoToken = -1

// SpecialAt returns the special token that a text begins with, white space aside. It knows
// the EOS of tokenizer_config.json where the vocabulary does not have that, too.
func (t *Tokenizer) SpecialAt(text string) (Token, bool) {
	const longest = 128 // in bytes: no special token is longer
	text = strings.TrimSpace(text)
	if eos := t.EOS(); eos != "" && strings.HasPrefix(text, eos) {
		if _, known := t.TokenID(eos); !known {
			return Token{eos, NoToken}, true
		}
	}
	ids := t.Encode(text[:min(len(text), longest)], false)
	if len(ids) == 0 || t.Decode(ids[:1], true) != "" {
		return Token{}, false
	}
	token := Token{t.Decode(ids[:1], false), ids[0]}
	return token, token.Text != "" && strings.HasPrefix(text, token.Text)
}

// With returns the template with variables that it always knows, beside those of
// [RenderOptions], which go before them.
func (t *Template) With(variables []Field) *Template {
	c := *t
	c.variables = slices.Concat(t.variables, variables)
	return &c
}

// Variables are those that the template was given by With.
func (t *Template) Variables() []Field { return slices.Clone(t.variables) }

// The turns that a template is tried with.
const (
	triedQuestion = "What is six times seven"
	triedAnswer   = "It is forty two"
	triedSecond   = "And nine times six"
)

// EndsOfTurn returns the special tokens with which a template ends an answer: first the
// last one of a conversation, then, if it is another one, one before a user's turn.
func EndsOfTurn(tk *Tokenizer, tpl *Template) ([]Token, error) {
	asked := []Message{{Role: "user", Content: triedQuestion}, {Role: "assistant", Content: triedAnswer}}
	last, tail, err := endBehind(tk, tpl, asked)
	if err != nil {
		return nil, err
	}
	if tail == "" {
		return nil, errors.New("chat template: nothing follows an answer: a model trained with it would never learn to stop; add the end-of-turn token to the template")
	}
	if last == (Token{}) {
		return nil, fmt.Errorf("chat template: an answer is followed by %q, which does not start with a special token of the tokenizer", excerpt(tail))
	}
	ends := []Token{last}
	inner, _, err := endBehind(tk, tpl, append(asked, Message{Role: "user", Content: triedSecond}))
	if err != nil || inner == last || inner == (Token{}) || beginsTurn(tk, tpl, asked, inner) {
		return ends, nil // a template for one question, or one that ends no answer but the last
	}
	return append(ends, inner), nil
}

// endBehind renders messages of which the second is triedAnswer and returns the special
// token behind that, if one is there, and all that follows.
func endBehind(tk *Tokenizer, tpl *Template, messages []Message) (end Token, tail string, err error) {
	text, err := tpl.Render(messages, RenderOptions{})
	if err != nil {
		return Token{}, "", fmt.Errorf("chat template: %w", err)
	}
	_, tail, found := strings.Cut(text, triedAnswer)
	if !found {
		return Token{}, "", fmt.Errorf("chat template: the answer %q is not in the rendered text %q", triedAnswer, excerpt(text))
	}
	end, _ = tk.SpecialAt(tail)
	return end, strings.TrimSpace(tail), nil
}

// beginsTurn reports whether a token that stands between an answer and a user's turn
// belongs to the turn: it begins an answer, too, or does not stand before a turn of
// another role.
func beginsTurn(tk *Tokenizer, tpl *Template, asked []Message, token Token) bool {
	open, err := tpl.Render(asked[:1], RenderOptions{GenerationPrompt: true})
	if err != nil {
		return true
	}
	_, header, _ := strings.Cut(open, triedQuestion)
	closed, err := tpl.Render(asked[:1], RenderOptions{})
	if err != nil {
		return true
	}
	_, tail, _ := strings.Cut(closed, triedQuestion)
	if begin, ok := tk.SpecialAt(strings.TrimPrefix(header, tail)); ok && begin == token {
		return true
	}
	for _, role := range []string{"system", "assistant", "tool"} {
		other, _, err := endBehind(tk, tpl, append(slices.Clone(asked), Message{Role: role, Content: triedSecond}))
		if err == nil {
			return other != token
		}
	}
	return false
}

// excerpt is the beginning of a text, for messages.
func excerpt(text string) string {
	if len(text) <= 60 {
		return text
	}
	return strings.ToValidUTF8(text[:60], "") + "…"
}
