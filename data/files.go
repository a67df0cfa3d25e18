package data

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"

	"eisft/internal/filehash"
)

// File is an entry of [Files]: a file, or all that a pattern fits, and how they are read.
type File struct {
	Path string `yaml:"path"` // a path or a pattern such as chats/*.jsonl
	// Weight is how often a row of this entry is drawn beside those of the others: its part of
	// the sum of weights is that of the samples. If no entry has one, all rows are drawn alike;
	// if some have, it is 1 for the others.
	Weight  float64 `yaml:"weight,omitempty"`
	Options `yaml:",inline"`
}

// Files are what a data set is read from, in order. In YAML it is a path, or a list of paths
// and sections.
type Files []File

// One is a single file, or all that a pattern fits.
func One(path string) Files { return Files{{Path: path}} }

// String names them for messages.
func (f Files) String() string {
	var names []string
	for _, file := range f {
		names = append(names, file.Path)
	}
	return strings.Join(names, ", ")
}

// plain says that a file has nothing but its path.
func (f File) plain() bool {
	return f.Weight == 0 && f.Format == "" && f.Columns == (Columns{}) && f.Prompt == "" && f.Prompts == nil
}

// MarshalYAML writes no more than there is: a path alone stands without a list.
func (f Files) MarshalYAML() (any, error) {
	if len(f) == 1 && f[0].plain() {
		return f[0].Path, nil
	}
	list := []any{}
	for _, file := range f {
		if file.plain() {
			list = append(list, file.Path)
		} else {
			list = append(list, file)
		}
	}
	return list, nil
}

// UnmarshalYAML reads what MarshalYAML writes.
func (f *Files) UnmarshalYAML(decode func(any) error) error {
	var one string
	if decode(&one) == nil {
		if *f = nil; one != "" {
			*f = One(one)
		}
		return nil
	}
	var list []fileOrPath
	err := decode(&list)
	*f = make(Files, len(list))
	for i, e := range list {
		(*f)[i] = File(e)
	}
	return err
}

// fileOrPath is an entry in YAML.
type fileOrPath File

func (f *fileOrPath) UnmarshalYAML(decode func(any) error) error {
	if decode(&f.Path) == nil {
		return nil
	}
	return decode((*File)(f))
}

// weighted says that some entry has a weight.
func (f Files) weighted() bool {
	return slices.ContainsFunc(f, func(file File) bool { return file.Weight != 0 })
}

// Set is what a configuration says of a data set.
type Set struct {
	Files Files
	// Options are those of entries that give none of their own.
	Options
	Samples int // use only the first so many of each entry; 0: all
}

// Asked is the set with its rows asked by other prompts, see [Options], those of entries with
// prompts of their own as well.
func (s Set) Asked(prompts map[string]string) Set {
	s.Prompts, s.Files = prompts, slices.Clone(s.Files)
	for i := range s.Files {
		s.Files[i].Prompt, s.Files[i].Prompts = "", nil
	}
	return s
}

// Open opens all files of the set, one behind the other.
func (s Set) Open() (_ *Source, err error) {
	out := &Source{starts: []int{0}, split: new(splitRows)}
	defer func() {
		if err != nil {
			err = errors.Join(err, out.Close())
		}
	}()
	if len(s.Files) == 0 {
		return nil, errors.New("no data file is named")
	}
	for i, file := range s.Files {
		o := file.Options.over(s.Options)
		if err := o.check(); err != nil {
			return nil, err
		}
		paths, err := Expand(file.Path)
		if err != nil {
			return nil, err
		}
		before := len(out.files)
		for _, path := range paths {
			err := out.add(path, o, i)
			if errors.Is(err, ErrEmpty) && path != file.Path { // nobody has named it
				out.empty = append(out.empty, path)
				continue
			}
			if err != nil {
				return nil, err
			}
		}
		if len(out.files) == before {
			return nil, fmt.Errorf("%s: %w: %s of this pattern, and none has a row", file.Path, ErrEmpty, english.Plural(len(paths), "file has a name", "files have names"))
		}
		e := entry{path: file.Path}
		if s.Files.weighted() {
			e.weight = file.Weight
			if e.weight == 0 {
				e.weight = 1
			}
		}
		out.entries = append(out.entries, e)
	}
	out.name = out.files[0].path
	if n := len(out.files); n > 1 {
		out.name = s.Files.String()
	}
	return out.First(s.Samples), nil
}

