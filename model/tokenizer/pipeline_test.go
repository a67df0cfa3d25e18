package tokenizer

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// component reads one from JSON.
func parseComponent(t *testing.T, data string) *component {
	t.Helper()
	var c component
	if err := json.Unmarshal([]byte(data), &c); err != nil {
		t.Fatal(err)
	}
	return &c
}

// TestBehaviors has the cases of the tokenizers library's own test of Split.
func TestBehaviors(t *testing.T) {
	for b, want := range map[behavior]string{
		removed:            "How|are|you|doing|?",
		isolated:           "How| |are| |you| |doing|?",
		mergedWithPrevious: "How |are |you |doing|?",
		mergedWithNext:     "How| are| you| doing|?",
		contiguous:         "How| |are| |you| |doing?",
	} {
		c := parseComponent(t, `{"type": "Split", "pattern": {"Regex": "\\w+|[^\\w\\s]+"}, "invert": true, "behavior": "`+string(b)+`"}`)
		if got := words(t, c, "How are you doing?"); got != want {
			t.Errorf("%s: %s, want %s", b, got, want)
		}
	}
}

// words returns what a pre-tokenizer makes of text, joined by bars.
func words(t *testing.T, c *component, text string) string {
	t.Helper()
	split, _, err := buildPreTokenizer(c)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	split(text, true, func(word string, _ bool) { out = append(out, word) })
	return strings.Join(out, "|")
}

func TestPreTokenizers(t *testing.T) {
	for _, c := range []struct{ component, text, want string }{
		{`{"type": "Digits", "individual_digits": true}`, "a12 b3", "a|1|2| b|3"},
		{`{"type": "Digits"}`, "a12½ b3", "a|12½| b|3"},
		{`{"type": "Punctuation"}`, "Hey, friend!?$", "Hey|,| friend|!|?|$"},
		{`{"type": "Punctuation", "behavior": "Contiguous"}`, "Hey, friend!?", "Hey|,| friend|!?"},
		{`{"type": "Whitespace"}`, "Hey man,  it's  ok_1!", "Hey|man|,|it|'|s|ok_1|!"},
		{`{"type": "WhitespaceSplit"}`, " Hey man,\t\u00a0é ", "Hey|man,|é"},
		{`{"type": "BertPreTokenizer"}`, "Hey friend!!  ok", "Hey|friend|!|!|ok"},
		{`{"type": "CharDelimiterSplit", "delimiter": "x"}`, "axxbx", "a|b"},
		{`{"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious"}`, " a  b", " |a | |b"},
		{`{"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithNext"}`, "a  b ", "a| | b| "},
		{`{"type": "Split", "pattern": {"String": ""}, "behavior": "Isolated"}`, "ab", "ab"},
		{`{"type": "Split", "pattern": {"Regex": "b*"}, "behavior": "Isolated"}`, "abbc", "a|bb|c"},
		{`{"type": "Split", "pattern": {"Regex": "(?<=é)x|\\p{Han}+"}, "behavior": "Removed"}`, "aéxx你好b", "aé|x|b"},
		{`{"type": "Split", "pattern": {"String": "b"}, "behavior": "Removed", "invert": true}`, "abbc", "b|b"},
		{`{"type": "Split", "pattern": {"Regex": ` + toString(qwen2Pattern) + `}, "behavior": "MergedWithNext"}`, "a b", "a| b"},
		{`{"type": "Split", "pattern": {"Regex": ` + toString(qwen2Pattern) + `}, "behavior": "Removed", "invert": true}`, "don't a", "don|'t| a"},
		{`{"type": "Metaspace", "replacement": "▁"}`, "Hey   you", "▁Hey|▁|▁|▁you"},
		{`{"type": "Metaspace", "replacement": "▁", "add_prefix_space": false}`, "Hey you", "Hey|▁you"},
		{`{"type": "Metaspace", "replacement": "_", "prepend_scheme": "first", "split": false}`, "Hey you", "_Hey_you"},
		{`{"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Metaspace", "replacement": "_", "prepend_scheme": "first"}]}`, "Hey you", "_Hey|you"},
		{`{"type": "ByteLevel", "add_prefix_space": false}`, "Hey you're  é", "Hey| you|'re| | é"},
		{`{"type": "ByteLevel"}`, "Hey  you", " Hey| | you"},
		{`{"type": "ByteLevel", "use_regex": false}`, " Hey you", " Hey you"},
		{
			`{"type": "Sequence", "pretokenizers": [{"type": "ByteLevel", "add_prefix_space": false}, {"type": "Digits"}, {"type": "Split", "pattern": {"Regex": "[0-9][0-9][0-9]"}, "behavior": "Isolated"}]}`,
			"Hé 12345", "HÃ©|Ġ|123|45",
		},
		{`{"type": "Sequence", "pretokenizers": []}`, "a b", "a b"},
	} {
		if got := words(t, parseComponent(t, c.component), c.text); got != c.want {
			t.Errorf("%s of %q: %s, want %s", c.component, c.text, got, c.want)
		}
	}
}

