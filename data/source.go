package data

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"eisft/internal/head"
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

// maxExpansion is how many times larger than its compressed form a file may be. Deflate cannot exceed 1032; text does not reach 100.
const maxExpansion = 1000

// maxRow bounds a row in JSON, in bytes: it is read as a whole.
const maxRow = 64 << 20

// ErrEmpty is returned by Open for a file without a row.
var ErrEmpty = errors.New("no rows")

// Open opens a file that ends in one of [Endings] and finds out its form from its columns. None is ever held in memory as a whole: parquet is read page by page,
// of lines or of a JSON array only the positions of the rows are kept, and what is packed
// is unpacked into a temporary file without a name, or one that Close removes.
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
	name := strings.ToLower(filepath.Base(path))
	for _, e := range endings {
		if strings.HasSuffix(name, e.ending) {
			if err := checkPointer(path); err != nil {
				return nil, err
			}
			return e.open(path)
		}
	}
	return nil, fmt.Errorf("not a data file: want a name that ends in %s", strings.Join(Endings(), ", "))
}

// endings say how files are opened, by the end of their names.
var endings = []struct {
	ending string
	open   func(path string) (table, error)
}{
	{".parquet", openParquet},
	{".jsonl", openLines},
	{".json", openLines},
	{".jsonl.gz", openConverted(fromGzip, "")},
	{".json.gz", openConverted(fromGzip, "")},
	{".jsonl.zst", openConverted(fromZstd, "")},
	{".json.zst", openConverted(fromZstd, "")},
	{".csv", openConverted(csvToLines, "row")},
}

// Endings lists the ends of data files' names.
func Endings() []string {
	var all []string
	for _, e := range endings {
		all = append(all, e.ending)
	}
	return all
}

// checkPointer reports what Git leaves in the place of a large file.
func checkPointer(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	begin := make([]byte, 64)
	if n, err := io.ReadFull(f, begin); (err == nil || errors.Is(err, io.ErrUnexpectedEOF)) && head.IsPointer(begin[:n]) {
		return errors.New("a pointer of Git LFS and not the file itself: run git lfs pull where it is")
	}
	return nil
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
	if s.form, err = detectForm(s.options, names); err != nil {
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
// parquet file opens the pages that the row is in. The error names file and row.
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
