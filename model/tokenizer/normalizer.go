package tokenizer

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// normalizer rewrites text before it is split. It never changes an empty text.
type normalizer func(text string) string

func buildNormalizer(c *component, path string) (normalizer, error) {
	if c == nil {
		return func(text string) string { return text }, nil
	}
	switch c.Type {
	case "Sequence":
		return normalizerSequence(c.Normalizers, path)
	case "NFC":
		return norm.NFC.String, nil
	case "NFD":
		return norm.NFD.String, nil
	case "NFKC":
		return norm.NFKC.String, nil
	case "NFKD":
		return norm.NFKD.String, nil
	case "Lowercase":
		return lowercase, nil
	case "StripAccents":
		return stripAccents, nil
	case "Strip":
		left, right := isTrue(c.StripLeft, true), isTrue(c.StripRight, true)
		return func(text string) string { return stripSpace(text, left, right) }, nil
	case "Prepend":
		return func(text string) string {
			if text == "" {
				return text
			}
			return c.Prepend + text
		}, nil
	case "Replace":
		return buildReplace(c, path)
	}
	return nil, fmt.Errorf("%s: type %q is not supported (supported: Sequence, NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, Prepend, Replace)", path, c.Type)
}

func normalizerSequence(parts []component, path string) (normalizer, error) {
	steps := make([]normalizer, len(parts))
	for i := range parts {
		var err error
		if steps[i], err = buildNormalizer(&parts[i], fmt.Sprintf("%s.normalizers[%d]", path, i)); err != nil {
			return nil, err
		}
	}
	return func(text string) string {
		for _, step := range steps {
			text = step(text)
		}
		return text
	}, nil
}

// buildReplace makes the step that puts content where the pattern matches.
func buildReplace(c *component, path string) (func(string) string, error) {
	if s := c.Pattern.String; s != nil && *s != "" {
		return func(text string) string { return strings.ReplaceAll(text, *s, c.Content) }, nil
	}
	find, err := c.Pattern.compile(path)
	if err != nil {
		return nil, err
	}
	return func(text string) string {
		var out strings.Builder
		done := 0
		for _, m := range find(text) {
			out.WriteString(text[done:m.from])
			out.WriteString(c.Content)
			done = m.to
		}
		out.WriteString(text[done:])
		return out.String()
	}, nil
}

// lowercase maps character by character, without regard to a word's end: U+0130 is
// the one character whose lower case is two.
func lowercase(text string) string {
	return strings.ToLower(strings.ReplaceAll(text, "İ", "i̇"))
}

func stripAccents(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, text)
}

func stripSpace(text string, left, right bool) string {
	if left {
		text = strings.TrimLeftFunc(text, unicode.IsSpace)
	}
	if right {
		text = strings.TrimRightFunc(text, unicode.IsSpace)
	}
	return text
}

// isTrue reads an optional switch.
func isTrue(b *bool, otherwise bool) bool {
	if b == nil {
		return otherwise
	}
	return *b
}
