package data

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"eisft/internal/utf8text"
)

// lines is a file with one JSON object a line, blank lines aside, or with one JSON array
// of objects. Of a row no more is kept than where it begins.
type lines struct {
	file      *os.File
	temporary bool // the file is an unpacked copy that could not be unlinked while it is open
	offsets   list[int64]
	gaps      list[gap]
	end       int64 // of the last row
	array     bool
	rows      string // what rows are called, "" for lines with their numbers
}

// gap says that from a row on, lines have other numbers than one more than those before.
type gap struct{ row, number int }

// list is a list in pieces of one size: it grows without being copied, and takes no more than
// a piece beside what is in it.
type list[T any] struct {
	pieces [][]T
	n      int
}

// pieceSize is how many a piece holds; a power of two.
const pieceSize = 1 << 10

func (l *list[T]) add(v T) {
	if l.n%pieceSize == 0 {
		l.pieces = append(l.pieces, make([]T, 0, pieceSize))
	}
	last := &l.pieces[len(l.pieces)-1]
	*last = append(*last, v)
	l.n++
}

func (l *list[T]) at(i int) T { return l.pieces[i/pieceSize][i%pieceSize] }

func openLines(path string) (table, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return indexLines(&lines{file: f})
}

// indexLines finds where the rows are. It closes the file on an error.
func indexLines(l *lines) (table, error) {
	if err := l.scan(); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

func (l *lines) scan() error {
	var head [64]byte
	n, err := l.file.ReadAt(head[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := notLines(head[:n], ".jsonl"); err != nil {
		return err
	}
	from := int64(0)
	if bytes.HasPrefix(head[:n], []byte(utf8text.BOM)) {
		from = int64(len(utf8text.BOM))
	}
	if _, err := l.file.Seek(from, io.SeekStart); err != nil {
		return err
	}
	r := bufio.NewReaderSize(l.file, 1<<16)
	first, err := firstByte(r)
	if err != nil {
		return err
	}
	if _, err := l.file.Seek(from, io.SeekStart); err != nil {
		return err
	}
	r.Reset(l.file)
	if l.array = first == '['; l.array {
		return l.scanArray(r, from)
	}
	return l.scanLines(r, from)
}

// notLines recognises files that are something else than their name says, by how they begin.
func notLines(head []byte, ending string) error {
	switch {
	case bytes.HasPrefix(head, []byte(magic)):
		return errors.New("a parquet file: give it a name that ends in .parquet")
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return fmt.Errorf("packed with gzip: give it a name that ends in %s.gz, or unpack it", ending)
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return errors.New("a zip archive: unpack it")
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return fmt.Errorf("packed with zstd: give it a name that ends in %s.zst, or unpack it", ending)
	}
	return utf8text.Encoding(head)
}

// firstByte is the first one that is no white space; 0: there is none.
func firstByte(r *bufio.Reader) (byte, error) {
	for {
		c, err := r.ReadByte()
		if errors.Is(err, io.EOF) {
			return 0, nil
		}
		if err != nil || !isSpace(c) {
			return c, err
		}
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func (l *lines) scanLines(r *bufio.Reader, at int64) error {
	start, number, want, blank := at, 1, 1, true
	for {
		part, err := r.ReadSlice('\n')
		at += int64(len(part))
		blank = blank && len(bytes.TrimSpace(part)) == 0
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		last := errors.Is(err, io.EOF)
		if err != nil && !last {
			return err
		}
		if !blank {
			if number != want {
				l.gaps.add(gap{l.offsets.n, number})
			}
			l.offsets.add(start)
			want, l.end = number+1, at
		}
		if last {
			return nil
		}
		start, number, blank = at, number+1, true
	}
}

// scanArray finds the elements of an array without understanding them: commas that are
// in no string and no nested value part them.
func (l *lines) scanArray(r *bufio.Reader, at int64) error {
	var (
		depth           int // of brackets; 1: in the array
		inText, escaped bool
		begun           bool // an element
	)
	for ; ; at++ {
		c, err := r.ReadByte()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("the JSON array ends in its row %d: no ] at byte %d, where the file ends", max(l.offsets.n, 1), at)
		}
		if err != nil {
			return err
		}
		if inText {
			inText = escaped || c != '"'
			escaped = !escaped && c == '\\'
			continue
		}
		if depth == 1 && !begun && !isSpace(c) && c != ']' {
			if c == ',' {
				return fmt.Errorf("byte %d: a comma in the JSON array without a row before it", at)
			}
			l.offsets.add(at)
			begun = true
		}
		switch c {
		case '"':
			inText = true
		case '[', '{':
			depth++
		case ',':
			begun = begun && depth > 1
		case ']', '}':
			if depth--; depth == 0 {
				l.end = at
				return l.behindArray(r, at+1)
			}
		}
	}
}

// behindArray makes sure that nothing follows the array.
func (l *lines) behindArray(r *bufio.Reader, at int64) error {
	c, err := firstByte(r)
	if err == nil && c != 0 {
		err = fmt.Errorf("%q follows the JSON array that ends at byte %d: want one array, or one object a line", c, at)
	}
	return err
}

func (l *lines) len() int { return l.offsets.n }

// number is the line of a row, counted from 1.
func (l *lines) number(i int) int {
	if g := sort.Search(l.gaps.n, func(g int) bool { return l.gaps.at(g).row > i }); g > 0 {
		before := l.gaps.at(g - 1)
		return before.number + i - before.row
	}
	return i + 1
}

func (l *lines) where(i int) string {
	switch {
	case l.array:
		return fmt.Sprintf("row %d", i+1)
	case l.rows != "":
		return fmt.Sprintf("%s %d", l.rows, i+1)
	}
	return fmt.Sprintf("line %d", l.number(i))
}

// columns are those of the first row that can be read, or the error of the first one.
func (l *lines) columns() ([]string, error) {
	const most = 1000 // of rows that cannot: the file is something else
	first := error(nil)
	for i := range min(l.len(), most) {
		object, err := l.object(i)
		if err == nil {
			return slices.Sorted(maps.Keys(object)), nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

func (l *lines) close() error {
	err := l.file.Close()
	if l.temporary {
		err = errors.Join(err, os.Remove(l.file.Name()))
	}
	return err
}

// object parses the i-th row.
func (l *lines) object(i int) (map[string]json.RawMessage, error) {
	start, end := l.offsets.at(i), l.end
	if i+1 < l.offsets.n {
		end = l.offsets.at(i + 1)
	}
	if end-start > maxRow {
		return nil, fmt.Errorf("%d bytes in one row, at most %d can be read", end-start, maxRow)
	}
	b := make([]byte, end-start)
	if _, err := l.file.ReadAt(b, start); err != nil {
		return nil, err
	}
	b = bytes.TrimSpace(b)
	if l.array {
		b = bytes.TrimSpace(bytes.TrimSuffix(b, []byte(",")))
	}
	if err := checkJSONText(b); err != nil {
		return nil, fmt.Errorf("%w; the row begins at byte %d of the file", err, start)
	}
	object, err := parseObject(b)
	if err != nil && !l.array {
		if n := l.spans(i); n > 1 {
			return nil, fmt.Errorf("its JSON object goes on over %d lines: want one object a line (jq -c . makes it so), or one array of objects", n)
		}
	}
	return object, err
}

// spans is how many lines the JSON value takes that begins with a row; 0: it does not end
// within the next MiB.
func (l *lines) spans(i int) int {
	const most = 1 << 20
	text, err := io.ReadAll(io.NewSectionReader(l.file, l.offsets.at(i), most))
	if err != nil {
		return 0
	}
	d := json.NewDecoder(bytes.NewReader(text))
	var value json.RawMessage
	if d.Decode(&value) != nil {
		return 0
	}
	return bytes.Count(bytes.TrimSpace(text[:d.InputOffset()]), []byte("\n")) + 1
}

// checkJSONText reports bytes that are no text, and half a surrogate pair among the
// escapes, which the decoder would replace by another character.
func checkJSONText(b []byte) error {
	if !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		return utf8text.Check(string(b))
	}
	const hi, lo, end = 0xd800, 0xdc00, 0xe000
	for i := 0; i+1 < len(b); i++ {
		next := bytes.IndexByte(b[i:], '\\')
		if next < 0 {
			break
		}
		i += next
		unit, ok := escape(b[i:])
		switch {
		case ok && unit >= hi && unit < lo:
			if second, _ := escape(b[i+6:]); second < lo || second >= end {
				return fmt.Errorf("byte %d: %s is half a character of UTF-16, without its other half", i, b[i:i+6])
			}
			i += 11
		case ok && unit >= lo && unit < end:
			return fmt.Errorf("byte %d: %s is half a character of UTF-16, without its other half", i, b[i:i+6])
		default:
			i++ // what is escaped
		}
	}
	return nil
}

// escape reads \uXXXX.
func escape(b []byte) (uint64, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return v, err == nil
}

func parseObject(b []byte) (map[string]json.RawMessage, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(b, &object); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return nil, fmt.Errorf("a JSON %s, want an object {...}", wrong.Value)
		}
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	if object == nil {
		return nil, errors.New("a JSON null, want an object {...}")
	}
	return object, nil
}

func (l *lines) row(i int, f form) (row, error) {
	object, err := l.object(i)
	if err != nil {
		return row{}, err
	}
	return rowOfObject(object, f)
}

func rowOfObject(object map[string]json.RawMessage, f form) (row, error) {
	r := emptyRow()
	for i := range len(f.columns) + len(f.others) {
		col := f.column(i)
		raw, ok := object[col.name]
		if !ok && col.required {
			return r, missingColumn(col.name, col.name, slices.Sorted(maps.Keys(object)))
		}
		if !ok || string(raw) == "null" {
			continue
		}
		if err := r.setJSON(col, raw); err != nil {
			return r, fmt.Errorf("column %s: %w", col.name, err)
		}
	}
	return r, nil
}

// setJSON fills the cell of a column with what is not null.
func (r *row) setJSON(col column, raw json.RawMessage) (err error) {
	text := raw[0] == '"'
	r.set[col.cell] = true
	switch col.kind {
	case numberKind:
		var v float64
		if err := unmarshalAs(raw, &v, col.kind); err != nil {
			return err
		}
		return r.setNumber(col.cell, v)
	case turnsKind:
		if raw, err = unquoted(raw); err != nil || isNull(raw) {
			return err
		}
		r.turns[col.cell], err = messagesOf(raw)
		return err
	case pairsKind:
		return unmarshalAs(raw, &r.history, col.kind)
	case jsonKind:
		v, err := variablesOf(col.cell, raw)
		r.variables = append(r.variables, v...)
		return err
	case idKind:
		if !text {
			var v json.Number
			err := unmarshalAs(raw, &v, col.kind)
			r.texts[col.cell] = v.String()
			return err
		}
	case partKind:
		if !text {
			r.turns[col.cell], err = messagesOf(raw)
			return err
		}
	case textsKind, answersKind:
		if !text {
			if col.cell == classesCell {
				r.classes, err = listOf(raw, "class", col.kind)
				return err
			}
			r.answers, err = answersOf(raw, col.kind)
			return err
		}
	}
	var v string
	if err := unmarshalAs(raw, &v, col.kind); err != nil {
		return err
	}
	if err := checkText(v); err != nil {
		return err
	}
	return r.setText(col.cell, v)
}

// answersOf reads a list of strings, or what SQuAD has it in.
func answersOf(raw json.RawMessage, want kind) ([]string, error) {
	if want == answersKind && raw[0] == '{' {
		fields, err := fieldsOf(raw)
		if err != nil {
			return nil, err
		}
		text, _ := takeField(fields, "text")
		if raw = text.Value; raw == nil {
			return nil, fmt.Errorf("found a JSON object without text, want %s", want)
		}
		if raw[0] == '"' {
			answer, err := stringOf(raw)
			return []string{answer}, err
		}
	}
	return listOf(raw, "answer", want)
}

// listOf reads a list of strings, each of which is what is said.
func listOf(raw json.RawMessage, what string, want kind) ([]string, error) {
	var list []*string
	if err := unmarshalAs(raw, &list, want); err != nil {
		return nil, err
	}
	out := make([]string, len(list))
	for i, text := range list {
		if text == nil {
			return nil, fmt.Errorf("%s %d is null", what, i+1)
		}
		if out[i] = *text; checkText(*text) != nil {
			return nil, fmt.Errorf("%s %d: %w", what, i+1, checkText(*text))
		}
	}
	return out, nil
}

// unmarshalAs decodes valid JSON and says in the file's terms what was found instead.
func unmarshalAs(raw json.RawMessage, v any, want kind) error {
	err := json.Unmarshal(raw, v)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		if wrong.Field != "" {
			return fmt.Errorf("found a JSON %s at %s, want %s", wrong.Value, strings.ToLower(wrong.Field), want)
		}
		return fmt.Errorf("found a JSON %s, want %s", wrong.Value, want)
	}
	return err
}
