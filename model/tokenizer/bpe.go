package tokenizer

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// bpe is the merge model (Sennrich et al., 2016, arXiv:1508.07909): a word starts
// as one symbol a character (or byte) and the neighbours whose merge was learnt
// first are joined until no merge applies.
type bpe struct {
	vocab        vocabulary
	merges       map[uint64]uint64    // pairKey(left, right) -> rank<<32 | merged id
	inner        map[[2]rune]struct{} // characters that some merge brings together
	chars        map[rune]int32       // vocabulary entries of one character
	bytes        [256]int32           // the id of each byte's byte-level character, or -1
	fallback     [256]int32           // byte fallback: the id of "<0x00>".."<0xFF>", or -1
	byteLevel    bool                 // words come as raw bytes
	unk          int32                // -1: unknown characters are dropped
	fuseUnk      bool                 // consecutive unknown characters are one unk
	ignoreMerges bool                 // a word that is in the vocabulary is that token
}

const noMerge = ^uint64(0) // greater than every rank<<32 | id

func pairKey(left, right int32) uint64 { return uint64(uint32(left))<<32 | uint64(uint32(right)) }

// merge returns rank<<32 | id of joining two symbols, noMerge if that was not learnt.
func (m *bpe) merge(left, right int32) uint64 {
	if v, ok := m.merges[pairKey(left, right)]; ok {
		return v
	}
	return noMerge
}

// addMerges fills the merge table. Every pair gives two tokens of the vocabulary
// whose concatenation is one too; of a pair listed twice the last counts.
func (m *bpe) addMerges(pairs mergeList) error {
	m.merges = make(map[uint64]uint64, len(pairs))
	m.inner = make(map[[2]rune]struct{})
	for rank, p := range pairs {
		if p[0] == "" || p[1] == "" {
			return fmt.Errorf("model.merges[%d]: joins %q and %q; neither may be empty", rank, p[0], p[1])
		}
		var ids [3]int32
		for i, token := range []string{p[0], p[1], p[0] + p[1]} {
			id, ok := m.vocab[token]
			if !ok {
				return fmt.Errorf("model.merges[%d]: joins %q and %q, but model.vocab has no %q", rank, p[0], p[1], token)
			}
			ids[i] = id
		}
		m.merges[pairKey(ids[0], ids[1])] = uint64(rank)<<32 | uint64(uint32(ids[2]))
		last, _ := utf8.DecodeLastRuneInString(p[0])
		first, _ := utf8.DecodeRuneInString(p[1])
		m.inner[[2]rune{last, first}] = struct{}{}
	}
	return nil
}

// addAlphabet looks up the symbols that words start from.
func (m *bpe) addAlphabet(byteFallback bool) error {
	m.chars = make(map[rune]int32)
	for token, id := range m.vocab {
		if r, n := utf8.DecodeRuneInString(token); n > 0 && n == len(token) {
			m.chars[r] = id
		}
	}
	var missing []string
	for b := range 256 {
		m.bytes[b], m.fallback[b] = -1, -1
		if id, ok := m.chars[byteChars[b]]; ok {
			m.bytes[b] = id
		} else if isUTF8Byte(b) {
			missing = append(missing, fmt.Sprintf("%q", byteChars[b]))
		}
		if id, ok := m.vocab[fmt.Sprintf("<0x%02X>", b)]; ok && byteFallback {
			m.fallback[b] = id
		}
	}
	if m.byteLevel && m.unk < 0 && len(missing) > 0 {
		more := ""
		if n := len(missing); n > 5 {
			missing, more = missing[:5], fmt.Sprintf(" and %d more", n-5)
		}
		return fmt.Errorf("model.vocab: the byte-level alphabet is incomplete: no token %s%s, and no unk_token to stand for them",
			strings.Join(missing, ", "), more)
	}
	return nil
}

// isUTF8Byte reports whether b occurs in UTF-8 text.
func isUTF8Byte(b int) bool { return b < 0xC0 || b >= 0xC2 && b <= 0xF4 }

// symbols appends to dst the symbols that word starts from.
func (m *bpe) symbols(dst []int32, word string) []int32 {
	unknown := false // an unk is due
	for word != "" {
		id, size := m.symbol(word)
		switch {
		case id >= 0:
			if unknown {
				dst, unknown = append(dst, m.unk), false
			}
			dst = append(dst, id)
		case m.hasFallback(word[:size]):
			for i := range size {
				dst = append(dst, m.fallback[word[i]])
			}
		case m.unk >= 0:
			if unknown && !m.fuseUnk {
				dst = append(dst, m.unk)
			}
			unknown = true
		}
		word = word[size:]
	}
	if unknown {
		dst = append(dst, m.unk)
	}
	return dst
}

// symbol returns the id of the first character (byte-level: byte) of word, -1 if
// it is unknown, and its length in bytes.
func (m *bpe) symbol(word string) (id int32, size int) {
	if m.byteLevel {
		return m.bytes[word[0]], 1
	}
	r, size := utf8.DecodeRuneInString(word)
	if id, ok := m.chars[r]; ok {
		return id, size
	}
	return -1, size
}

func (m *bpe) hasFallback(char string) bool {
	for i := range len(char) {
		if m.fallback[char[i]] < 0 {
			return false
		}
	}
	return true
}

// cut returns the length of the first part of word that no merge can join to the
// rest: merging the parts apart gives what merging the whole word gives. The cut
// is between two known characters that no merge brings together, so that a text
// that comes as one word (SentencePiece) still falls into short, repeated parts.
func (m *bpe) cut(word string) int {
	left, i := utf8.DecodeRuneInString(word)
	for i < len(word) {
		right, size := utf8.DecodeRuneInString(word[i:])
		if _, joined := m.inner[[2]rune{left, right}]; !joined && m.isChar(left) && m.isChar(right) {
			return i
		}
		left, i = right, i+size
	}
	return i
}

func (m *bpe) isChar(r rune) bool {
	_, ok := m.chars[r]
	return ok
}
