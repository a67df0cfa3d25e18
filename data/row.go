package data

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"eisft/internal/nearest"
	"eisft/model/tokenizer"
)

// row holds the cells of one row by what they mean.
type row struct {
	set       [cells]bool // the cell is there and not null
	texts     [cells]string
	turns     [cells][]tokenizer.Message
	answers   []string
	classes   []string
	history   [][]string // turns of user and assistant
	variables []tokenizer.Field
	length    int
	depth     float64 // NaN: not known
}

// kind is a type of cell.
type kind int

const (
	textKind    kind = iota
	idKind           // a string or a number
	numberKind       // a number
	textsKind        // a list of strings or one string
	answersKind      // the same, or a struct that has it as its text
	turnsKind        // a list of messages
	partKind         // a string or a list of messages
	pairsKind        // a list of pairs of strings
	jsonKind         // anything, or a string that holds it in JSON
)

func (k kind) String() string {
	return [...]string{
		"a string", "a string or a number", "a number", "a string or a list of strings",
		"a string, a list of strings or {text: a list of strings}", "a list of {role, content} or {from, value}",
		"a string or a list of {role, content}", "a list of pairs of strings", "JSON",
	}[k]
}

// column is a column to read: its name in the file, which cell of the row it fills,
// and whether every row must have it.
type column struct {
	name     string
	kind     kind
	cell     cell
	required bool
}

// cell is a field of row.
type cell int

const (
	idCell cell = iota
	datasetCell
	contextCell
	inputCell
	answersCell
	lengthCell
	classesCell
	depthCell
	messagesCell
	textCell
	instructionCell
	outputCell
	systemCell
	historyCell
	promptCell
	completionCell
	toolsCell
	documentsCell
	kwargsCell // what else the template knows, by name
	cells      // how many there are
)

func emptyRow() row { return row{depth: math.NaN()} }

// setText fills a cell that holds one string; as answers it is the only one.
func (r *row) setText(c cell, v string) error {
	r.set[c] = true
	switch c {
	case answersCell:
		r.answers = []string{v}
	case classesCell:
		r.classes = []string{v}
	case promptCell:
		r.turns[c] = []tokenizer.Message{{Role: "user", Content: v}}
	case completionCell:
		r.turns[c] = []tokenizer.Message{{Role: "assistant", Content: v}}
	default:
		r.texts[c] = v
	}
	return nil
}

// setNumber fills a numeric cell.
func (r *row) setNumber(c cell, v float64) error {
	r.set[c] = true
	if c == depthCell {
		r.depth = v
		return nil
	}
	if v != math.Trunc(v) || math.Abs(v) > 1<<53 {
		return fmt.Errorf("found %g, want a whole number", v)
	}
	r.length = int(v)
	return nil
}

// sample makes the sample of a row.
func (r *row) sample(f form, o Options) (Sample, error) {
	for _, col := range f.columns {
		if col.required && !r.set[col.cell] {
			return Sample{}, fmt.Errorf("column %s is null, want %s", col.name, col.kind)
		}
	}
	s := Sample{ID: r.texts[idCell], Dataset: r.texts[datasetCell], Length: r.length, Classes: r.classes, Depth: math.NaN(), Variables: r.variables}
	if err := formats.Get(f.format).fill(r, &s, o); err != nil {
		return s, err
	}
	if s.Messages != nil && r.texts[systemCell] != "" {
		if s.Messages[0].Role == "system" {
			return s, errors.New("the row has a column system and a message of the role system")
		}
		s.Messages = slices.Insert(s.Messages, 0, tokenizer.Message{Role: "system", Content: r.texts[systemCell]})
	}
	return s, nil
}

func fillChat(r *row, s *Sample, _ Options) error {
	if s.Messages = r.turns[messagesCell]; len(s.Messages) == 0 {
		return errors.New("no messages")
	}
	return nil
}

func fillText(r *row, s *Sample, _ Options) error {
	if s.Text = r.texts[textCell]; s.Text == "" {
		return errors.New("empty text")
	}
	return nil
}

// fillQuestion makes LongBench rows and questions about a context, or about none.
func fillQuestion(r *row, s *Sample, o Options) error {
	if len(r.answers) == 0 {
		return errors.New("no answer: the list of answers is empty")
	}
	s.Answers = r.answers
	prompt := r.texts[inputCell]
	if r.set[contextCell] {
		s.Context = r.texts[contextCell]
		var err error
		if prompt, err = o.prompt(s.Dataset, r.texts[contextCell], prompt); err != nil {
			return err
		}
	}
	s.Messages = ask(prompt, r.answers[0])
	if r.depth >= 0 {
		if r.depth > 1 {
			return fmt.Errorf("depth is %g, want a fraction of the context between 0 and 1, or a negative number if it is not known", r.depth)
		}
		s.Depth, s.Fact = r.depth, lineAt(r.texts[contextCell], r.depth)
	}
	return nil
}

// fillAlpaca puts the input on the line behind the instruction.
func fillAlpaca(r *row, s *Sample, _ Options) error {
	for i, turn := range r.history {
		if len(turn) != 2 {
			return fmt.Errorf("history: number %d has %d strings, want an instruction and its answer", i+1, len(turn))
		}
		s.Messages = append(s.Messages, ask(turn[0], turn[1])...)
	}
	prompt := r.texts[instructionCell]
	if input := r.texts[inputCell]; strings.TrimSpace(input) != "" {
		prompt += "\n" + input
	}
	s.Messages = append(s.Messages, ask(prompt, r.texts[outputCell])...)
	return nil
}

func fillPrompt(r *row, s *Sample, _ Options) error {
	s.Messages = slices.Concat(r.turns[promptCell], r.turns[completionCell])
	if len(s.Messages) == 0 {
		return errors.New("no messages")
	}
	return nil
}

func ask(prompt, answer string) []tokenizer.Message {
	return []tokenizer.Message{{Role: "user", Content: prompt}, {Role: "assistant", Content: answer}}
}

// lineAt returns the line of the context that lies at depth. The line's number was
// divided by the number of lines, so the product has a rounding error: round it off.
func lineAt(context string, depth float64) string {
	lines := strings.Split(context, "\n")
	i := int(math.Floor(depth*float64(len(lines)) + 1e-6))
	return strings.TrimSpace(lines[min(i, len(lines)-1)])
}

// missingColumn says what was looked for, what is there, and the nearest name to it.
func missingColumn(wanted, name string, have []string) error {
	msg := fmt.Sprintf("no column %s: the file has %s", wanted, strings.Join(have, ", "))
	if near := nearest.Name(name, have); near != "" {
		msg += fmt.Sprintf("; did you mean %s?", near)
	}
	return errors.New(msg)
}
