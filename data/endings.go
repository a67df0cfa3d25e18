package data

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"

	"eisft/internal/utf8text"
)

// fileFormats say how files are opened, by the end of their names.
var fileFormats = []struct {
	ending string
	packed bool // it may be packed, which adds the packing's ending
	open   func(path string, p packing) (table, error)
}{
	{".parquet", false, func(path string, _ packing) (table, error) { return openParquet(path) }},
	{".jsonl", true, openJSON},
	{".json", true, openJSON},
	{".csv", true, func(path string, p packing) (table, error) { return openConverted(path, p, csvToLines, "row") }},
	{".txt", true, openDocument},
}

// packing is how a file is packed; the zero value: it is not.
type packing struct {
	ending string
	open   func(r io.Reader) (io.ReadCloser, error)
}

var packings = []packing{{".gz", fromGzip}, {".zst", fromZstd}}

// Endings lists the ends of data files' names.
func Endings() []string {
	var all []string
	for _, f := range fileFormats {
		all = append(all, f.ending)
		for _, p := range packings {
			if f.packed {
				all = append(all, f.ending+p.ending)
			}
		}
	}
	return all
}

// EndingsForHelp is [Endings] in the words of a command's help.
func EndingsForHelp() string {
	var packed, plain []string
	for _, f := range fileFormats {
		if f.packed {
			packed = append(packed, f.ending)
		} else {
			plain = append(plain, f.ending)
		}
	}
	var by []string
	for _, p := range packings {
		by = append(by, p.ending)
	}
	return strings.Join(append(plain, packed...), ", ") + "; " + strings.Join(packed, ", ") + " also " + strings.Join(by, " or ")
}

func fromGzip(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(bufio.NewReader(r)) }

func fromZstd(r io.Reader) (io.ReadCloser, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderMaxMemory(maxWindow))
	if err != nil {
		return nil, err
	}
	return z.IOReadCloser(), nil
}

// maxWindow bounds what unpacking zstd may hold in memory; zstd --long takes 2^27 bytes.
const maxWindow = 1 << 28

// unpacked reads a file's content, whatever it is packed with.
type unpacked struct {
	file   *os.File
	reader io.ReadCloser // nil: the file is not packed
	size   int64         // of the file
	n      int64         // bytes that were read
}

func openUnpacked(path string, p packing) (*unpacked, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	u := &unpacked{file: f, size: info.Size()}
	if p.open != nil {
		if u.reader, err = p.open(f); err != nil {
			return nil, errors.Join(fmt.Errorf("unpack: %w", err), f.Close())
		}
	}
	return u, nil
}

func (u *unpacked) Read(b []byte) (int, error) {
	if u.reader == nil {
		return u.file.Read(b)
	}
	n, err := u.reader.Read(b)
	u.n += int64(n)
	if limit := u.size * maxExpansion; u.n > limit {
		return n, fmt.Errorf("unpack: %d bytes became more than %d: not a text", u.size, limit)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("unpack: after %d bytes of text: %w", u.n, err)
	}
	return n, err
}

func (u *unpacked) Close() error {
	if u.reader != nil {
		_ = u.reader.Close() // what is wrong with the content, reading has said
	}
	return u.file.Close()
}

func openJSON(path string, p packing) (table, error) {
	if p.open == nil {
		return openLines(path)
	}
	return openConverted(path, p, copyAll, "")
}

func copyAll(w io.Writer, r io.Reader) error {
	_, err := io.Copy(w, r)
	return err
}

// openConverted opens what a file becomes, lines in JSON, in a temporary file: what is packed
// or written otherwise has no random access. where is what its rows are called, "" for lines.
func openConverted(path string, p packing, convert func(w io.Writer, r io.Reader) error, where string) (_ table, err error) {
	u, err := openUnpacked(path, p)
	if err != nil {
		return nil, err
	}
	defer func() { _ = u.Close() }()
	converted, err := os.CreateTemp("", "eisft-*.jsonl")
	if err != nil {
		return nil, err
	}
	// Nothing is left behind where a process is killed, if the system lets go of the name.
	l := &lines{file: converted, temporary: os.Remove(converted.Name()) != nil, rows: where}
	if err := convert(converted, u); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return indexLines(l)
}

// document is a file of plain text, which is one row. It is read when the row is: there may be
// more such files than a process may hold open.
type document struct {
	path string
	pack packing
	has  int // rows: none if the file is empty
}

func openDocument(path string, p packing) (table, error) {
	d := &document{path: path, pack: p}
	begin, err := d.read(64) // finds what is no text at all before the row is read
	if err != nil {
		return nil, err
	}
	if len(begin) > 0 {
		d.has = 1
	}
	return d, notLines(begin, ".txt")
}

// read reads the file, at most so many bytes.
func (d *document) read(most int64) ([]byte, error) {
	u, err := openUnpacked(d.path, d.pack)
	if err != nil {
		return nil, err
	}
	defer func() { _ = u.Close() }()
	return io.ReadAll(io.LimitReader(u, most))
}

func (d *document) len() int                   { return d.has }
func (d *document) where(int) string           { return "text" }
func (d *document) columns() ([]string, error) { return []string{"text"}, nil }
func (d *document) close() error               { return nil }

func (d *document) row(_ int, f form) (row, error) {
	r := emptyRow()
	text, err := d.read(maxRow + 1)
	if err != nil {
		return r, err
	}
	if len(text) > maxRow {
		return r, fmt.Errorf("more than %d bytes in one text, which is the most that can be read: cut it into several files", maxRow)
	}
	words := strings.TrimPrefix(string(text), utf8text.BOM)
	if err := checkText(words); err != nil {
		return r, err
	}
	return r, r.setText(f.columns[0].cell, words)
}
