package data

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"eisft/internal/atomicfile"
	"eisft/model/tokenizer"
)

// worthKeeping is how long a check has to take for its result to be kept.
var worthKeeping = time.Second

// cacheFile is where the result of a check is kept: a file named by all that it depends on.
// "" if there is no place for it.
func (e *Encoder) cacheFile(rows string, o CheckOptions) string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	program, err := os.Executable()
	if err != nil {
		return ""
	}
	info, err := os.Stat(program)
	if err != nil {
		return ""
	}
	sum := sha256.New()
	// What the model has no row for shows in what is said of the last token.
	beyond := e.tokenizer.Check([]int32{int32(e.tokenizer.VocabSize() - 1)})
	fmt.Fprintln(sum, rows, o.Answers, e.max, e.long, e.tokenizer.Fingerprint(), info.Size(), info.ModTime().UnixNano())
	fmt.Fprintf(sum, "%q %q %v\n", e.tokenizer.BOS(), e.tokenizer.EOS(), beyond)
	if e.template != nil {
		// Beside its text, a template depends on tokens of the tokenizer and, with some, on the
		// date: both show in what it renders.
		text, err := e.template.Render([]tokenizer.Message{{Role: "user", Content: "?"}}, tokenizer.RenderOptions{})
		fmt.Fprintf(sum, "%q %s %q %v", e.template.Source(), e.template.Variables(), text, err)
	}
	return filepath.Join(dir, "eisft", "rows", hex.EncodeToString(sum.Sum(nil))+".json")
}

func readSurvey(path string) (*Survey, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, false
	}
	var f Survey
	return &f, json.Unmarshal(text, &f) == nil
}

// writeSurvey keeps a result. Where that fails, rows are checked again the next time.
func writeSurvey(path string, f *Survey) {
	if path == "" || os.MkdirAll(filepath.Dir(path), 0o755) != nil {
		return
	}
	if text, err := json.Marshal(f); err == nil {
		_ = atomicfile.WriteFile(path, text)
	}
}
