package tokenizer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// The vocabulary of a GGUF file is translated to the tokenizer.json and
// tokenizer_config.json that the same model has on Hugging Face, and read like those.
// Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.

// object is a JSON object being made.
type object = map[string]any

// The kinds of tokens in tokenizer.ggml.token_type.
const (
	ggufNormal      = 1
	ggufUnknown     = 2
	ggufControl     = 3
	ggufUserDefined = 4
	ggufUnused      = 5
)

// ggufWords is how the words of a byte-level vocabulary are split, by
// tokenizer.ggml.pre: the pre_tokenizer of the models that have it.
var ggufWords = map[string]ggufSplit{
	"gpt-2":            {},
	"smollm":           {digits: true},
	"llama-bpe":        {pattern: cl100kPattern, bos: true, wholeWords: true},
	"llama-v3":         {pattern: cl100kPattern, bos: true, wholeWords: true},
	"llama3":           {pattern: cl100kPattern, bos: true, wholeWords: true},
	"dbrx":             {pattern: cl100kPattern}, // Phi-4
	"gpt-4o":           {pattern: o200kPattern},  // Phi-4-mini
	"qwen2":            {pattern: qwen2Pattern, nfc: true},
	"deepseek-r1-qwen": {pattern: qwen2Pattern, nfc: true},
	"tekken":           {pattern: tekkenPattern, bos: true, wholeWords: true},
}

// ggufSplit is a way to split words, and what goes with it.
type ggufSplit struct {
	pattern    string // "": GPT-2's
	digits     bool   // each digit is a word
	nfc        bool   // text is put into normal form C
	bos        bool   // a text begins with BOS unless the file says otherwise
	wholeWords bool   // a word that is in the vocabulary is that token
}

// ggufVocabulary is what a file's metadata say of the tokens.
type ggufVocabulary struct {
	metadata map[string]any
	tokens   []string
	types    []int64
	scores   []float64
}

// readGGUF takes the vocabulary out of a file's metadata.
func readGGUF(metadata map[string]any) (*ggufVocabulary, error) {
	v := &ggufVocabulary{metadata: metadata}
	v.tokens, _ = metadata["tokenizer.ggml.tokens"].([]string)
	v.types, _ = metadata["tokenizer.ggml.token_type"].([]int64)
	v.scores, _ = metadata["tokenizer.ggml.scores"].([]float64)
	n := len(v.tokens)
	switch {
	case n == 0:
		return nil, fmt.Errorf("tokenizer.ggml.tokens is missing: the file has no vocabulary")
	case v.types != nil && len(v.types) != n:
		return nil, fmt.Errorf("tokenizer.ggml.token_type has %d entries for %d tokens", len(v.types), n)
	case v.scores != nil && len(v.scores) != n:
		return nil, fmt.Errorf("tokenizer.ggml.scores has %d entries for %d tokens", len(v.scores), n)
	}
	return v, nil
}

// kind is the type of a token; a file without types has normal ones only.
func (v *ggufVocabulary) kind(id int) int64 {
	if v.types == nil {
		return ggufNormal
	}
	return v.types[id]
}

// token returns the token that a key names by its id, "" if it names none.
func (v *ggufVocabulary) token(key string) string {
	id, ok := v.metadata["tokenizer.ggml."+key].(int64)
	if !ok || id < 0 || id >= int64(len(v.tokens)) {
		return ""
	}
	return v.tokens[id]
}

func (v *ggufVocabulary) flag(key string, otherwise bool) bool {
	if b, ok := v.metadata["tokenizer.ggml."+key].(bool); ok {
		return b
	}
	return otherwise
}

// tokenizerJSON returns the tokenizer.json of the vocabulary.
func (v *ggufVocabulary) tokenizerJSON() ([]byte, error) {
	model := object{"type": "BPE", "vocab": v.ids()}
	file := object{"version": "1.0", "added_tokens": v.added(), "model": model}
	bos := false
	switch kind, _ := v.metadata["tokenizer.ggml.model"].(string); kind {
	case "gpt2":
		pre, _ := v.metadata["tokenizer.ggml.pre"].(string)
		split, ok := ggufWords[pre]
		if !ok {
			return nil, fmt.Errorf("tokenizer.ggml.pre is %q, want one of %s", pre, strings.Join(slices.Sorted(maps.Keys(ggufWords)), ", "))
		}
		merges, _ := v.metadata["tokenizer.ggml.merges"].([]string)
		model["merges"], model["ignore_merges"], bos = merges, split.wholeWords, split.bos
		split.describe(file)
	case "llama":
		merges, err := v.merges()
		if err != nil {
			return nil, err
		}
		model["merges"], model["byte_fallback"], model["fuse_unk"], bos = merges, true, true, true
		if unknown := slices.Index(v.types, ggufUnknown); unknown >= 0 {
			model["unk_token"] = v.tokens[unknown]
		}
		describeSentencePiece(file, v.flag("add_space_prefix", true))
	default:
		return nil, fmt.Errorf("tokenizer.ggml.model is %q, want gpt2 or llama", kind)
	}
	v.postProcess(file, bos)
	return json.Marshal(file)
}

// ids maps tokens to ids. What is unused has none; of a token that is there twice
// the first counts.
func (v *ggufVocabulary) ids() map[string]int {
	ids := make(map[string]int, len(v.tokens))
	for id, token := range v.tokens {
		if _, twice := ids[token]; !twice && v.kind(id) != ggufUnused {
			ids[token] = id
		}
	}
	return ids
}

