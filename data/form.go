package data

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"

	"eisft/internal/enum"
	"eisft/internal/progress"
)

// Format names a form of rows.
type Format string

// The forms of rows.
const (
	FormatMessages  Format = "messages"
	FormatShareGPT  Format = "sharegpt"
	FormatLongBench Format = "longbench"
	FormatQA        Format = "qa"
	FormatAlpaca    Format = "alpaca"
	FormatPrompt    Format = "prompt"
	FormatText      Format = "text"
)

// rowForm is what rows of one form have.
type rowForm struct {
	// named says that the options name the column by which the form is known.
	named func(c Columns) bool
	// columns are those of the form; the first one is that by which it is known.
	columns func(c Columns) []column
	// fill makes the sample's messages or text.
	fill func(r *row, s *Sample, o Options) error
}

// formats are in the order in which they are tried.
var formats = enum.NewTable[Format, rowForm]("format").
	With(FormatMessages, rowForm{
		func(c Columns) bool { return c.Messages != "" },
		func(c Columns) []column { return chatColumns(c, cmp.Or(c.Messages, "messages")) },
		fillChat,
	}).
	With(FormatShareGPT, rowForm{
		func(c Columns) bool { return c.Messages != "" },
		func(c Columns) []column { return chatColumns(c, cmp.Or(c.Messages, "conversations")) },
		fillChat,
	}).
	With(FormatLongBench, rowForm{
		func(c Columns) bool { return c.Context != "" },
		func(c Columns) []column {
			return []column{
				{cmp.Or(c.Context, "context"), textKind, contextCell, true},
				{cmp.Or(c.Input, "input"), textKind, inputCell, true},
				{cmp.Or(c.Answers, "answers"), textsKind, answersCell, true},
				{cmp.Or(c.Depth, "depth"), numberKind, depthCell, c.Depth != ""},
			}
		},
		fillQuestion,
	}).
	With(FormatQA, rowForm{
		func(c Columns) bool { return c.Context != "" },
		func(c Columns) []column {
			return []column{
				{cmp.Or(c.Input, "question"), textKind, inputCell, true},
				{cmp.Or(c.Context, "context"), textKind, contextCell, true},
				{cmp.Or(c.Answers, "answers"), answersKind, answersCell, true},
				{cmp.Or(c.Depth, "depth"), numberKind, depthCell, c.Depth != ""},
			}
		},
		fillQuestion,
	}).
	With(FormatAlpaca, rowForm{
		func(c Columns) bool { return c.Instruction != "" },
		func(c Columns) []column {
			return []column{
				{cmp.Or(c.Instruction, "instruction"), textKind, instructionCell, true},
				{cmp.Or(c.Output, "output"), textKind, outputCell, true},
				{cmp.Or(c.Input, "input"), textKind, inputCell, c.Input != ""},
				{cmp.Or(c.System, "system"), textKind, systemCell, c.System != ""},
				{cmp.Or(c.History, "history"), pairsKind, historyCell, c.History != ""},
			}
		},
		fillAlpaca,
	}).
	With(FormatPrompt, rowForm{
		func(c Columns) bool { return c.Prompt != "" },
		func(c Columns) []column {
			return append([]column{
				{cmp.Or(c.Prompt, "prompt"), partKind, promptCell, true},
				{cmp.Or(c.Completion, "completion"), partKind, completionCell, true},
			}, templateColumns(c)...)
		},
		fillPrompt,
	}).
	With(FormatText, rowForm{
		func(c Columns) bool { return c.Text != "" },
		func(c Columns) []column { return []column{{cmp.Or(c.Text, "text"), textKind, textCell, true}} },
		fillText,
	})

func chatColumns(c Columns, name string) []column {
	return append([]column{{name, turnsKind, messagesCell, true}}, templateColumns(c)...)
}

// templateColumns are what a chat template knows beside messages.
func templateColumns(c Columns) []column {
	return []column{
		{cmp.Or(c.System, "system"), textKind, systemCell, c.System != ""},
		{cmp.Or(c.Tools, "tools"), jsonKind, toolsCell, c.Tools != ""},
		{"documents", jsonKind, documentsCell, false},
		{"chat_template_kwargs", jsonKind, kwargsCell, false},
	}
}

// form is what the rows of a file are made of.
type form struct {
	format  Format
	columns []column // that the file has, or its first row where each row names its own
	others  []column // that a row may have as well, where each names its own
}

