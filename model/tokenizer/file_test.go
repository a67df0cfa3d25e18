package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// parts are the members of a tokenizer.json; an absent one is null.
type parts map[string]string

// tokenizerJSON makes a tokenizer.json. Its model, unless given, is BPE over the
// characters of chars and the merges, both in the notation "a b".
func tokenizerJSON(p parts, chars string, merges ...string) string {
	vocab := map[string]int{}
	add := func(token string) {
		if _, ok := vocab[token]; !ok {
			vocab[token] = len(vocab)
		}
	}
	for _, r := range chars {
		add(string(r))
	}
	for _, m := range merges {
		add(strings.ReplaceAll(m, " ", ""))
	}
	member := func(name, otherwise string) string {
		if v, ok := p[name]; ok {
			return v
		}
		return otherwise
	}
	extra := p["model extra"] // more members of the model
	return fmt.Sprintf(`{"added_tokens": %s, "normalizer": %s, "pre_tokenizer": %s, "post_processor": %s, "decoder": %s, "model": %s}`,
		member("added_tokens", "[]"), member("normalizer", "null"), member("pre_tokenizer", "null"),
		member("post_processor", "null"), member("decoder", "null"),
		member("model", fmt.Sprintf(`{"type": "BPE", "vocab": %s, "merges": %s%s}`, toString(vocab), toString(append([]string{}, merges...)), extra)))
}

