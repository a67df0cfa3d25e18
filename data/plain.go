package data

import (
	"fmt"
	"strings"
)

// EncodePlain tokenizes a question and its answer without the chat template: the question
// as any text, with what the tokenizer puts around one, and right behind it the answer and
// the token that ends texts, if the tokenizer has one. The sample must have been made of a
// question and one answer.
func (e *Encoder) EncodePlain(s Sample) (Encoded, error) {
	if err := s.Check(); err != nil {
		return Encoded{}, err
	}
	if len(s.Messages) != 2 || s.Messages[0].Role != "user" {
		return Encoded{}, fmt.Errorf("%s: without a chat template it must be one question and its answer, and it has %d messages", s.Where, len(s.Messages))
	}
	question, tk := s.Messages[0].Content, e.tokenizer
	ids := tk.Encode(question, true)
	turn := Turn{Start: len(ids), Message: 1, Distance: -1}
	if s.Fact != "" {
		at := strings.Index(question, s.Fact)
		if at < 0 {
			return Encoded{}, fmt.Errorf("%s: the fact %q is not in the prompt", s.Where, s.Fact)
		}
		turn.Distance = len(ids) - commonPrefix(tk.Encode(question[:at], true), ids)
	}
	ids = append(ids, tk.Encode(s.Messages[1].Content, false)...)
	if end, ok := tk.TokenID(tk.EOS()); ok {
		ids = append(ids, end)
	}
	turn.End = len(ids)
	enc := Encoded{Where: s.Where, IDs: ids, Loss: make([]bool, len(ids)), Turns: []Turn{turn}}
	for i := turn.Start; i < turn.End; i++ {
		enc.Loss[i] = true
	}
	if err := tk.Err(); err != nil {
		return Encoded{}, fmt.Errorf("%s: %w", s.Where, err)
	}
	if err := tk.Check(ids); err != nil {
		return Encoded{}, fmt.Errorf("%s: %w", s.Where, err)
	}
	return enc, nil
}
