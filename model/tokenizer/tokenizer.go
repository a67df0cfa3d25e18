// Package tokenizer turns text into token ids and back as Hugging Face's
// tokenizers library does, from a checkpoint's tokenizer.json, and renders chat
// templates. It reads the BPE tokenizers of today's language models: byte-level
// BPE (GPT-2, Llama 3, Qwen) and SentencePiece-style BPE with byte fallback
// (Llama 2, Mistral, Phi-3, Gemma).
//
// Text runs through five stages, each a field of Tokenizer: added tokens are cut
// out, the pieces between them are normalized, split into words, merged into
// tokens, and the post-processor's special tokens are put around the result.
package tokenizer

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime"
	"unicode/utf8"
)

// Tokenizer holds one loaded tokenizer.json. Its methods may be called from
// several goroutines at once.
type Tokenizer struct {
	added     addedSet // found in the text as it is
	addedNorm addedSet // found in the normalized text
	normalize normalizer
	split     splitter
	model     *bpe
	prefix    []int32 // what the post-processor puts before the text
	suffix    []int32 // and behind it
	decode    decoder

	tokens  []string         // by id; "" where there is none
	addedID map[string]int32 // added tokens by content
	special []bool           // by id: left out by Decode on request
	config  config
	sum     [sha256.Size]byte // of tokenizer.json
	rows    int               // of the model's embedding; 0: not known
	idle    chan *encoder     // encoders kept for their word caches
	from    string            // the file, for errors
	failed  *failure
}

// Load reads the tokenizer of a model: the tokenizer.json of its folder and, where there
// is one, tokenizer_config.json. path is the folder, or a .gguf file; where no
// tokenizer.json lies beside that, the vocabulary is taken out of its metadata.
func Load(path string) (*Tokenizer, error) {
	s, err := openSource(path)
	if err != nil {
		return nil, fmt.Errorf("load tokenizer: %w", err)
	}
	data, from, err := s.read(File)
	if err != nil {
		return nil, fmt.Errorf("load tokenizer: %w%s", err, s.advice())
	}
	t, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	t.from = from
	if t.config, err = s.config(); err != nil {
		return nil, err
	}
	t.sum = sha256.Sum256(data)
	return t, nil
}

// Encode returns the ids of text. Special and other added tokens written in the
// text are always recognised; with special, the ids that the post-processor adds
// (BOS, EOS) stand around them. Bytes that are not UTF-8 are read as U+FFFD. A text that
// the tokenizer.json's own patterns cannot be searched for in time has no ids; [Tokenizer.Err]
// says so.
func (t *Tokenizer) Encode(text string, special bool) []int32 {
	ids, ok := t.tryEncode(text, special)
	if !ok {
		return nil
	}
	return ids
}

// tryEncode is Encode; ok is false where a pattern has failed.
func (t *Tokenizer) tryEncode(text string, special bool) (ids []int32, ok bool) {
	defer t.caught()
	if !utf8.ValidString(text) {
		text = string([]rune(text))
	}
	e := t.takeEncoder()
	defer t.putEncoder(e)
	ids = make([]int32, 0, len(text)/4+len(t.prefix)+len(t.suffix)+1)
	if special {
		ids = append(ids, t.prefix...)
	}
	word := func(w string, _ bool) { ids = e.word(ids, w) }
	for _, s := range t.added.cut(text) {
		if s.id >= 0 {
			ids = append(ids, s.id)
			continue
		}
		for _, n := range t.addedNorm.cut(t.normalize(s.text)) {
			if n.id >= 0 {
				ids = append(ids, n.id)
				continue
			}
			t.split(n.text, s.first && n.first, word)
		}
	}
	if special {
		ids = append(ids, t.suffix...)
	}
	return ids, true
}

// TokenID returns the id of the token written content, which for byte-level and
// SentencePiece vocabularies is the vocabulary's own spelling ("Ġthe", "▁the").
func (t *Tokenizer) TokenID(content string) (int32, bool) {
	if id, ok := t.addedID[content]; ok {
		return id, true
	}
	id, ok := t.model.vocab[content]
	return id, ok
}

// VocabSize returns the largest id plus one: the rows that an embedding needs.
// The embedding of a checkpoint may have more.
func (t *Tokenizer) VocabSize() int { return len(t.tokens) }

// Fingerprint is the SHA-256, in hexadecimal digits, of the tokenizer.json that the
// tokenizer was made of; of a GGUF file, of the one that its metadata became.
func (t *Tokenizer) Fingerprint() string { return hex.EncodeToString(t.sum[:]) }

// BOS returns the content of tokenizer_config.json's bos_token, "" if it has none.
func (t *Tokenizer) BOS() string { return string(t.config.BOS) }

// EOS returns the content of tokenizer_config.json's eos_token, "" if it has none.
func (t *Tokenizer) EOS() string { return string(t.config.EOS) }

// takeEncoder returns an idle encoder or a new one. Encoders are kept rather than
// pooled with sync.Pool, since a warm word cache outlives many garbage collections.
func (t *Tokenizer) takeEncoder() *encoder {
	select {
	case e := <-t.idle:
		return e
	default:
		return newEncoder(t.model)
	}
}

func (t *Tokenizer) putEncoder(e *encoder) {
	select {
	case t.idle <- e:
	default:
	}
}

func newIdle() chan *encoder { return make(chan *encoder, runtime.GOMAXPROCS(0)) }
