package inspect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"eisft/data"
	"eisft/model/hf"
	"eisft/model/tokenizer"
)

// sampledRows bounds how many rows of a file are read, the first ones: a jump in
// a parquet file costs as much as all the rows before it.
const sampledRows = 256

// rows is what the sampled rows of a data file are like.
type rows struct {
	datasets          map[string]int
	characters, turns []int
	tokens, answers   []int // with a tokenizer
	located, bad      int
	errors            []error // the first bad rows
}

// inspectData describes a data file and its first rows.
func inspectData(ctx context.Context, r *Report, path string, o Options) error {
	r.Kind = "data set"
	var options data.Options
	var encoder *data.Encoder
	if o.Model != "" {
		var err error
		if options.Base, err = data.ReadBasePrompts(o.Model); err != nil {
			return err
		}
		if encoder, err = openEncoder(o.Model); err != nil {
			return err
		}
	}
	s, err := data.Open(path, options)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	columns, err := s.Columns()
	if err != nil {
		return err
	}
	r.size(path)
	r.fact("rows", Count(s.Len()))
	r.fact("form", s.Form())
	r.fact("columns", strings.Join(columns, ", "))
	found, err := readRows(ctx, s, encoder)
	if err != nil {
		return err
	}
	r.rows(found, s.Len())
	return nil
}

func openEncoder(dir string) (*data.Encoder, error) {
	tk, err := tokenizer.Load(dir)
	if err != nil {
		return nil, err
	}
	template, err := tokenizer.LoadTemplate(dir)
	if err != nil && !errors.Is(err, tokenizer.ErrNoTemplate) {
		return nil, err
	}
	return data.NewEncoder(tk, template, 0), limit(tk, dir, nil)
}

// limit tells the tokenizer of a folder how many rows the model's embedding has. Texts can be
// counted without a model, too. ignore are keys of its configuration.
func limit(tk *tokenizer.Tokenizer, dir string, ignore []string) error {
	c, err := hf.LoadConfig(dir, ignore...)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	if _, err := tk.Limit(c.VocabSize); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return nil
}

// readRows reads the first rows; encoder may be nil.
func readRows(ctx context.Context, s *data.Source, encoder *data.Encoder) (*rows, error) {
	found := &rows{datasets: map[string]int{}}
	for i := range min(s.Len(), sampledRows) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		sample, err := s.At(i)
		if err == nil && encoder != nil {
			err = found.count(encoder, sample)
		}
		if err != nil {
			found.reject(err)
			continue
		}
		found.add(sample)
	}
	return found, nil
}

// reject notes a row that cannot be used.
func (f *rows) reject(err error) {
	const most = 3
	if f.bad++; f.bad <= most {
		f.errors = append(f.errors, err)
	}
}

// count measures a sample in tokens.
func (f *rows) count(encoder *data.Encoder, s data.Sample) error {
	e, err := encoder.Encode(s)
	if err != nil {
		return err
	}
	answers := 0
	for _, t := range e.Turns {
		answers += t.End - t.Start
	}
	f.tokens, f.answers = append(f.tokens, len(e.IDs)), append(f.answers, answers)
	return nil
}

func (f *rows) add(s data.Sample) {
	if s.Dataset != "" {
		f.datasets[s.Dataset]++
	}
	length, turns := len(s.Text), 0
	for _, m := range s.Messages {
		length += len(m.Content)
		if m.Role == "assistant" {
			turns++
		}
	}
	f.characters, f.turns = append(f.characters, length), append(f.turns, turns)
	if !math.IsNaN(s.Depth) {
		f.located++
	}
}

// rows describes the sampled rows of a file with so many rows.
func (r *Report) rows(f *rows, all int) {
	read := min(all, sampledRows)
	if read < all {
		r.note("lengths and problems are those of the first %d rows", read)
	}
	if len(f.datasets) > 0 {
		var names []string
		for _, name := range slices.Sorted(maps.Keys(f.datasets)) {
			names = append(names, fmt.Sprintf("%s (%d)", name, f.datasets[name]))
		}
		r.fact("dataset", shortened(strings.Join(names, ", ")))
	}
	if f.located > 0 {
		r.fact("rows with a known depth", f.located)
	}
	t := Table{Title: "lengths of a row", Columns: []string{"", "least", "median", "mean", "most"}}
	t.lengths("bytes of text", f.characters)
	t.lengths("answers", f.turns)
	t.lengths("tokens", f.tokens)
	t.lengths("tokens of answers", f.answers)
	r.table(t)
	for _, err := range f.errors {
		r.problem(err)
	}
	if more := f.bad - len(f.errors); more > 0 {
		r.problem(fmt.Errorf("%d more rows of the first %d cannot be used", more, read))
	}
}

// lengths adds a row about numbers, unless there are none above 0.
func (t *Table) lengths(what string, n []int) {
	if len(n) == 0 || slices.Max(n) == 0 {
		return
	}
	slices.Sort(n)
	sum := 0
	for _, v := range n {
		sum += v
	}
	t.row(what, Count(n[0]), Count(n[len(n)/2]), Count(sum/len(n)), Count(n[len(n)-1]))
}
