package tokenizer

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSentencePieceAlone: a folder with SentencePiece's model and no tokenizer.json says how
// to make one; a folder without either does not.
func TestSentencePieceAlone(t *testing.T) {
	dir := t.TempDir()
	_, err := Load(dir)
	if !errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), "convert") {
		t.Errorf("error %v, want that tokenizer.json is missing", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.model"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Load(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{"tokenizer.model, which is not read", "AutoTokenizer.from_pretrained(", "LlamaConverter(t).convert().save(", dir} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q lacks %q", err, want)
		}
	}
}
