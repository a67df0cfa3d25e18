package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"eisft/data"
	"eisft/internal/atomicfile"
)

// texts writes the contexts of rows of LongBench's form as plain texts, each once.
func texts(rows, out string) (err error) {
	source, err := data.Open(rows, data.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	var text bytes.Buffer
	lines, seen := json.NewEncoder(&text), map[string]bool{}
	lines.SetEscapeHTML(false)
	for i := range source.Len() {
		row, err := source.At(i)
		if err != nil {
			return err
		}
		if row.Context == "" {
			return fmt.Errorf("%s: the row has no context", row.Where)
		}
		if seen[row.Context] {
			continue
		}
		seen[row.Context] = true
		if err := lines.Encode(map[string]string{"text": row.Context}); err != nil {
			return err
		}
	}
	return atomicfile.WriteFile(out, text.Bytes())
}
