package nearest_test

import (
	"testing"

	"eisft/internal/nearest"
)

func TestName(t *testing.T) {
	known := []string{"context", "input", "answers", "messages"}
	for word, want := range map[string]string{
		"contxt": "context", "Answers": "answers", "answer": "answers", "mesages": "messages",
		"zebra": "", "": "",
	} {
		if got := nearest.Name(word, known); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
	if got := nearest.Name("input", nil); got != "" {
		t.Errorf("without known names: got %q", got)
	}
}
