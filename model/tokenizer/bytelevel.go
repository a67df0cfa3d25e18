package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// Byte-level BPE writes each byte of the text as one printable character: the
// printable bytes of Latin-1 as themselves, the others, in order, as the
// characters from U+0100 on (GPT-2's bytes_to_unicode).
const byteCharEnd = 0x100 + 68 // one past the last such character

var (
	byteChars = makeByteChars() // byte -> character
	charBytes = makeCharBytes() // character -> byte, -1 where it stands for none
)

func makeByteChars() (chars [256]rune) {
	next := rune(0x100)
	for b := range chars {
		if b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE {
			chars[b] = rune(b)
		} else {
			chars[b] = next
			next++
		}
	}
	return chars
}

func makeCharBytes() (bytes [byteCharEnd]int16) {
	for i := range bytes {
		bytes[i] = -1
	}
	for b, c := range makeByteChars() {
		bytes[c] = int16(b)
	}
	return bytes
}

// toByteChars spells the bytes of text in the byte-level alphabet.
func toByteChars(text string) string {
	var b strings.Builder
	b.Grow(2 * len(text))
	for i := range len(text) {
		b.WriteRune(byteChars[text[i]])
	}
	return b.String()
}

// appendByteLevel appends the bytes that a byte-level token stands for. A token
// with a character outside the alphabet (an added token) stands for itself.
func appendByteLevel(dst []byte, token string) []byte {
	start := len(dst)
	for _, c := range token {
		if c >= byteCharEnd || charBytes[c] < 0 {
			return append(dst[:start], token...)
		}
		dst = append(dst, byte(charBytes[c]))
	}
	return dst
}

// validUTF8 returns b as text with every maximal part of it that cannot belong to
// a character replaced by one U+FFFD, as Unicode recommends (3.9, D93b).
func validUTF8(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var out strings.Builder
	out.Grow(len(b) + 8)
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			n = brokenPrefix(b)
		}
		out.WriteRune(r)
		b = b[n:]
	}
	return out.String()
}

// brokenPrefix returns the length of the longest prefix of b that begins a
// character, at least 1; b does not begin with a whole character.
func brokenPrefix(b []byte) int {
	n := 1
	for n < len(b) && n < utf8.UTFMax && !utf8.FullRune(b[:n]) {
		if utf8.FullRune(b[:n+1]) {
			break // byte n cannot follow, or the character would be whole
		}
		n++
	}
	return n
}

// endsInsideRune reports whether b ends with the beginning of a character.
func endsInsideRune(b []byte) bool {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if tail := b[len(b)-n:]; utf8.RuneStart(tail[0]) {
			return !utf8.FullRune(tail)
		}
	}
	return false
}
