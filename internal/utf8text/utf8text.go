// Package utf8text finds out whether bytes are a text in UTF-8, and says where and what
// else they are. A byte that is none would be learned or read as another character.
package utf8text

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// BOM is the byte order mark that some editors write before a text in UTF-8.
const BOM = "\ufeff"

// Check reports the first byte that no text in UTF-8 has there, or a 0, which binary
// data have and texts do not. Bytes count from 0.
func Check(s string) error {
	valid := utf8.ValidString(s)
	zero := strings.IndexByte(s, 0)
	if valid && zero < 0 {
		return nil
	}
	if err := Encoding([]byte(s[:min(len(s), 4)])); err != nil {
		return err
	}
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)) {
			return fmt.Errorf("byte %d (0x%02x) is not UTF-8", i, s[i])
		}
		if r == 0 {
			return fmt.Errorf("byte %d is 0: binary data, not a text", i)
		}
	}
	return nil
}

// Encoding recognises UTF-16 and UTF-32 by their byte order mark, or by the zeros that an
// ASCII text has in them, in the first bytes of a text.
func Encoding(b []byte) error {
	name := ""
	zero := func(i int) bool { return i < len(b) && b[i] == 0 }
	letter := func(i int) bool { return i < len(b) && b[i] != 0 && b[i] < utf8.RuneSelf }
	switch {
	case bytes.HasPrefix(b, []byte{0xff, 0xfe, 0, 0}), bytes.HasPrefix(b, []byte{0, 0, 0xfe, 0xff}):
		name = "UTF-32"
	case bytes.HasPrefix(b, []byte{0xff, 0xfe}):
		name = "UTF-16LE"
	case bytes.HasPrefix(b, []byte{0xfe, 0xff}):
		name = "UTF-16BE"
	case letter(0) && zero(1) && letter(2) && zero(3):
		name = "UTF-16LE"
	case zero(0) && letter(1) && zero(2) && letter(3):
		name = "UTF-16BE"
	default:
		return nil
	}
	return fmt.Errorf("the text is in %s from byte 0 on, want UTF-8: convert it, as with iconv -f %s -t UTF-8", name, name)
}

// Visible shows control characters, which a terminal would obey.
func Visible(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r < ' ':
			return '␀' + r
		case unicode.IsControl(r):
			return unicode.ReplacementChar
		default:
			return r
		}
	}, text)
}