// add opens a file behind those that there are.
func (s *Source) add(path string, o Options, entry int) error {
	p, err := openDataFile(path, o)
	if err != nil {
		return err
	}
	p.entry = entry
	s.files = append(s.files, p)
	n := s.starts[len(s.starts)-1] + p.table.len()
	if n > maxRows {
		return fmt.Errorf("%s: %d rows with those of the files before it: %d are the most that can be read", path, n, maxRows)
	}
	s.starts = append(s.starts, n)
	return nil
}

// over takes what o does not say from those of the whole set. A prompt and prompts belong
// together.
func (o Options) over(set Options) Options {
	if o.Format == "" {
		o.Format = set.Format
	}
	if o.Columns == (Columns{}) {
		o.Columns = set.Columns
	}
	if o.Prompt == "" && o.Prompts == nil {
		o.Prompt, o.Prompts = set.Prompt, set.Prompts
	}
	o.Base = set.Base
	return o
}

// Expand returns the files that a path or pattern (see [filepath.Match]) names, in the order
// of their names. A file that is called as the pattern is that file.
func Expand(path string) ([]string, error) {
	_, missing := os.Stat(path)
	if missing == nil || !strings.ContainsAny(path, "*?[") {
		return []string{path}, nil
	}
	paths, err := filepath.Glob(path)
	if err != nil {
		return nil, fmt.Errorf("%s: not a pattern of file names: %w", path, err)
	}
	paths = slices.DeleteFunc(paths, func(p string) bool {
		info, err := os.Stat(p)
		return err == nil && info.IsDir()
	})
	if len(paths) == 0 {
		return nil, fmt.Errorf("%s: no file has a name of this pattern", path)
	}
	return paths, nil
}

// Paths are all files, in order. It fails for what is there and no file.
func (f Files) Paths() ([]string, error) {
	var paths []string
	for _, file := range f {
		found, err := Expand(file.Path)
		if err != nil {
			return nil, err
		}
		for _, path := range found {
			if err := regular(path); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
		}
		paths = append(paths, found...)
	}
	return paths, nil
}

// Sum is the SHA-256 of all files, in hexadecimal: of one that of its bytes, of several that of
// theirs.
func (f Files) Sum() (string, error) {
	paths, err := f.Paths()
	if err != nil {
		return "", err
	}
	all := sha256.New()
	for _, p := range paths {
		sum, err := filehash.Sum(p)
		if err != nil || len(paths) == 1 {
			return sum, err
		}
		fmt.Fprintln(all, sum)
	}
	return hex.EncodeToString(all.Sum(nil)), nil
}

// view is the source with some of its rows. The files are shared: whichever is
// closed closes them.
func (s *Source) view(rows []int) *Source {
	v := *s
	v.rows = make([]int, len(rows))
	for k, i := range rows {
		if v.rows[k] = i; s.rows != nil {
			v.rows[k] = s.rows[i]
		}
	}
	return &v
}

// Spread is the source with its rows in another order: the first of each entry, then the
// second of each, and so on, so that the first few rows are of all entries.
func (s *Source) Spread() *Source {
	if len(s.entries) < 2 {
		return s
	}
	of := make([][]int, len(s.entries))
	for i := range s.Len() {
		e := s.entry(i)
		of[e] = append(of[e], i)
	}
	var rows []int
	for k := 0; len(rows) < s.Len(); k++ {
		for _, list := range of {
			if k < len(list) {
				rows = append(rows, list[k])
			}
		}
	}
	return s.view(rows)
}

// First is the source with the first n rows of each entry (0: all).
func (s *Source) First(n int) *Source {
	if n == 0 {
		return s
	}
	var rows []int
	had := make([]int, len(s.entries))
	for i := range s.Len() {
		if e := s.entry(i); had[e] < n {
			had[e]++
			rows = append(rows, i)
		}
	}
	if len(rows) == s.Len() {
		return s
	}
	return s.view(rows)
}
