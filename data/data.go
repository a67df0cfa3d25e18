// Package data reads training and evaluation samples from parquet, JSON and CSV files,
// renders them with a chat template and marks the tokens that carry loss.
//
// A sample is a conversation of user and assistant turns (S-SFT trains on the
// assistant's) or a plain text (for distillation). These forms of rows are recognised by
// their columns, in this order, if Options name no Format:
//
//   - messages: column messages, a list of {role, content}; tool_calls, reasoning_content
//     and whatever else a message has goes to the chat template
//   - sharegpt: column conversations, the same or a list of {from, value}
//   - longbench: columns context, input, answers; the user message is made by a prompt
//     template, the first answer is the assistant's
//   - qa: columns question, context, answers: the same; answers may be SQuAD's {text: [...]}
//   - alpaca: columns instruction, output (and input, system, history); the user message
//     is the instruction with the input, if there is one, on the next line
//   - prompt: columns prompt, completion, strings or lists of messages
//   - text: column text
//
// The columns system, tools, documents and chat_template_kwargs of chats go to the
// template, too; _id, dataset, length, depth and all_classes are read where they are there. Content
// that is a list of text parts is their texts, one right behind the other, as templates
// that know of parts write them. Column names can be mapped; see [Options].
package data

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"eisft/internal/enum"
	"eisft/model/tokenizer"
)

// Sample is one row of a file: a conversation (Messages) or a plain text (Text).
type Sample struct {
	ID      string
	Dataset string
	// Where names the row for messages: "train.parquet:row 12" (rows count from 1)
	// or "train.jsonl:line 12".
	Where string
	// Messages are the turns; the last one is the assistant's. Nil for a plain text.
	Messages []tokenizer.Message
	// Variables are what a template knows beside the messages, as the row has it: tools,
	// documents, what its chat_template_kwargs name.
	Variables []tokenizer.Field
	// Text is a plain text without turns.
	Text string
	// Answers are all accepted answers; the first one is the assistant's message.
	Answers []string
	// Context is what a question is about, where the row has it. Rows with the same one are
	// about the same text.
	Context string
	// Depth is where in the context the answer lies: the number of the fact's line,
	// counted from 0, divided by the number of lines. NaN if it is not known.
	Depth float64
	// Fact is the line of the context at Depth, which holds the answer to the first
	// question. Empty if it is not known.
	Fact string
	// Length is the row's length column, in whatever unit the file has it
	// (LongBench: words). 0 if there is none.
	Length int
	// Classes are what a question may be answered by where that is a choice (LongBench's
	// column all_classes). Nil if there is none.
	Classes []string
}

// Columns maps what a sample is made of to column names of a file. An empty name
// stands for the usual one, which is the field's tag.
type Columns struct {
	ID          string `yaml:"_id"`
	Dataset     string `yaml:"dataset"`
	Context     string `yaml:"context"`
	Input       string `yaml:"input"`   // of qa: question
	Answers     string `yaml:"answers"` // a list of strings or one string
	Length      string `yaml:"length"`
	Depth       string `yaml:"depth"`    // negative or null: unknown
	Messages    string `yaml:"messages"` // of sharegpt: conversations
	Text        string `yaml:"text"`
	Instruction string `yaml:"instruction"`
	Output      string `yaml:"output"`
	System      string `yaml:"system"`
	History     string `yaml:"history"` // a list of pairs of strings: earlier turns
	Prompt      string `yaml:"prompt"`
	Completion  string `yaml:"completion"`
	Tools       string `yaml:"tools"` // a list, or a string that holds it in JSON
}

// DefaultPrompt makes a user message where Options name no other template.
const DefaultPrompt = "{context}\n\n{input}"

// Options say how rows become samples. The zero value reads the usual columns.
type Options struct {
	// Format is the form of the rows; empty: what their columns say.
	Format  Format  `yaml:"format,omitempty"`
	Columns Columns `yaml:"columns,omitempty"`
	// Prompt makes the user message of a longbench or qa row: {context} and {input} stand
	// for the columns. Empty means DefaultPrompt.
	// One without {input} is for rows whose input is empty.
	Prompt string `yaml:"prompt,omitempty"`
	// Prompts are templates for rows whose dataset column has the key's value.
	Prompts map[string]string `yaml:"prompts,omitempty"`
	// Base are the prompts that the base was trained with, where neither Prompt nor Prompts
	// say anything.
	Base BasePrompts `yaml:"-"`
}

// prompt renders the user message of a row. It fails where the template leaves the
// question out.
func (o Options) prompt(dataset, context, input string) (string, error) {
	template := cmp.Or(o.Prompts[dataset], o.Prompt, o.Base.of(dataset, context), DefaultPrompt)
	if !strings.Contains(template, "{input}") && strings.TrimSpace(input) != "" {
		return "", fmt.Errorf("the row has an input, and the prompt template %q does not contain {input}", template)
	}
	return strings.NewReplacer("{context}", context, "{input}", input).Replace(template), nil
}

// check reports a template that leaves the context out: every row would lose it.
func (o Options) check() error {
	if o.Format != "" {
		if err := enum.Check("format", o.Format, formats.Names()...); err != nil {
			return err
		}
	}
	if err := checkPrompt("prompt", o.Prompt); err != nil {
		return err
	}
	for dataset, template := range o.Prompts {
		if err := checkPrompt("prompts: "+dataset, template); err != nil {
			return err
		}
	}
	return nil
}

func checkPrompt(key, template string) error {
	if template != "" && !strings.Contains(template, "{context}") {
		return fmt.Errorf("%s: template %q does not contain {context}", key, template)
	}
	return nil
}

var roles = []string{"system", "developer", "user", "assistant", "tool", "function"}

// Check reports a sample that cannot be trained on: no text and no messages, an
// unknown role, no user turn before an answer, an empty answer or none at the end.
func (s Sample) Check() error {
	if s.Text != "" && s.Messages == nil {
		return nil
	}
	if len(s.Messages) == 0 {
		return fmt.Errorf("%s: no messages and no text", s.Where)
	}
	user := false
	for i, m := range s.Messages {
		switch {
		case !slices.Contains(roles, m.Role):
			return fmt.Errorf("%s: message %d has the role %q, want one of %s", s.Where, i+1, m.Role, strings.Join(roles, ", "))
		case m.Role == "user":
			user = true
		case m.Role != "assistant":
		case !user:
			return fmt.Errorf("%s: message %d is an answer without a user turn before it", s.Where, i+1)
		case strings.TrimSpace(m.Content) == "" && !saysElse(m):
			return fmt.Errorf("%s: message %d is an empty answer", s.Where, i+1)
		case s.Messages[i-1].Role == "assistant":
			return fmt.Errorf("%s: messages %d and %d are both the assistant's", s.Where, i, i+1)
		}
	}
	if !user {
		return fmt.Errorf("%s: no user turn", s.Where)
	}
	if last := s.Messages[len(s.Messages)-1]; last.Role != "assistant" {
		return fmt.Errorf("%s: no answer: the last of its %d messages is of the role %q, want assistant", s.Where, len(s.Messages), last.Role)
	}
	return nil
}

// saysElse says that an answer without content calls tools or thinks.
func saysElse(m tokenizer.Message) bool {
	return calls(m) || slices.ContainsFunc(m.Fields, func(f tokenizer.Field) bool {
		return f.Name == "reasoning_content" && string(f.Value) != `""`
	})
}
