package data

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"eisft/internal/head"
)

// Source gives random access to the samples of one or several files. It is not safe for
// concurrent use.
type Source struct {
	name    string // for messages: the path, where it is one file
	files   []*dataFile
	starts  []int // of each part the first row, and last how many rows all have
	entries []entry
	empty   []string // files of patterns, which have no rows
	rows    []int    // those in use, in order; nil: all
	split   *splitRows
}

// dataFile is an open file and how its rows are understood.
type dataFile struct {
	path    string
	options Options
	table   table
	form    form
	entry   int
}

// entry is what a list of files names at once: a file, or all that a pattern fits.
type entry struct {
	path   string
	weight float64 // 0: it has none
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

// Open opens a file that ends in one of [Endings], or all that a pattern such as "chats/*.jsonl"
// fits, in the order of their names, and finds out the form of each from its columns. None is ever held in memory as a whole: parquet is read page by page,
// of lines or of a JSON array only the positions of the rows are kept, and what is packed
// is unpacked into a temporary file without a name, or one that Close removes.
//
// It fails with the file's name and what was found for a file that is empty
// (ErrEmpty), cut off or corrupt, and for columns that are missing or of a wrong type.
func Open(path string, o Options) (*Source, error) {
	return Set{Files: One(path), Options: o}.Open()
}

// openDataFile opens one file.
func openDataFile(path string, o Options) (*dataFile, error) {
	t, err := openTable(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	p := &dataFile{path: path, options: o, table: t}
	if err := p.detect(); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return p, nil
}

func openTable(path string) (table, error) {
	if err := regular(path); err != nil {
		return nil, err
	}
	name := strings.ToLower(filepath.Base(path))
	base, pack := name, packing{}
	for _, p := range packings {
		if rest, ok := strings.CutSuffix(name, p.ending); ok {
			base, pack = rest, p
		}
	}
	for _, f := range fileFormats {
		if strings.HasSuffix(base, f.ending) && (f.packed || pack.open == nil) {
			if info, err := os.Stat(path); err == nil && info.Size() == 0 { // whatever it is packed by
				return nil, ErrEmpty
			}
			if err := checkPointer(path); err != nil {
				return nil, err
			}
			return f.open(path, pack)
		}
	}
	return nil, fmt.Errorf("not a data file: want a name that ends in %s", strings.Join(Endings(), ", "))
}

// regular reports what is no file: to open a pipe waits for its writer, and what is read must be there a
// second time.
func regular(path string) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return errors.New("it is not a regular file, and data are read more than once; copy what it gives into one")
	}
	return nil
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
func (p *dataFile) detect() error {
	if p.table.len() == 0 {
		return fmt.Errorf("%s: %w", p.path, ErrEmpty)
	}
	names, err := p.table.columns()
	if err != nil {
		return fmt.Errorf("%s:%s: %w", p.path, p.table.where(0), err)
	}
	if p.form, err = detectForm(p.options, names); err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	if f, ok := p.table.(*parquetFile); ok {
		if err := f.bind(p.form); err != nil {
			return fmt.Errorf("%s: %w", p.path, err)
		}
	}
	return nil
}

// Len is the number of samples.
func (s *Source) Len() int {
	if s.rows != nil {
		return len(s.rows)
	}
	return s.starts[len(s.files)]
}

// at is the file that has the i-th row, and the row's number in it.
func (s *Source) at(i int) (*dataFile, int) {
	if s.rows != nil {
		i = s.rows[i]
	}
	n := sort.SearchInts(s.starts, i+1) - 1
	return s.files[n], i - s.starts[n]
}

// At reads the i-th sample, 0 <= i < Len. Reading in order is cheapest: a jump in a
// parquet file opens the pages that the row is in. The error names file and row.
func (s *Source) At(i int) (Sample, error) {
	if i < 0 || i >= s.Len() {
		return Sample{}, fmt.Errorf("%s: no sample %d: the file has %d", s.name, i, s.Len())
	}
	p, row := s.at(i)
	where := p.path + ":" + p.table.where(row)
	r, err := p.table.row(row, p.form)
	if err != nil {
		return Sample{}, fmt.Errorf("%s: %w", where, err)
	}
	sample, err := r.sample(p.form, p.options)
	if err != nil {
		return Sample{}, fmt.Errorf("%s: %w", where, err)
	}
	sample.Where = where
	return sample, sample.Check()
}

// where names the i-th row: "row 3", and of several files "a.jsonl:line 7".
func (s *Source) where(i int) string {
	p, row := s.at(i)
	if len(s.files) == 1 {
		return p.table.where(row)
	}
	return p.path + ":" + p.table.where(row)
}

// entry is the number of what the i-th row was named by.
func (s *Source) entry(i int) int {
	p, _ := s.at(i)
	return p.entry
}

// Close closes the files, which are also those of what [Source.First] and [Source.Split] have
// returned, and of what they were called of.
func (s *Source) Close() error {
	var all []error
	for _, p := range s.files {
		all = append(all, p.table.close())
	}
	return errors.Join(all...)
}
