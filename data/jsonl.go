package data

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"eisft/model/tokenizer"
)

// lines is a file with one JSON object a line. Blank lines are no rows.
type lines struct {
	file      *os.File
	temporary bool // the file is an unpacked copy
	index     []line
}

// line says where a row's text lies in the file.
type line struct {
	offset int64
	size   int
	number int // counted from 1
}

func openLines(path string) (table, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return indexLines(&lines{file: f})
}

// openGzipLines unpacks into a temporary file, since gzip has no random access.
func openGzipLines(path string) (table, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	unpacked, err := os.CreateTemp("", "eisft-*.jsonl")
	if err != nil {
		return nil, err
	}
	// A file that is open can be removed, except on Windows: nothing is left of a killed process.
	l := &lines{file: unpacked, temporary: os.Remove(unpacked.Name()) != nil}
	if err := unpack(unpacked, f, info.Size()); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return indexLines(l)
}

func unpack(w io.Writer, r io.Reader, size int64) error {
	z, err := gzip.NewReader(bufio.NewReader(r))
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	limit := size * maxExpansion
	n, err := io.Copy(w, io.LimitReader(z, limit+1))
	if err != nil {
		return fmt.Errorf("unpack: after %d bytes of text: %w", n, err)
	}
	if n > limit {
		return fmt.Errorf("unpack: %d bytes became more than %d: not a text", size, limit)
	}
	return nil
}

// indexLines finds where the rows are. It closes the file on an error.
func indexLines(l *lines) (table, error) {
	if err := l.scan(); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

func (l *lines) scan() error {
	if _, err := l.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r := bufio.NewReaderSize(l.file, 1<<16)
	at := line{number: 1}
	blank := true
	for {
		part, err := r.ReadSlice('\n')
		at.size += len(part)
		blank = blank && len(bytes.TrimSpace(part)) == 0
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		last := errors.Is(err, io.EOF)
		if err != nil && !last {
			return err
		}
		if !blank {
			l.index = append(l.index, at)
		}
		if last {
			return nil
		}
		at, blank = line{offset: at.offset + int64(at.size), number: at.number + 1}, true
	}
}

func (l *lines) len() int           { return len(l.index) }
func (l *lines) where(i int) string { return fmt.Sprintf("line %d", l.index[i].number) }

func (l *lines) columns() ([]string, error) {
	object, err := l.object(0)
	return slices.Sorted(maps.Keys(object)), err
}

func (l *lines) close() error {
	err := l.file.Close()
	if l.temporary {
		err = errors.Join(err, os.Remove(l.file.Name()))
	}
	return err
}

// object parses the i-th row's line.
func (l *lines) object(i int) (map[string]json.RawMessage, error) {
	b := make([]byte, l.index[i].size)
	if _, err := l.file.ReadAt(b, l.index[i].offset); err != nil {
		return nil, err
	}
	return parseObject(b)
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
	for _, col := range f {
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

// setJSON fills the cell of a column.
func (r *row) setJSON(col column, raw json.RawMessage) error {
	switch col.kind {
	case numberKind:
		var v float64
		if err := unmarshalAs(raw, &v, col.kind); err != nil {
			return err
		}
		return r.setNumber(col.cell, v)
	case turnsKind:
		return r.setTurns(raw)
	case idKind:
		if raw[0] != '"' {
			var v json.Number
			err := unmarshalAs(raw, &v, col.kind)
			r.setText(col.cell, v.String())
			return err
		}
	case textsKind:
		if raw[0] != '"' {
			return unmarshalAs(raw, &r.answers, col.kind)
		}
	}
	var v string
	if err := unmarshalAs(raw, &v, col.kind); err != nil {
		return err
	}
	r.setText(col.cell, v)
	return nil
}

func (r *row) setTurns(raw json.RawMessage) error {
	var messages []struct{ Role, Content *string }
	if err := unmarshalAs(raw, &messages, turnsKind); err != nil {
		return err
	}
	for i, m := range messages {
		if m.Role == nil || m.Content == nil {
			return fmt.Errorf("message %d has no role or no content", i+1)
		}
		r.messages = append(r.messages, tokenizer.Message{Role: *m.Role, Content: *m.Content})
	}
	return nil
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