// detectForm chooses the format that the options name, or the first one whose columns are
// all there, among those whose leading column the options name if they name any.
func detectForm(o Options, have []string) (form, error) {
	if o.Format != "" {
		return settle(o.Format, o.Columns, have)
	}
	var candidates []Format
	for _, name := range formats.Names() {
		if formats.Get(name).named(o.Columns) {
			candidates = append(candidates, name)
		}
	}
	if candidates == nil {
		candidates = formats.Names()
	}
	for _, name := range candidates {
		if f, err := settle(name, o.Columns, have); err == nil {
			return f, nil
		}
	}
	var wanted []string
	for _, name := range candidates {
		lead := formats.Get(name).columns(o.Columns)[0].name
		if slices.Contains(have, lead) { // a column beside it is missing
			_, err := settle(name, o.Columns, have)
			return form{}, otherNames(o, err)
		}
		if !slices.Contains(wanted, lead) {
			wanted = append(wanted, lead)
		}
	}
	return form{}, otherNames(o, missingColumn(strings.Join(wanted, " or "), wanted[0], have))
}

// otherNames adds to the error of a missing column what to do about it, unless it was done.
func otherNames(o Options, err error) error {
	if o.Columns != (Columns{}) {
		return err
	}
	return fmt.Errorf("%w (data.columns gives other names, and --columns those of eval --data)", err)
}

// settle takes the columns of a format that are there, and the others apart. Those that a row
// must have must be there, and _id, dataset and length if the options name them.
func settle(name Format, c Columns, have []string) (form, error) {
	f := form{format: name}
	for _, col := range append(formats.Get(name).columns(c),
		column{cmp.Or(c.ID, "_id"), idKind, idCell, c.ID != ""},
		column{cmp.Or(c.Dataset, "dataset"), textKind, datasetCell, c.Dataset != ""},
		column{cmp.Or(c.Length, "length"), numberKind, lengthCell, c.Length != ""},
		column{"all_classes", textsKind, classesCell, false},
	) {
		switch {
		case slices.Contains(have, col.name):
			f.columns = append(f.columns, col)
		case col.required:
			return form{}, missingColumn(col.name, col.name, have)
		default:
			f.others = append(f.others, col)
		}
	}
	return f, nil
}

// column is the i-th one, the others behind those that are known to be there.
func (f form) column(i int) column {
	if i < len(f.columns) {
		return f.columns[i]
	}
	return f.others[i-len(f.columns)]
}

// String names the format and the columns that are read.
func (f form) String() string {
	var names []string
	for _, col := range f.columns {
		names = append(names, col.name)
	}
	return fmt.Sprintf("%s (columns %s)", f.format, strings.Join(names, ", "))
}

// Formats lists the forms of rows, in the order in which they are tried.
func Formats() []Format { return formats.Names() }

// announced is how many files are announced by name.
const announced = 8

// Announce writes what will be read, and how it is understood, to w (nil: nobody).
func (s *Source) Announce(w io.Writer) {
	if w == nil {
		return
	}
	for _, p := range s.files[:min(len(s.files), announced)] {
		progress.Println(w, fmt.Sprintf("%s: %s rows of the form %s%s", p.path, humanize.Comma(int64(p.table.len())), p.form, p.promptNote()))
	}
	if more := len(s.files) - announced; more > 0 {
		progress.Println(w, fmt.Sprintf("and %s more: %s rows in all", english.Plural(more, "file", ""), humanize.Comma(int64(s.starts[len(s.files)]))))
	}
	if left := s.Empty(); left != "" {
		progress.Println(w, left)
	}
}

// Empty names the files of patterns that are left out, since they have no rows; "" if there are none.
func (s *Source) Empty() string {
	n := len(s.empty)
	if n == 0 {
		return ""
	}
	list := s.empty[:min(n, announced)]
	if n > announced {
		list = append(slices.Clone(list), english.Plural(n-announced, "more", "more"))
	}
	return english.WordSeries(list, "and") + ": no rows; left out"
}

// Format is the form of the rows, of the first file where they differ.
func (s *Source) Format() Format { return s.files[0].form.format }

// Form says what the rows are, and from which columns they are read:
// "alpaca (columns instruction, output, input)".
func (s *Source) Form() string {
	var all []string
	for _, p := range s.files {
		if text := p.form.String(); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return strings.Join(all, "; ")
}

// Columns lists the columns of the first row, whether they are read or not.
func (s *Source) Columns() ([]string, error) { return s.files[0].table.columns() }
