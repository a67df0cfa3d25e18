//go:build slow

package tokenizer

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/internal/testfiles"
)

// TestMatchesTokenizersJS compares ids and decoded text with Hugging Face's JavaScript
// tokenizers on 2 MB of text. scripts/tokenizer-diff.sh installs them and sets
// TOKENIZERS_JS.
func TestMatchesTokenizersJS(t *testing.T) {
	library := os.Getenv("TOKENIZERS_JS")
	if library == "" {
		t.Skip("TOKENIZERS_JS is not set: run scripts/tokenizer-diff.sh")
	}
	texts := mixedTexts(t, 2<<20)
	file := filepath.Join(t.TempDir(), "texts.jsonl")
	var lines bytes.Buffer
	size := 0
	for _, text := range texts {
		lines.WriteString(toString(text) + "\n")
		size += len(text)
	}
	if err := os.WriteFile(file, lines.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range benchTokenizers {
		t.Run(c.name, func(t *testing.T) {
			tk := load(t, c.dir)
			cmd := exec.Command("node", "../../scripts/tokenizer-diff.mjs", library, testfiles.Tokenizer(t, c.dir), file)
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			tokens := 0
			results := json.NewDecoder(bytes.NewReader(out))
			for i, text := range texts {
				var want struct {
					IDs  []int32
					Text string
				}
				if err := results.Decode(&want); err != nil {
					t.Fatalf("result %d: %v", i, err)
				}
				ids := tk.Encode(text, true)
				if !slices.Equal(ids, want.IDs) {
					t.Fatalf("text %d, %q\nids  %v\nwant %v", i, text, ids, want.IDs)
				}
				if got := tk.Decode(ids, false); withoutBOM(got) != withoutBOM(want.Text) {
					t.Fatalf("text %d\ndecoded %q\nwant    %q", i, got, want.Text)
				}
				tokens += len(ids)
			}
			t.Logf("%d texts, %d bytes, %d tokens agree", len(texts), size, tokens)
		})
	}
}

// withoutBOM removes U+FEFF, which JavaScript's TextDecoder swallows in byte fallback.
func withoutBOM(text string) string { return strings.ReplaceAll(text, "\ufeff", "") }
