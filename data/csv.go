package data

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"eisft/internal/utf8text"
)

// csvToLines writes the rows of a CSV file (RFC 4180) as objects in JSON, a line each, with
// the names in its first record. Cells are strings; one that is empty is null, and one that
// holds a list, an object or, in the columns depth and length, a number in JSON is that.
func csvToLines(w io.Writer, r io.Reader) error {
	in := bufio.NewReader(r)
	if head, err := in.Peek(len(utf8text.BOM)); err == nil && string(head) == utf8text.BOM {
		_, _ = in.Discard(len(head))
	}
	records := csv.NewReader(in)
	names, err := records.Read()
	if errors.Is(err, io.EOF) {
		return nil // a file without a row, which is said elsewhere
	}
	if err != nil {
		return fmt.Errorf("CSV: %w", err)
	}
	if len(names) == 1 && strings.ContainsAny(names[0], ";\t") {
		return fmt.Errorf("CSV: the first line is %q; names and cells must stand between commas, not semicolons or tabs", names[0])
	}
	for i, name := range names {
		name = strings.TrimSpace(name)
		if name == "" {
			return fmt.Errorf("CSV: column %d has no name; the first line must name all columns", i+1)
		}
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("CSV: two columns are called %s", name)
		}
		names[i] = name
	}
	records.ReuseRecord = true // of those that follow
	out := bufio.NewWriter(w)
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	for n := 1; ; n++ {
		record, err := records.Read()
		if errors.Is(err, io.EOF) {
			return out.Flush()
		}
		if err != nil {
			return fmt.Errorf("CSV: %w", err)
		}
		row := make(map[string]any, len(names))
		for i, name := range names {
			if !utf8.ValidString(record[i]) {
				return fmt.Errorf("CSV: row %d, column %s: not UTF-8; convert the file (iconv -t utf-8)", n, name)
			}
			row[name] = csvCell(name, record[i])
		}
		if err := lines.Encode(row); err != nil {
			return err
		}
	}
}

func csvCell(name, text string) any {
	trimmed := strings.TrimSpace(text)
	number := name == "depth" || name == "length"
	switch {
	case trimmed == "" && name != "input": // which may be empty
		return nil
	case (number || strings.HasPrefix(trimmed, "[") || strings.HasPrefix(trimmed, "{")) && json.Valid([]byte(trimmed)):
		return json.RawMessage(trimmed)
	default:
		return text
	}
}