func TestNormalizers(t *testing.T) {
	for _, c := range []struct{ component, text, want string }{
		{`{"type": "NFC"}`, "e\u0301ﬁ", "éﬁ"},
		{`{"type": "NFD"}`, "é", "e\u0301"},
		{`{"type": "NFKC"}`, "ﬁ½e\u0301", "fi1⁄2é"},
		{`{"type": "NFKD"}`, "ﬁé", "fie\u0301"},
		{`{"type": "Lowercase"}`, "ÀİΣ", "ài̇σ"},
		{`{"type": "StripAccents"}`, "e\u0301a", "ea"},
		{`{"type": "Strip"}`, " \ta b\u00a0", "a b"},
		{`{"type": "Strip", "strip_left": false, "strip_right": true}`, " a ", " a"},
		{`{"type": "Prepend", "prepend": "▁"}`, "a", "▁a"},
		{`{"type": "Prepend", "prepend": "▁"}`, "", ""},
		{`{"type": "Replace", "pattern": {"String": " "}, "content": "▁"}`, "a  b", "a▁▁b"},
		{`{"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "$1"}`, "é  b c", "é$1b c"},
		{`{"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]}`, "ÉA", "ea"},
	} {
		normalize, err := buildNormalizer(parseComponent(t, c.component), "")
		if err != nil {
			t.Fatal(err)
		}
		if got := normalize(c.text); got != c.want {
			t.Errorf("%s of %q: %q, want %q", c.component, c.text, got, c.want)
		}
	}
}

func TestDecoders(t *testing.T) {
	for _, c := range []struct {
		component string
		tokens    []string
		want      string
	}{
		{`null`, []string{"a", "b"}, "a b"},
		{`{"type": "ByteLevel"}`, []string{"Hello", "Ġmy", "ĠcafÃ©", "a b"}, "Hello my caféa b"},
		{`{"type": "ByteLevel"}`, []string{"â", "ł", "ð", "Ł", "x", "Ã"}, "�\ufffdx�"},
		{`{"type": "ByteFallback"}`, []string{"Hey", "<0x61>", "<0xE5>", "<0x8f>", "<0xAB>", "<0xZZ>"}, "Heya叫<0xZZ>"},
		{`{"type": "ByteFallback"}`, []string{"<0xE5>", "<0x8f>", "a"}, "��a"},
		{`{"type": "Metaspace", "replacement": "▁"}`, []string{"▁Hey", "▁friend!"}, "Hey friend!"},
		{`{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never"}`, []string{"▁Hey", "▁friend!"}, " Hey friend!"},
		{`{"type": "Strip", "content": "H", "start": 1}`, []string{"Hey", " friend!", "HHH"}, "ey friend!HH"},
		{`{"type": "Strip", "content": "y", "stop": 2}`, []string{"Hey", "yyy", "y"}, "Hey"},
		{`{"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "_"}, "content": " "}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1}]}`, []string{"_a", "_b"}, "a b"},
	} {
		d := decoder{glue: " "}
		if c.component != "null" {
			var err error
			if d, err = buildDecoder(parseComponent(t, c.component), ""); err != nil {
				t.Fatal(err)
			}
		}
		if got := d.text(slices.Clone(c.tokens)); got != c.want {
			t.Errorf("%s of %q: %q, want %q", c.component, c.tokens, got, c.want)
		}
	}
}

func TestPostProcessors(t *testing.T) {
	template := func(before, behind string) string {
		return `{"type": "TemplateProcessing", "single": [` + before + `{"Sequence": {"id": "A", "type_id": 0}}` + behind +
			`], "special_tokens": {"S": {"id": "S", "ids": [1], "tokens": ["S"]}, "E": {"id": "E", "ids": [2, 3], "tokens": ["E"]}}}`
	}
	for _, c := range []struct {
		component string
		want      []int32
	}{
		{`{"type": "ByteLevel"}`, []int32{0}},
		{template(`{"SpecialToken": {"id": "S"}}, `, ""), []int32{1, 0}},
		{template(`{"SpecialToken": {"id": "S"}}, `, `, {"SpecialToken": {"id": "E"}}`), []int32{1, 0, 2, 3}},
		{`{"type": "RobertaProcessing", "cls": ["S", 1], "sep": ["E", 2], "trim_offsets": true, "add_prefix_space": true}`, []int32{1, 0, 2}},
		{`{"type": "Sequence", "processors": [{"type": "ByteLevel"}, ` + template(`{"SpecialToken": {"id": "S"}}, `, "") + `, {"type": "BertProcessing", "cls": ["C", 3], "sep": ["E", 2]}]}`, []int32{3, 1, 0, 2}},
	} {
		tk := mustParse(t, tokenizerJSON(parts{"post_processor": c.component}, "aSEC"))
		if got := tk.Encode("a", true); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.component, got, c.want)
		}
		if got := tk.Encode("a", false); !slices.Equal(got, []int32{0}) {
			t.Errorf("%s without special: %v, want [0]", c.component, got)
		}
	}
}