// added lists the tokens that are found in a text as they are written.
func (v *ggufVocabulary) added() []addedToken {
	list := []addedToken{}
	for id, token := range v.tokens {
		switch v.kind(id) {
		case ggufControl, ggufUnknown:
			list = append(list, addedToken{ID: int32(id), Content: token, Special: true, RStrip: v.takesSpace(token)})
		case ggufUserDefined:
			list = append(list, addedToken{ID: int32(id), Content: token})
		}
	}
	return list
}

// takesSpace says whether a special token takes the white space behind it, as those of
// Phi-3's chats do: no key says so.
func (v *ggufVocabulary) takesSpace(token string) bool {
	return v.metadata["general.architecture"] == "phi3" && v.metadata["tokenizer.ggml.model"] == "llama" &&
		!slices.Contains([]string{"<unk>", "<s>", "<|endoftext|>"}, token)
}

// maxPiece is far more bytes than a token of a SentencePiece model has, and maxCuts far
// more ways than there are on average to cut a token into two: they bound the time that
// merges takes and the memory that its list needs.
const maxPiece, maxCuts = 1 << 8, 1 << 3

// merges lists the pairs that a SentencePiece vocabulary joins: each way to cut a
// token into two others, the tokens of the highest score first, of equal ones the
// longest left part first. transformers' converter makes the same list.
func (v *ggufVocabulary) merges() ([][2]string, error) {
	if v.scores == nil {
		return nil, fmt.Errorf("tokenizer.ggml.scores is missing: a SentencePiece vocabulary needs them to join tokens")
	}
	type merge struct {
		pair  [2]string
		score float64
	}
	ids := v.ids()
	var all []merge
	for id, token := range v.tokens {
		if v.kind(id) != ggufNormal {
			continue
		}
		if len(token) > maxPiece {
			return nil, fmt.Errorf("tokenizer.ggml.tokens[%d] has %d bytes, want at most %d", id, len(token), maxPiece)
		}
		for i := range token {
			_, left := ids[token[:i]]
			if _, right := ids[token[i:]]; i > 0 && left && right {
				all = append(all, merge{[2]string{token[:i], token[i:]}, v.scores[id]})
			}
		}
		if most := maxCuts * len(v.tokens); len(all) > most {
			return nil, fmt.Errorf("tokenizer.ggml.tokens can be cut into others in more than %d ways, %d for each: they are no vocabulary", most, maxCuts)
		}
	}
	slices.SortStableFunc(all, func(a, b merge) int {
		return cmp.Or(cmp.Compare(b.score, a.score),
			cmp.Compare(utf8.RuneCountInString(b.pair[0]), utf8.RuneCountInString(a.pair[0])),
			cmp.Compare(utf8.RuneCountInString(b.pair[1]), utf8.RuneCountInString(a.pair[1])))
	})
	pairs := make([][2]string, len(all))
	for i, m := range all {
		pairs[i] = m.pair
	}
	return pairs, nil
}

// describe adds what is around a byte-level model.
func (s ggufSplit) describe(file object) {
	steps := []object{}
	if s.digits {
		steps = append(steps, object{"type": "Digits", "individual_digits": true})
	}
	if s.pattern != "" {
		steps = append(steps, object{"type": "Split", "pattern": object{"Regex": s.pattern}, "behavior": "Isolated", "invert": false})
	}
	level := object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": s.pattern == ""}
	file["pre_tokenizer"] = object{"type": "Sequence", "pretokenizers": append(steps, level)}
	file["decoder"] = level
	if s.nfc {
		file["normalizer"] = object{"type": "NFC"}
	}
}

// describeSentencePiece adds what is around a SentencePiece model.
func describeSentencePiece(file object, prefix bool) {
	const mark = "▁"
	normalizers := []object{{"type": "Replace", "pattern": object{"String": " "}, "content": mark}}
	decoders := []object{{"type": "Replace", "pattern": object{"String": mark}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}}
	if prefix {
		normalizers = append([]object{{"type": "Prepend", "prepend": mark}}, normalizers...)
		decoders = append(decoders, object{"type": "Strip", "content": " ", "start": 1, "stop": 0})
	}
	file["normalizer"] = object{"type": "Sequence", "normalizers": normalizers}
	file["decoder"] = object{"type": "Sequence", "decoders": decoders}
}

// postProcess adds the tokens that stand around a text.
func (v *ggufVocabulary) postProcess(file object, bos bool) {
	text := object{"Sequence": object{"id": "A", "type_id": 0}}
	single, tokens := []object{text}, object{}
	for _, t := range []struct {
		key   string
		on    bool
		front bool
	}{{"bos_token_id", v.flag("add_bos_token", bos), true}, {"eos_token_id", v.flag("add_eos_token", false), false}} {
		token := v.token(t.key)
		if !t.on || token == "" {
			continue
		}
		piece := object{"SpecialToken": object{"id": token, "type_id": 0}}
		tokens[token] = object{"id": token, "ids": []any{v.metadata["tokenizer.ggml."+t.key]}, "tokens": []string{token}}
		if t.front {
			single = append([]object{piece}, single...)
		} else {
			single = append(single, piece)
		}
	}
	if len(tokens) > 0 {
		pair := append(slices.Clone(single), object{"Sequence": object{"id": "B", "type_id": 1}})
		file["post_processor"] = object{"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}
	}
}

// configJSON returns the tokenizer_config.json of the vocabulary, with the chat template.
func (v *ggufVocabulary) configJSON() ([]byte, error) {
	config := object{}
	for name, key := range map[string]string{
		"bos_token": "bos_token_id", "eos_token": "eos_token_id", "pad_token": "padding_token_id", "unk_token": "unknown_token_id",
	} {
		if token := v.token(key); token != "" {
			config[name] = token
		}
	}
	if template, ok := v.metadata["tokenizer.chat_template"].(string); ok {
		config["chat_template"] = template
	}
	return json.Marshal(config)
}