func toString(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// byteAlphabet is all 256 byte-level characters.
var byteAlphabet = string(byteChars[:])

func mustParse(t testing.TB, data string) *Tokenizer {
	t.Helper()
	tk, err := parse([]byte(data))
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	return tk
}

func TestParseErrors(t *testing.T) {
	model := func(members string) parts { return parts{"model": "{" + members + "}"} }
	for _, c := range []struct {
		name string
		data string
		want string
	}{
		{"empty", "", "invalid JSON at line 1, column 1 (offset 0): unexpected end of JSON input"},
		{"cut short", "{\n  \"model\": {\n", "invalid JSON at line 2, column 13 (offset 15): unexpected end of JSON input"},
		{"syntax", "{\n  \"model\": nope}", "invalid JSON at line 2, column 13 (offset 15): invalid character 'o' in literal null (expecting 'u')"},
		{"not UTF-8", "{\"model\": \"\xff\"}", "is not UTF-8"},
		{"wrong type", `{"added_tokens": 3}`, "line 1, column 18 (offset 18): added_tokens has the wrong type: found number, want []tokenizer.addedToken"},
		{"no model", `{}`, "model is missing"},
		{"other model", tokenizerJSON(model(`"type": "Unigram"`), ""), `model.type "Unigram" is not supported (supported: BPE)`},
		{"Unigram's vocabulary", tokenizerJSON(model(`"type": "Unigram", "vocab": [["a", -1.5]]`), ""), `model.type "Unigram" is not supported (supported: BPE)`},
		{"no vocabulary", tokenizerJSON(model(`"type": "BPE", "merges": []`), ""), "model.vocab is missing or empty"},
		{"empty vocabulary", tokenizerJSON(nil, ""), "model.vocab is missing or empty"},
		{"no merges", tokenizerJSON(model(`"vocab": {"a": 0}`), ""), "model.merges is missing"},
		{"null merges", tokenizerJSON(model(`"vocab": {"a": 0}, "merges": null`), ""), "model.merges is missing"},
		{"vocabulary is a list", tokenizerJSON(model(`"vocab": ["a"], "merges": []`), ""), `model.vocab: want an object {"token": id}, found ["a"]`},
		{"id is a string", tokenizerJSON(model(`"vocab": {"a": "0"}, "merges": []`), ""), `model.vocab: id of "a": want a whole number below 2^31, found "0"`},
		{"id is huge", tokenizerJSON(model(`"vocab": {"a": 4294967296}, "merges": []`), ""), `model.vocab: id of "a": want a whole number below 2^31, found 4294967296`},
		{"id is far", tokenizerJSON(model(`"vocab": {"a": 2000000000}, "merges": []`), ""), `model.vocab: "a" has id 2000000000, far beyond the 1 tokens there are`},
		{"id is negative", tokenizerJSON(model(`"vocab": {"a": -1}, "merges": []`), ""), `model.vocab: "a" has id -1, want 0 or more`},
		{"token twice", tokenizerJSON(model(`"vocab": {"a": 0, "b": 1, "a": 2}, "merges": []`), ""), `model.vocab: "a" is listed twice, with ids 0 and 2`},
		{"id twice", tokenizerJSON(model(`"vocab": {"a": 0, "b": 0}, "merges": []`), ""), `model.vocab: "a" and "b" both have id 0`},
		{"empty token", tokenizerJSON(model(`"vocab": {"": 0}, "merges": []`), ""), `model.vocab: the empty string has id 0`},
		{"merge of unknown", tokenizerJSON(model(`"vocab": {"a": 0}, "merges": ["a b"]`), ""), `model.merges[0]: joins "a" and "b", but model.vocab has no "b"`},
		{"merge into unknown", tokenizerJSON(model(`"vocab": {"a": 0, "b": 1}, "merges": [["a", "b"]]`), ""), `model.merges[0]: joins "a" and "b", but model.vocab has no "ab"`},
		{"merge with nothing", tokenizerJSON(model(`"vocab": {"a": 0}, "merges": [["a", ""]]`), ""), `model.merges[0]: joins "a" and ""; neither may be empty`},
		{"merge of three", tokenizerJSON(model(`"vocab": {"a": 0}, "merges": ["a a a"]`), ""), `model.merges[0]: found "a a a", want two tokens with one space between them`},
		{"pair of three", tokenizerJSON(model(`"vocab": {"a": 0}, "merges": [["a", "a", "a"]]`), ""), `model.merges[0]: want two tokens, found "a"]] behind "a" and "a"`},
		{"pair of one", tokenizerJSON(model(`"vocab": {"a": 0}, "merges": [["a"]]`), ""), `model.merges[0]: want a string, found ]]`},
		{"merges are numbers", tokenizerJSON(model(`"vocab": {"a": 0}, "merges": [1]`), ""), `model.merges[0]: want a string, found 1]`},
		{"merges are an object", tokenizerJSON(model(`"vocab": {"a": 0}, "merges": {}`), ""), `model.merges: want a list of "a b" or ["a", "b"], found {}`},
		{"dropout", tokenizerJSON(parts{"model extra": `, "dropout": 0.1`}, "a"), "model.dropout is 0.1: random merges are not supported"},
		{"subword prefix", tokenizerJSON(parts{"model extra": `, "continuing_subword_prefix": "##"`}, "a"), `model.continuing_subword_prefix "##" is not supported`},
		{"word suffix", tokenizerJSON(parts{"model extra": `, "end_of_word_suffix": "</w>"`}, "a"), `model.end_of_word_suffix "</w>" is not supported`},
		{"unknown unk", tokenizerJSON(parts{"model extra": `, "unk_token": "?"`}, "a"), `model.unk_token: model.vocab has no "?"`},
		{
			"alphabet", tokenizerJSON(parts{"pre_tokenizer": `{"type": "ByteLevel"}`}, strings.Replace(byteAlphabet, "aĠ", "", 1)[1:]),
			`model.vocab: the byte-level alphabet is incomplete: no token 'Ā', and no unk_token to stand for them`,
		},
		{
			"alphabet of one", tokenizerJSON(parts{"pre_tokenizer": `{"type": "ByteLevel"}`}, "a"),
			`no token 'Ā', 'ā', 'Ă', 'ă', 'Ą' and 237 more`,
		},
		{"normalizer", tokenizerJSON(parts{"normalizer": `{"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Precompiled"}]}`}, "a"), `normalizer.normalizers[1]: type "Precompiled" is not supported (supported: Sequence, NFC,`},
		{"pre-tokenizer", tokenizerJSON(parts{"pre_tokenizer": `{"type": "Sequence", "pretokenizers": [{"type": "UnicodeScripts"}]}`}, "a"), `pre_tokenizer.pretokenizers[0]: type "UnicodeScripts" is not supported (supported: Sequence, Split,`},
		{"post-processor", tokenizerJSON(parts{"post_processor": `{"type": "Sequence", "processors": [{"type": "X"}]}`}, "a"), `post_processor.processors[0]: type "X" is not supported (supported: Sequence, TemplateProcessing,`},
		{"decoder", tokenizerJSON(parts{"decoder": `{"type": "Sequence", "decoders": [{"type": "WordPiece"}]}`}, "a"), `decoder.decoders[0]: type "WordPiece" is not supported (supported: Sequence, ByteLevel,`},
		{"pattern", tokenizerJSON(parts{"pre_tokenizer": `{"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"}`}, "a"), `pre_tokenizer.pattern.Regex: error parsing regexp: missing closing )`},
		{"no pattern", tokenizerJSON(parts{"pre_tokenizer": `{"type": "Split", "behavior": "Isolated"}`}, "a"), `pre_tokenizer.pattern: want {"String": "..."} or {"Regex": "..."}`},
		{"behavior", tokenizerJSON(parts{"pre_tokenizer": `{"type": "Split", "pattern": {"String": "a"}, "behavior": "Gone"}`}, "a"), `pre_tokenizer.behavior "Gone" is not supported (supported: Removed,`},
		{"mark", tokenizerJSON(parts{"pre_tokenizer": `{"type": "Metaspace", "replacement": "__"}`}, "a"), `pre_tokenizer.replacement is "__", want one character`},
		{"prepend scheme", tokenizerJSON(parts{"decoder": `{"type": "Metaspace", "replacement": "_", "prepend_scheme": "often"}`}, "a"), `decoder.prepend_scheme "often" is not supported (supported: always, first, never)`},
		{"strip of two", tokenizerJSON(parts{"decoder": `{"type": "Strip", "content": "ab"}`}, "a"), `decoder.content is "ab", want one character`},
		{"template without text", tokenizerJSON(parts{"post_processor": `{"type": "TemplateProcessing", "single": []}`}, "a"), `post_processor.single: want the text (a Sequence) once, found it 0 times`},
		{"template token", tokenizerJSON(parts{"post_processor": `{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}]}`}, "a"), `post_processor.single[0]: special_tokens has no "<s>"`},
		{"template piece", tokenizerJSON(parts{"post_processor": `{"type": "TemplateProcessing", "single": [{}]}`}, "a"), `post_processor.single[0]: want a SpecialToken or a Sequence`},
		{"template id", tokenizerJSON(parts{"post_processor": `{"type": "RobertaProcessing", "cls": ["a", 0], "sep": ["b", 9]}`}, "a"), `post_processor: adds token id 9, which the vocabulary does not have`},
		{"roberta", tokenizerJSON(parts{"post_processor": `{"type": "RobertaProcessing", "cls": ["a", 0]}`}, "a"), `post_processor: RobertaProcessing needs cls and sep`},
		{"roberta pair", tokenizerJSON(parts{"post_processor": `{"type": "RobertaProcessing", "cls": [0, "a"]}`}, "a"), `want ["token", id], found [0, "a"]`},
		{"added id", tokenizerJSON(parts{"added_tokens": `[{"id": 5, "content": "a"}]`}, "a"), `added_tokens[0]: "a" has id 5 here and id 0 elsewhere`},
		{"added twice", tokenizerJSON(parts{"added_tokens": `[{"id": 1, "content": "x"}, {"id": 1, "content": "y"}]`}, "a"), `added_tokens[1]: "y" and "x" both have id 1`},
		{"added far", tokenizerJSON(parts{"added_tokens": `[{"id": 99999999, "content": "x"}]`}, "a"), `added_tokens[0]: "x" has id 99999999, far beyond`},
		{"added nothing", tokenizerJSON(parts{"added_tokens": `[{"id": 1, "content": ""}]`}, "a"), `added_tokens[0]: the empty string has id 1`},
	} {
		_, err := parse([]byte(c.data))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v\nwant %s", c.name, err, c.want)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "tokenizer.json: no such file") {
		t.Errorf("Load of an empty folder: %v", err)
	}
	write(t, dir, "tokenizer.json", tokenizerJSON(nil, "ab"))
	tk, err := Load(dir)
	if err != nil || tk.BOS() != "" || tk.EOS() != "" {
		t.Errorf("Load without tokenizer_config.json: %v", err)
	}
	write(t, dir, "tokenizer_config.json", `{"bos_token": {"content": "<s>"}, "eos_token": "</s>", "pad_token": null}`)
	if tk, err = Load(dir); err != nil || tk.BOS() != "<s>" || tk.EOS() != "</s>" {
		t.Errorf("BOS %q, EOS %q, %v", tk.BOS(), tk.EOS(), err)
	}
	write(t, dir, "tokenizer_config.json", `{"bos_token": 7}`)
	if _, err = Load(dir); err == nil || !strings.Contains(err.Error(), "tokenizer_config.json: ") {
		t.Errorf("Load with a wrong bos_token: %v", err)
	}
}

// FuzzParse checks that no tokenizer.json makes parsing, encoding or decoding panic.
func FuzzParse(f *testing.F) {
	f.Add(tokenizerJSON(parts{
		"added_tokens":   `[{"id": 258, "content": "<s>", "special": true, "rstrip": true}, {"id": 259, "content": "b a", "normalized": true, "single_word": true, "lstrip": true}]`,
		"normalizer":     `{"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}, {"type": "Strip"}, {"type": "StripAccents"}]}`,
		"pre_tokenizer":  `{"type": "Sequence", "pretokenizers": [{"type": "Digits"}, {"type": "Punctuation"}, {"type": "ByteLevel"}]}`,
		"post_processor": `{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}], "special_tokens": {"<s>": {"ids": [258]}}}`,
		"decoder":        `{"type": "ByteLevel"}`,
	}, byteAlphabet, "a b", "Ġ ab"))
	f.Add(tokenizerJSON(parts{
		"normalizer":    `{"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}`,
		"pre_tokenizer": `{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false}`,
		"model extra":   `, "unk_token": "?", "fuse_unk": true, "byte_fallback": true, "ignore_merges": true`,
		"decoder":       `{"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1}]}`,
	}, "?▁ab", "a b", "▁ ab"))
	f.Fuzz(func(t *testing.T, data string) {
		tk, err := parse([]byte(data))
		if err != nil {
			return
		}
		for _, text := range []string{"", " ab a1b<s> b a\n", "é🙂\xff"} {
			ids := tk.Encode(text, true)
			if got := tk.Decode(ids, false); !utf8.ValidString(got) {
				t.Errorf("Decode(%v) = %q is not UTF-8", ids, got)
			}
			streamed(tk, append(ids, -1, 1<<30))
		}
	})
}