func TestAddedTokens(t *testing.T) {
	// Ids: a 0, b 1, space 2, X 3, then the added tokens.
	const vocab = "ab X"
	for _, c := range []struct {
		name, added, text string
		want              []int32
	}{
		{"plain", `{"id": 4, "content": "<x>"}`, "a<x>b", []int32{0, 4, 1}},
		{"only", `{"id": 4, "content": "<x>"}`, "<x><x>", []int32{4, 4}},
		{"longest", `{"id": 4, "content": "ab"}, {"id": 5, "content": "abb"}`, "ababb", []int32{4, 5}},
		{"leftmost", `{"id": 4, "content": "ab"}, {"id": 5, "content": "baaa"}`, "abaaa", []int32{4, 0, 0, 0}},
		{"lstrip", `{"id": 4, "content": "<x>", "lstrip": true}`, "a  <x> b", []int32{0, 4, 2, 1}},
		{"rstrip", `{"id": 4, "content": "<x>", "rstrip": true}`, "a <x>  b", []int32{0, 2, 4, 1}},
		{"both strips", `{"id": 4, "content": "<x>", "lstrip": true, "rstrip": true}`, " <x>  <x> ", []int32{4, 4}},
		{"single word", `{"id": 4, "content": "ba", "single_word": true}`, "ba aba ba", []int32{4, 2, 0, 1, 0, 2, 4}},
		{"normalized", `{"id": 4, "content": "B", "normalized": true}`, "abBa", []int32{0, 4, 4, 0}},
		{"not normalized", `{"id": 4, "content": "B"}`, "abBa", []int32{0, 1, 4, 0}},
		{"in the vocabulary", `{"id": 3, "content": "X", "special": true}`, "aXb", []int32{0, 3, 1}},
	} {
		tk := mustParse(t, tokenizerJSON(parts{"added_tokens": "[" + c.added + "]", "normalizer": `{"type": "Lowercase"}`}, vocab))
		if got := tk.Encode(c.text, false); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestAddedTokensAreWords checks that what stands between added tokens is normalized
// and split by itself.
func TestAddedTokensAreWords(t *testing.T) {
	tk := mustParse(t, tokenizerJSON(parts{
		"added_tokens": `[{"id": 3, "content": "<x>"}]`,
		"normalizer":   `{"type": "Prepend", "prepend": "_"}`,
	}, "_ab"))
	if got, want := tk.Encode("a<x>b<x>", false), []int32{0, 1, 3, 0, 2, 3}; !slices.Equal(got, want) {
		t.Errorf("Prepend: %v, want %v", got, want)
	}
	tk = mustParse(t, tokenizerJSON(parts{
		"added_tokens":  `[{"id": 3, "content": "<x>"}]`,
		"pre_tokenizer": `{"type": "Metaspace", "replacement": "_", "prepend_scheme": "first"}`,
	}, "_ab"))
	if got, want := tk.Encode("a<x>b", false), []int32{0, 1, 3, 2}; !slices.Equal(got, want) {
		t.Errorf("Metaspace, first: %v, want %v", got, want)
	}
}

func TestTokenIDs(t *testing.T) {
	tk := mustParse(t, tokenizerJSON(parts{"added_tokens": `[{"id": 5, "content": "<x>"}]`}, "ab"))
	if n := tk.VocabSize(); n != 6 {
		t.Errorf("VocabSize = %d, want 6", n)
	}
	for content, want := range map[string]int32{"b": 1, "<x>": 5} {
		if id, ok := tk.TokenID(content); !ok || id != want {
			t.Errorf("TokenID(%q) = %d, %v; want %d", content, id, ok, want)
		}
	}
	if _, ok := tk.TokenID("c"); ok {
		t.Error("TokenID found what is not there")
	}
	if got := tk.Decode([]int32{0, 3, 9, -1, 5}, false); got != "a <x>" {
		t.Errorf("Decode with unknown ids = %q", got)
	}
}
