package data

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Source gives random access to the samples of one file. It is not safe for
// concurrent use.
type Source struct {
	path    string
	options Options
	table   table
	form    form
}

// table is an open file of rows.
type table interface {
	len() int
	// row reads the i-th row; the columns of f that the row has are set.
	row(i int, f form) (row, error)
	// where names the i-th row within the file: "row 3" or "line 7".
	where(i int) string
	// columns lists the columns of the first row.
	columns() ([]string, error)
	close() error
}

// maxExpansion is how many times larger than its compressed form a file or a page
// may claim to be. Deflate cannot exceed 1032; text does not reach 100.
const maxExpansion = 1000

// ErrEmpty is returned by Open for a file without a row.
var ErrEmpty = errors.New("no rows")

// Open opens a .parquet, .jsonl or .jsonl.gz file and finds out its form from its
// columns. Neither kind is ever held in memory as a whole: parquet is read page by
// page, of a .jsonl only the positions of the lines are kept, and a .jsonl.gz is
// unpacked into a temporary file that Close removes.
//
// It fails with the file's name and what was found for a file that is empty
// (ErrEmpty), cut off or corrupt, and for columns that are missing or of a wrong type.
func Open(path string, o Options) (*Source, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	t, err := openTable(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s := &Source{path: path, options: o, table: t}
	if err := s.detect(); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return s, nil
}

func openTable(path string) (table, error) {
	// To open a pipe waits for its writer, and what is read must be there a second time.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file, and data are read more than once; copy what it gives into one")
	}
	switch name := strings.ToLower(filepath.Base(path)); {
	case strings.HasSuffix(name, ".parquet"):
		return openParquet(path)
	case strings.HasSuffix(name, ".jsonl"):
		return openLines(path)
	case strings.HasSuffix(name, ".jsonl.gz"):
		return openGzipLines(path)
	}
	return nil, errors.New("not a data file: want a name that ends in .parquet, .jsonl or .jsonl.gz")
}

// detect settles the form of the rows and checks that its columns are there.
func (s *Source) detect() error {
	if s.table.len() == 0 {
		return fmt.Errorf("%s: %w", s.path, ErrEmpty)
	}
	names, err := s.table.columns()
	if err != nil {
		return fmt.Errorf("%s:%s: %w", s.path, s.table.where(0), err)
	}
	if s.form, err = detectForm(s.options.Columns, names); err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	if p, ok := s.table.(*parquetFile); ok {
		if err := p.bind(s.form); err != nil {
			return fmt.Errorf("%s: %w", s.path, err)
		}
	}
	return nil
}

// Len is the number of samples.
func (s *Source) Len() int { return s.table.len() }

// At reads the i-th sample, 0 <= i < Len. Reading in order is cheapest: a jump in a
// parquet file decodes its row group from the start. The error names file and row.
func (s *Source) At(i int) (Sample, error) {
	if i < 0 || i >= s.Len() {
		return Sample{}, fmt.Errorf("%s: no sample %d: the file has %d", s.path, i, s.Len())
	}
	where := s.path + ":" + s.table.where(i)
	r, err := s.table.row(i, s.form)
	if err != nil {
		return Sample{}, fmt.Errorf("%s: %w", where, err)
	}
	sample, err := r.sample(s.form, s.options)
	if err != nil {
		return Sample{}, fmt.Errorf("%s: %w", where, err)
	}
	sample.Where = where
	return sample, sample.Check()
}

// Close closes the file.
func (s *Source) Close() error { return s.table.close() }
