package tokenizer

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decoder turns the tokens of a text into its parts.
type decoder struct {
	steps []func(tokens []string) []string
	glue  string // joins the parts

	byteLevel bool // a step reads tokens as byte-level spelling
	fallback  bool // a step reads "<0x41>" as a byte
}

// Decode returns the text of ids, without the special tokens if skipSpecial. Ids
// that the vocabulary does not have are passed over, and bytes that are no UTF-8
// become U+FFFD. As in the tokenizers library, the clean_up_tokenization_spaces of
// tokenizer_config.json is not applied: it cannot be undone.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	tokens := make([]string, 0, len(ids))
	for _, id := range ids {
		if t.known(id) && !(skipSpecial && t.special[id]) {
			tokens = append(tokens, t.tokens[id])
		}
	}
	return t.text(tokens)
}

// text decodes tokens; it is "" where a pattern of the decoder has failed.
func (t *Tokenizer) text(tokens []string) string {
	defer t.caught()
	return t.decode.text(tokens)
}

func (t *Tokenizer) known(id int32) bool {
	return id >= 0 && int(id) < len(t.tokens) && t.tokens[id] != ""
}

func (d *decoder) text(tokens []string) string {
	for _, step := range d.steps {
		tokens = step(tokens)
	}
	return strings.Join(tokens, d.glue)
}

// raw returns the bytes that token adds to the text, as far as they can be part of
// a character that tokens share.
func (d *decoder) raw(token string) []byte {
	if d.byteLevel {
		return appendByteLevel(nil, token)
	}
	if b, ok := byteToken(token); ok && d.fallback {
		return []byte{b}
	}
	return []byte(token)
}

func buildDecoder(c *component, path string) (d decoder, err error) {
	if c == nil {
		return decoder{glue: " "}, nil
	}
	err = d.add(c, path)
	return d, err
}

// add appends the steps of c.
func (d *decoder) add(c *component, path string) error {
	var step func([]string) []string
	switch c.Type {
	case "Sequence":
		for i := range c.Decoders {
			if err := d.add(&c.Decoders[i], fmt.Sprintf("%s.decoders[%d]", path, i)); err != nil {
				return err
			}
		}
		return nil
	case "ByteLevel":
		d.byteLevel = true
		step = decodeByteLevel
	case "ByteFallback":
		d.fallback = true
		step = decodeByteFallback
	case "Fuse":
		step = func(tokens []string) []string { return []string{strings.Join(tokens, "")} }
	case "Replace":
		replace, err := buildReplace(c, path)
		if err != nil {
			return err
		}
		step = eachToken(replace)
	case "Strip":
		if len([]rune(c.Content)) != 1 {
			return fmt.Errorf("%s.content is %q, want one character", path, c.Content)
		}
		step = eachToken(func(token string) string { return stripChar(token, c.Content, c.Start, c.Stop) })
	case "Metaspace":
		mark, scheme, err := readMetaspace(c, path)
		if err != nil {
			return err
		}
		step = decodeMetaspace(mark, scheme != "never")
	default:
		return fmt.Errorf("%s: type %q is not supported (supported: Sequence, ByteLevel, ByteFallback, Fuse, Replace, Strip, Metaspace)", path, c.Type)
	}
	d.steps = append(d.steps, step)
	return nil
}

func eachToken(f func(string) string) func([]string) []string {
	return func(tokens []string) []string {
		for i, t := range tokens {
			tokens[i] = f(t)
		}
		return tokens
	}
}

func decodeByteLevel(tokens []string) []string {
	size := 0
	for _, t := range tokens {
		size += len(t)
	}
	text := make([]byte, 0, size)
	for _, t := range tokens {
		text = appendByteLevel(text, t)
	}
	return []string{validUTF8(text)}
}

// decodeByteFallback joins runs of byte tokens to characters. Of a run that is not
// UTF-8 each byte becomes U+FFFD.
func decodeByteFallback(tokens []string) []string {
	out := make([]string, 0, len(tokens))
	var run []byte
	flush := func() {
		switch {
		case len(run) == 0:
			return
		case utf8.Valid(run):
			out = append(out, string(run))
		default:
			out = append(out, strings.Repeat("�", len(run)))
		}
		run = run[:0]
	}
	for _, t := range tokens {
		if b, ok := byteToken(t); ok {
			run = append(run, b)
			continue
		}
		flush()
		out = append(out, t)
	}
	flush()
	return out
}

// byteToken reads "<0x41>".
func byteToken(token string) (byte, bool) {
	if len(token) != 6 || !strings.HasPrefix(token, "<0x") || token[5] != '>' {
		return 0, false
	}
	b, err := strconv.ParseUint(token[3:5], 16, 8)
	return byte(b), err == nil
}

// decodeMetaspace turns marks into spaces, those of the first token into nothing if
// the encoder put one there.
func decodeMetaspace(mark string, prepended bool) func([]string) []string {
	return func(tokens []string) []string {
		for i, t := range tokens {
			gap := " "
			if i == 0 && prepended {
				gap = ""
			}
			tokens[i] = strings.ReplaceAll(t, mark, gap)
		}
		return tokens
	}
}

// stripChar removes up to start times char at the start of token and up to stop
// times at its end.
func stripChar(token, char string, start, stop int) string {
	for ; start > 0 && strings.HasPrefix(token, char); start-- {
		token = token[len(char):]
	}
	for ; stop > 0 && strings.HasSuffix(token, char); stop-- {
		token = token[:len(token)-len(char)]
	}
	return token
}
