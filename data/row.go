package data

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"eisft/internal/nearest"
	"eisft/model/tokenizer"
)

// row holds the cells of one row by what they mean. Cells that are null or whose
// column the file does not have keep their zero value (depth: NaN).
type row struct {
	id, dataset, context, input, text string
	answers                           []string
	messages                          []tokenizer.Message
	length                            int
	depth                             float64
}

// kind is a type of cell.
type kind int

const (
	textKind kind = iota
	idKind        // a string or a number
	numberKind
	textsKind // a list of strings or one string
	turnsKind // a list of {role, content}
)

func (k kind) String() string {
	return [...]string{"a string", "a string or a number", "a number", "a string or a list of strings", "a list of {role, content}"}[k]
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
	depthCell
	messagesCell
	textCell
)

// form is what the rows of a file are made of.
type form []column

func (f form) has(c cell) bool {
	return slices.ContainsFunc(f, func(col column) bool { return col.cell == c })
}

// detectForm chooses the first form whose leading column is there (chat before
// LongBench before text), among those forms whose leading column the options name if
// they name any. Columns of the form must exist; _id, dataset, length and depth must
// only if the options name them.
func detectForm(c Columns, have []string) (form, error) {
	forms := []struct {
		named bool
		main  form
	}{
		{c.Messages != "", form{{cmp.Or(c.Messages, "messages"), turnsKind, messagesCell, true}}},
		{c.Context != "", form{
			{cmp.Or(c.Context, "context"), textKind, contextCell, true},
			{cmp.Or(c.Input, "input"), textKind, inputCell, true},
			{cmp.Or(c.Answers, "answers"), textsKind, answersCell, true},
		}},
		{c.Text != "", form{{cmp.Or(c.Text, "text"), textKind, textCell, true}}},
	}
	anyNamed := c.Messages != "" || c.Context != "" || c.Text != ""
	var wanted []string
	for _, f := range forms {
		lead := f.main[0].name
		if anyNamed && !f.named {
			continue
		}
		if wanted = append(wanted, lead); slices.Contains(have, lead) {
			return withOptional(f.main, c, have)
		}
	}
	return nil, missingColumn(strings.Join(wanted, " or "), wanted[0], have)
}

// withOptional adds the columns a row may have to those it must have.
func withOptional(f form, c Columns, have []string) (form, error) {
	f = append(f,
		column{cmp.Or(c.ID, "_id"), idKind, idCell, c.ID != ""},
		column{cmp.Or(c.Dataset, "dataset"), textKind, datasetCell, c.Dataset != ""},
		column{cmp.Or(c.Length, "length"), numberKind, lengthCell, c.Length != ""},
		column{cmp.Or(c.Depth, "depth"), numberKind, depthCell, c.Depth != ""},
	)
	var found form
	for _, col := range f {
		switch {
		case slices.Contains(have, col.name):
			found = append(found, col)
		case col.required:
			return nil, missingColumn(col.name, col.name, have)
		}
	}
	return found, nil
}

// missingColumn says what was looked for, what is there, and the nearest name to it.
func missingColumn(wanted, name string, have []string) error {
	msg := fmt.Sprintf("no column %s: the file has %s", wanted, strings.Join(have, ", "))
	if near := nearest.Name(name, have); near != "" {
		msg += fmt.Sprintf("; did you mean %s?", near)
	}
	return errors.New(msg)
}

// sample makes the sample of a row.
func (r row) sample(f form, o Options) (Sample, error) {
	s := Sample{ID: r.id, Dataset: r.dataset, Length: r.length, Depth: math.NaN()}
	switch {
	case f.has(messagesCell):
		s.Messages = r.messages
		return s, nil
	case f.has(textCell):
		if s.Text = r.text; s.Text == "" {
			return s, errors.New("empty text")
		}
		return s, nil
	}
	if len(r.answers) == 0 {
		return s, errors.New("no answer: the list of answers is empty")
	}
	s.Answers = r.answers
	s.Messages = []tokenizer.Message{
		{Role: "user", Content: o.prompt(r.dataset, r.context, r.input)},
		{Role: "assistant", Content: r.answers[0]},
	}
	if r.depth >= 0 {
		if r.depth > 1 {
			return s, fmt.Errorf("depth is %g, want a fraction of the context between 0 and 1, or a negative number if it is not known", r.depth)
		}
		s.Depth, s.Fact = r.depth, lineAt(r.context, r.depth)
	}
	return s, nil
}

// lineAt returns the line of the context that lies at depth. The line's number was
// divided by the number of lines, so the product has a rounding error: round it off.
func lineAt(context string, depth float64) string {
	lines := strings.Split(context, "\n")
	i := int(math.Floor(depth*float64(len(lines)) + 1e-6))
	return strings.TrimSpace(lines[min(i, len(lines)-1)])
}

func emptyRow() row { return row{depth: math.NaN()} }

// setText fills a cell that holds one string; as answers it is the only one.
func (r *row) setText(c cell, v string) {
	switch c {
	case idCell:
		r.id = v
	case datasetCell:
		r.dataset = v
	case contextCell:
		r.context = v
	case inputCell:
		r.input = v
	case textCell:
		r.text = v
	case answersCell:
		r.answers = []string{v}
	}
}

// setNumber fills a numeric cell.
func (r *row) setNumber(c cell, v float64) error {
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
