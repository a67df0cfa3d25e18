package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// file is tokenizer.json. Its truncation and padding are for the trainer's batches
// and are not applied.
type file struct {
	AddedTokens   []addedToken `json:"added_tokens"`
	Normalizer    *component   `json:"normalizer"`
	PreTokenizer  *component   `json:"pre_tokenizer"`
	Model         *modelFile   `json:"model"`
	PostProcessor *component   `json:"post_processor"`
	Decoder       *component   `json:"decoder"`
}

// component is a normalizer, pre-tokenizer, post-processor or decoder: Type says
// which, and which of the other fields count.
type component struct {
	Type string `json:"type"`

	Normalizers   []component `json:"normalizers"`
	PreTokenizers []component `json:"pretokenizers"`
	Processors    []component `json:"processors"`
	Decoders      []component `json:"decoders"`

	Pattern   pattern `json:"pattern"`   // Replace, Split
	Content   string  `json:"content"`   // Replace, decoder Strip
	Prepend   string  `json:"prepend"`   // Prepend
	Behavior  string  `json:"behavior"`  // Split, Punctuation
	Invert    bool    `json:"invert"`    // Split
	Delimiter string  `json:"delimiter"` // CharDelimiterSplit

	StripLeft  *bool `json:"strip_left"` // normalizer Strip
	StripRight *bool `json:"strip_right"`
	Start      int   `json:"start"` // decoder Strip
	Stop       int   `json:"stop"`

	IndividualDigits bool   `json:"individual_digits"` // Digits
	UseRegex         *bool  `json:"use_regex"`         // ByteLevel
	AddPrefixSpace   *bool  `json:"add_prefix_space"`  // ByteLevel, Metaspace
	Replacement      string `json:"replacement"`       // Metaspace
	PrependScheme    string `json:"prepend_scheme"`
	Split            *bool  `json:"split"`

	Single        []templatePiece           `json:"single"` // TemplateProcessing
	SpecialTokens map[string]templateTokens `json:"special_tokens"`
	Cls           namedID                   `json:"cls"` // RobertaProcessing, BertProcessing
	Sep           namedID                   `json:"sep"`
}

type pattern struct{ String, Regex *string }

type modelFile struct {
	Type          string     `json:"type"`
	Vocab         vocabulary `json:"vocab"`
	Merges        mergeList  `json:"merges"`
	Dropout       float64    `json:"dropout"`
	UnkToken      *string    `json:"unk_token"`
	SubwordPrefix string     `json:"continuing_subword_prefix"`
	WordSuffix    string     `json:"end_of_word_suffix"`
	FuseUnk       bool       `json:"fuse_unk"`
	ByteFallback  bool       `json:"byte_fallback"`
	IgnoreMerges  bool       `json:"ignore_merges"`
}

// parse builds the tokenizer that tokenizer.json describes.
func parse(data []byte) (*Tokenizer, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("is not UTF-8, which JSON has to be")
	}
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		if f.Model != nil && f.Model.Type != "" && f.Model.Type != "BPE" {
			err = errModelType(f.Model.Type) // its vocabulary has another form
		}
		return nil, jsonError(data, err)
	}
	t := &Tokenizer{idle: newIdle(), failed: &failure{}, from: File}
	err := errors.Join(checkGrowth(f.Normalizer, "normalizer"), checkGrowth(f.Decoder, "decoder"))
	if err != nil {
		return nil, err
	}
	if t.normalize, err = buildNormalizer(f.Normalizer, "normalizer"); err != nil {
		return nil, err
	}
	byteLevel := false
	if t.split, byteLevel, err = buildPreTokenizer(f.PreTokenizer); err != nil {
		return nil, err
	}
	if t.model, err = buildModel(f.Model, byteLevel); err != nil {
		return nil, err
	}
	if err := t.addTokens(f.AddedTokens); err != nil {
		return nil, err
	}
	if t.prefix, t.suffix, err = buildPostProcessor(f.PostProcessor, "post_processor"); err != nil {
		return nil, err
	}
	for _, id := range slices.Concat(t.prefix, t.suffix) {
		if id < 0 || int(id) >= len(t.tokens) || t.tokens[id] == "" {
			return nil, fmt.Errorf("post_processor: adds token id %d, which the vocabulary does not have", id)
		}
	}
	if t.decode, err = buildDecoder(f.Decoder, "decoder"); err != nil {
		return nil, err
	}
	return t, nil
}

