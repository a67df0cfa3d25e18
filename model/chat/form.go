package chat

import (
	"errors"
	"fmt"
	"strings"

	"eisft/model/tokenizer"
)

// Form is what a chat template writes around the user's turns.
type Form struct {
	First string // before the first turn
	Next  string // between an answer and the turn after it; it starts with the end of the answer
	End   string // between a turn and its answer
}

// FormOf takes a template apart by rendering turns that it knows. It fails for one that
// cannot be continued turn by turn.
func FormOf(tpl *tokenizer.Template) (Form, error) {
	const question, answer, second = "What is six times seven", "It is forty two", "And nine times six"
	one, err := tpl.Render([]tokenizer.Message{{Role: "user", Content: question}}, tokenizer.RenderOptions{GenerationPrompt: true})
	if err != nil {
		return Form{}, err
	}
	two, err := tpl.Render([]tokenizer.Message{
		{Role: "user", Content: question}, {Role: "assistant", Content: answer}, {Role: "user", Content: second},
	}, tokenizer.RenderOptions{GenerationPrompt: true})
	if err != nil {
		return Form{}, err
	}
	first, end, asked := strings.Cut(one, question)
	_, rest, answered := strings.Cut(two, answer)
	next, again, askedAgain := strings.Cut(rest, second)
	if !asked || !answered || !askedAgain {
		return Form{}, fmt.Errorf("chat template: it changes the messages: from %q it made %q", []string{question, answer, second}, two)
	}
	if again != end {
		return Form{}, fmt.Errorf("chat template: it ends the first turn with %q, the second with %q; such a template cannot be continued turn by turn", end, again)
	}
	if next == "" {
		return Form{}, errors.New("chat template: nothing stands between an answer and the next turn; an answer would have no end")
	}
	return Form{first, next, end}, nil
}
