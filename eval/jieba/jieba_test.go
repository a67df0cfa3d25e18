package jieba

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestCut: words are those that jieba 0.42.1 cuts, as scripts/reference/metrics.py has
// written them down: of sentences, and of words of its list between characters, digits,
// letters and space at random.
func TestCut(t *testing.T) {
	text, err := os.ReadFile("testdata/cuts.json")
	if err != nil {
		t.Fatal(err)
	}
	var cuts [][]string
	if err := json.Unmarshal(text, &cuts); err != nil || len(cuts) < 100 {
		t.Fatalf("%d texts: %v", len(cuts), err)
	}
	for _, want := range cuts {
		if got := Cut(strings.Join(want, "")); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// FuzzCut: words together are the text, whatever it is.
func FuzzCut(f *testing.F) {
	f.Add("他来到了网易杭研大厦\r\nT恤 99.9%")
	f.Add("\xe4\xb8")
	f.Fuzz(func(t *testing.T, text string) {
		if got := strings.Join(Cut(text), ""); got != text {
			t.Errorf("%q became %q", text, got)
		}
	})
}

func TestDamagedList(t *testing.T) {
	if _, err := unpack(packed[:len(packed)/2]); err == nil {
		t.Error("half of the list was read")
	}
}

func BenchmarkCut(b *testing.B) {
	text := strings.Repeat("小明硕士毕业于中国科学院计算所，后在日本京都大学深造。", 20)
	for b.Loop() {
		Cut(text)
	}
}
