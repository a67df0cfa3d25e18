package tokenizer

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// normalizers is a Sequence of n times the same component.
func normalizers(n int, component string) string {
	return `{"type": "Sequence", "normalizers": [` + strings.TrimSuffix(strings.Repeat(component+",", n), ",") + `]}`
}

func replacing(pattern, content string) string {
	return fmt.Sprintf(`{"type": "Replace", "pattern": %s, "content": %q}`, pattern, content)
}

// TestGrowth refuses files whose steps make a text grow without bound, and no others.
func TestGrowth(t *testing.T) {
	for name, c := range map[string]struct {
		normalizer, decoder string
		refused             bool
	}{
		"40 doublings":           {normalizer: normalizers(40, replacing(`{"String": "a"}`, "aa")), refused: true},
		"two long ones":          {normalizer: normalizers(2, replacing(`{"String": "a"}`, strings.Repeat("a", 100000))), refused: true},
		"a regular expression":   {normalizer: normalizers(2, replacing(`{"Regex": "."}`, strings.Repeat("a", 40))), refused: true},
		"prepending":             {normalizer: normalizers(2, `{"type": "Prepend", "prepend": "`+strings.Repeat("a", 2000)+`"}`), refused: true},
		"forms between":          {normalizer: normalizers(5, replacing(`{"String": "ا"}`, "ﷺ")+`,{"type": "NFKC"}`), refused: true},
		"sequences in sequences": {normalizer: normalizers(7, normalizers(6, replacing(`{"String": "a"}`, "aa"))), refused: true},
		"a decoder":              {decoder: strings.ReplaceAll(normalizers(40, replacing(`{"String": "a"}`, "aa")), "normalizers", "decoders"), refused: true},
		"shortening":             {normalizer: normalizers(40, replacing(`{"String": "aa"}`, "a"))},
		"same length":            {normalizer: normalizers(40, replacing(`{"String": "a"}`, "b"))},
		"many forms":             {normalizer: normalizers(10, `{"type": "NFKC"}`)},
		"as SentencePiece has them": {normalizer: `{"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}, {"type": "Prepend", "prepend": "▁"},
			{"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}`},
	} {
		_, err := parse([]byte(tokenizerJSON(parts{"normalizer": orNull(c.normalizer), "decoder": orNull(c.decoder)}, byteAlphabet)))
		if refused := err != nil && strings.Contains(err.Error(), "times as long, want at most 1000"); refused != c.refused || !refused && err != nil {
			t.Errorf("%s: %v, want it refused: %v", name, err, c.refused)
		}
	}
}

func orNull(component string) string {
	if component == "" {
		return "null"
	}
	return component
}

// TestPatternTime lets a pattern that backtracks without end say so.
func TestPatternTime(t *testing.T) {
	tk, err := parse([]byte(tokenizerJSON(parts{"pre_tokenizer": `{"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"}`}, byteAlphabet)))
	if err != nil {
		t.Fatal(err)
	}
	if ids := tk.Encode("aaaa", false); len(ids) != 4 || tk.Err() != nil {
		t.Fatalf("a short text: %d ids, %v", len(ids), tk.Err())
	}
	begun := time.Now()
	ids := tk.Encode(strings.Repeat("a", 60)+"!", false)
	took := time.Since(begun)
	want := `tokenizer.json: pre_tokenizer.pattern.Regex: the expression "(a+)+$" could not be searched for in a text of 61 characters: a match took more than 2s`
	if ids != nil || tk.Err() == nil || !strings.HasPrefix(tk.Err().Error(), want) {
		t.Errorf("%d ids, %v\nwant %s", len(ids), tk.Err(), want)
	}
	if took > 8*matchTime {
		t.Errorf("took %v", took)
	}
	if long := strings.Repeat("a", maxPattern+1); true {
		_, err := parse([]byte(tokenizerJSON(parts{"pre_tokenizer": `{"type": "Split", "pattern": {"Regex": "` + long + `"}, "behavior": "Isolated"}`}, byteAlphabet)))
		if err == nil || !strings.Contains(err.Error(), "it is 65537 bytes long, want at most 65536") {
			t.Errorf("a long pattern: %v", err)
		}
	}
}
