package data_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/data"
	"eisft/model/tokenizer"
)

// TestPatternTime: a text that the tokenizer's own pattern cannot be searched for in time
// is an error of its sample, not one without tokens.
func TestPatternTime(t *testing.T) {
	dir := t.TempDir()
	const file = `{"added_tokens": [], "model": {"type": "BPE", "vocab": {"a": 0, "!": 1}, "merges": []},
		"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"}}`
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	tk, err := tokenizer.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	e := data.NewEncoder(tk, nil, 0)
	if enc, err := e.Encode(data.Sample{Where: "row 1", Text: "aaa"}); err != nil || len(enc.IDs) != 3 {
		t.Fatalf("a short text: %v, %v", enc.IDs, err)
	}
	_, err = e.Encode(data.Sample{Where: "row 2", Text: strings.Repeat("a", 60) + "!"})
	if err == nil || !strings.HasPrefix(err.Error(), "row 2: ") || !strings.Contains(err.Error(), `tokenizer.json: pre_tokenizer.pattern.Regex: the expression "(a+)+$"`) {
		t.Errorf("error %v", err)
	}
}