// buildModel makes the merge model; byteLevel says that it gets words as bytes.
func buildModel(f *modelFile, byteLevel bool) (*bpe, error) {
	switch {
	case f == nil:
		return nil, errors.New("model is missing: this is no tokenizer.json of the tokenizers library")
	case f.Type != "BPE" && f.Type != "":
		return nil, errModelType(f.Type)
	case len(f.Vocab) == 0:
		return nil, errors.New("model.vocab is missing or empty")
	case f.Merges == nil:
		return nil, errors.New("model.merges is missing: a BPE model needs its list of merges, be it empty")
	case f.Dropout != 0:
		return nil, fmt.Errorf("model.dropout is %v: random merges are not supported, set it to null", f.Dropout)
	case f.SubwordPrefix != "":
		return nil, fmt.Errorf("model.continuing_subword_prefix %q is not supported, only none", f.SubwordPrefix)
	case f.WordSuffix != "":
		return nil, fmt.Errorf("model.end_of_word_suffix %q is not supported, only none", f.WordSuffix)
	}
	m := &bpe{vocab: f.Vocab, byteLevel: byteLevel, unk: -1, fuseUnk: f.FuseUnk, ignoreMerges: f.IgnoreMerges}
	if f.UnkToken != nil {
		id, ok := f.Vocab[*f.UnkToken]
		if !ok {
			return nil, fmt.Errorf("model.unk_token: model.vocab has no %q", *f.UnkToken)
		}
		m.unk = id
	}
	if err := m.addMerges(f.Merges); err != nil {
		return nil, err
	}
	return m, m.addAlphabet(f.ByteFallback)
}

func errModelType(name string) error {
	return fmt.Errorf("model.type %q is not supported (supported: BPE)", name)
}

// addTokens fills the tables by id and the added tokens.
func (t *Tokenizer) addTokens(added []addedToken) error {
	top := int32(-1)
	count := len(t.model.vocab) + len(added)
	for token, id := range t.model.vocab {
		if err := checkID(token, id, count); err != nil {
			return fmt.Errorf("model.vocab: %w", err)
		}
		top = max(top, id)
	}
	for i, a := range added {
		if err := checkID(a.Content, a.ID, count); err != nil {
			return fmt.Errorf("added_tokens[%d]: %w", i, err)
		}
		top = max(top, a.ID)
	}
	t.tokens, t.special = make([]string, top+1), make([]bool, top+1)
	t.addedID = make(map[string]int32, len(added))
	for token, id := range t.model.vocab {
		if other := t.tokens[id]; other != "" {
			return fmt.Errorf("model.vocab: %q and %q both have id %d", min(token, other), max(token, other), id)
		}
		t.tokens[id] = token
	}
	for i := range added {
		if err := t.addToken(&added[i]); err != nil {
			return fmt.Errorf("added_tokens[%d]: %w", i, err)
		}
	}
	return nil
}

func (t *Tokenizer) addToken(a *addedToken) error {
	if id, ok := t.TokenID(a.Content); ok && id != a.ID {
		return fmt.Errorf("%q has id %d here and id %d elsewhere", a.Content, a.ID, id)
	}
	if other := t.tokens[a.ID]; other != "" && other != a.Content {
		return fmt.Errorf("%q and %q both have id %d", a.Content, other, a.ID)
	}
	t.tokens[a.ID] = a.Content
	t.addedID[a.Content] = a.ID
	t.special[a.ID] = t.special[a.ID] || a.Special
	if a.Normalized {
		t.addedNorm.add(t.normalize(a.Content), a)
	} else {
		t.added.add(a.Content, a)
	}
	return nil
}

// checkID refuses ids that would make the tables by id far larger than the file.
func checkID(token string, id int32, count int) error {
	switch {
	case token == "":
		return fmt.Errorf("the empty string has id %d", id)
	case id < 0:
		return fmt.Errorf("%q has id %d, want 0 or more", token, id)
	case int(id) > 4*count+1<<16:
		return fmt.Errorf("%q has id %d, far beyond the %d tokens there are", token, id, count)
	}
	return nil
}

// jsonError says where in data err is.
func jsonError(data []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("invalid JSON at %s: %w", position(data, syntax.Offset), err)
	case errors.As(err, &kind):
		return fmt.Errorf("%s: %s has the wrong type: found %s, want %s", position(data, kind.Offset), kind.Field, kind.Value, kind.Type)
	}
	return err
}

// position renders the place of the byte before offset: "line 3, column 14 (offset 60)".
func position(data []byte, offset int64) string {
	before := data[:max(0, min(offset, int64(len(data)))-1)]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return fmt.Sprintf("line %d, column %d (offset %d)", line, column, offset)
}
