package jinja

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
)

// textFunc is a method of str, without the markup around it. Its result is within the
// bounds.
type textFunc func(in *interp, s string, a args) (Value, error)

func init() {
	textMethods = map[string]methodFunc{
		"format": formatMethod, "format_map": formatMapMethod,
		"encode": unsupported, "maketrans": unsupported, "translate": unsupported,
	}
	for name, f := range map[string]textFunc{
		"lower": mapping(lowerText), "upper": mapping(upperText), "casefold": mapping(cases.Fold().String),
		"swapcase": mapping(swapCase), "capitalize": mapping(capitalize), "title": mapping(titleText),
		"strip": stripping(true, true), "lstrip": stripping(true, false), "rstrip": stripping(false, true),
		"removeprefix": affix(strings.TrimPrefix), "removesuffix": affix(strings.TrimSuffix),
		"startswith": startsOrEnds(strings.HasPrefix), "endswith": startsOrEnds(strings.HasSuffix),
		"replace": replaceText, "find": finding(strings.Index, false), "rfind": finding(strings.LastIndex, false),
		"index": finding(strings.Index, true), "rindex": finding(strings.LastIndex, true), "count": countText,
		"split": splitting(false), "rsplit": splitting(true), "splitlines": splitLines,
		"partition": partition(false), "rpartition": partition(true), "join": joinText,
		"zfill": zfill, "center": padding(padCenter), "ljust": padding(padLeft), "rjust": padding(padRight), "expandtabs": expandTabs,
		"isalpha": all(unicode.IsLetter), "isdigit": all(isDigit), "isdecimal": all(unicode.IsDigit), "isnumeric": all(unicode.IsNumber),
		"isalnum": all(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }), "isspace": all(isSpace),
		"isupper": cased(unicode.IsUpper, unicode.IsLower), "islower": cased(unicode.IsLower, unicode.IsUpper), "istitle": test(isTitle),
		"isascii":      test(isASCII),
		"isprintable":  test(func(s string) bool { return strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 }),
		"isidentifier": test(isIdentifier),
	} {
		textMethods[name] = textMethod(name, f)
	}
}

// escaping are the methods that give markup of markup.
const escaping = `capitalize title lower upper replace ljust rjust lstrip rstrip center strip expandtabs
	swapcase zfill partition rpartition join split rsplit splitlines`

// textMethod makes a method of str and of markup: there, what is put in is escaped first,
// and what comes out is markup.
func textMethod(name string, f textFunc) methodFunc {
	escapes := slices.Contains(strings.Fields(escaping), name)
	return func(s *scope, self Value, a args) (Value, error) {
		text, _ := isText(self)
		if err := s.in.spend(1 + len(text)/16); err != nil {
			return nil, err
		}
		if _, ok := self.(markup); !ok || !escapes {
			return f(s.in, text, a)
		}
		pos := make([]Value, len(a.pos))
		for i, v := range a.pos {
			pos[i] = v
			if t, ok := v.(string); ok && !strings.HasSuffix(name, "split") {
				e, err := escaped(s.in, t)
				if err != nil {
					return nil, err
				}
				pos[i] = e
			}
			if name == "join" {
				list, err := toList(s.in, v)
				if err != nil {
					return nil, err
				}
				if pos[i], err = escapedList(s.in, list); err != nil {
					return nil, err
				}
			}
		}
		v, err := f(s.in, text, args{pos, a.names, a.values})
		return marked(v), err
	}
}

// escapedList escapes all of a list.
func escapedList(in *interp, list []Value) (Value, error) {
	out := make([]Value, len(list))
	for i, v := range list {
		var err error
		if out[i], err = escapeValue(in, v); err != nil {
			return nil, err
		}
	}
	return in.list(out)
}

// marked makes markup of a string, or of those of a list.
func marked(v Value) Value {
	switch v := v.(type) {
	case string:
		return markup(v)
	case *List:
		return &List{markedItems(v.items)}
	case *tuple:
		return &tuple{items: markedItems(v.items)}
	}
	return v
}

func markedItems(items []Value) []Value {
	out := make([]Value, len(items))
	for i, x := range items {
		out[i] = marked(x)
	}
	return out
}

// texts returns between least and most arguments by place, all of them strings.
func (a args) texts(least, most int) ([]string, error) {
	if err := a.unnamed(); err != nil {
		return nil, err
	}
	if n := len(a.pos); n < least || n > most {
		return nil, fmt.Errorf("wants %d to %d arguments, %d are given", least, most, n)
	}
	out := make([]string, len(a.pos))
	for i, v := range a.pos {
		s, err := textOr(v, "")
		if err != nil {
			return nil, err
		}
		out[i] = s
	}
	return out, nil
}

// mapping is a method without arguments that may lengthen a text threefold.
func mapping(f func(string) string) textFunc {
	return func(in *interp, s string, a args) (Value, error) {
		if err := a.none(); err != nil {
			return nil, err
		}
		if err := in.alloc(3 * len(s)); err != nil {
			return nil, err
		}
		return f(s), nil
	}
}

func test(is func(string) bool) textFunc {
	return func(_ *interp, s string, a args) (Value, error) { return is(s), a.none() }
}

func all(is func(rune) bool) textFunc {
	return test(func(s string) bool {
		return s != "" && strings.IndexFunc(s, func(r rune) bool { return !is(r) }) < 0
	})
}

// cased is isupper or islower: some character is of the one case, and none of the other.
func cased(is, is2 func(rune) bool) textFunc {
	return test(func(s string) bool {
		found := false
		for _, r := range s {
			if is2(r) || unicode.IsTitle(r) {
				return false
			}
			found = found || is(r)
		}
		return found
	})
}

// isDigit is str.isdigit: decimal digits and those set high or low, or in circles.
func isDigit(r rune) bool {
	return unicode.IsDigit(r) || strings.ContainsRune("²³¹⁰⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉", r) || 0x2460 <= r && r <= 0x2468 || 0x2474 <= r && r <= 0x247c || 0x2488 <= r && r <= 0x2490
}

func isIdentifier(s string) bool {
	for i, r := range s {
		if !isNameRune(r) || i == 0 && r != '_' && !unicode.IsLetter(r) {
			return false
		}
	}
	return s != ""
}

// stripping is strip, lstrip or rstrip.
func stripping(left, right bool) textFunc {
	return func(in *interp, s string, a args) (Value, error) {
		cut := isSpace
		if len(a.pos) == 1 && a.pos[0] == nil {
			a.pos = nil
		}
		t, err := a.texts(0, 1)
		if err != nil {
			return nil, err
		}
		if len(t) == 1 {
			set := map[rune]bool{}
			for _, r := range t[0] {
				set[r] = true
			}
			if err := in.alloc(16 * len(t[0])); err != nil {
				return nil, err
			}
			cut = func(r rune) bool { return set[r] }
		}
		if left {
			s = strings.TrimLeftFunc(s, cut)
		}
		if right {
			s = strings.TrimRightFunc(s, cut)
		}
		return s, nil
	}
}

func affix(trim func(s, affix string) string) textFunc {
	return func(_ *interp, s string, a args) (Value, error) {
		t, err := a.texts(1, 1)
		if err != nil {
			return nil, err
		}
		return trim(s, t[0]), nil
	}
}

// startsOrEnds is startswith or endswith, with a string or a tuple of them.
func startsOrEnds(has func(s, affix string) bool) textFunc {
	return func(in *interp, s string, a args) (Value, error) {
		v, err := a.bind(1, "/prefix", "/start", "/stop")
		if err != nil {
			return nil, err
		}
		s, _, ok, err := part(s, v[1], v[2])
		if err != nil {
			return nil, err
		}
		options := []Value{v[0]}
		if t, ok := v[0].(*tuple); ok {
			options = t.items
		}
		for _, o := range options {
			t, isString := isText(o)
			if !isString {
				return nil, wanted("a string or a tuple of strings", o)
			}
			if err := in.spend(1 + len(t)/64); err != nil {
				return nil, err
			}
			if ok && has(s, t) {
				return true, nil
			}
		}
		return false, nil
	}
}

// part returns the characters from start to stop and how many stand before them; ok is
// false where start lies behind the end, where not even "" is found.
func part(s string, start, stop Value) (text string, before int64, ok bool, err error) {
	if start == (missing{}) && stop == (missing{}) {
		return s, 0, true, nil
	}
	n := int64(utf8.RuneCountInString(s))
	from, to := int64(0), n
	if start != nil {
		if from, err = intOr(start, 0); err != nil {
			return "", 0, false, err
		}
	}
	if stop != nil {
		if to, err = intOr(stop, n); err != nil {
			return "", 0, false, err
		}
	}
	if from > n {
		return "", 0, false, nil
	}
	from, to = clip(from, n), clip(to, n)
	if from > to {
		return "", 0, false, nil
	}
	return s[byteOf(s, from):byteOf(s, to)], from, true, nil
}

// finding is find, rfind, index or rindex (fails).
func finding(index func(s, sub string) int, fails bool) textFunc {
	return func(_ *interp, s string, a args) (Value, error) {
		v, err := a.bind(1, "/sub", "/start", "/stop")
		if err != nil {
			return nil, err
		}
		sub, err := textOr(v[0], "")
		if err != nil {
			return nil, err
		}
		s, before, ok, err := part(s, v[1], v[2])
		if err != nil {
			return nil, err
		}
		if i := index(s, sub); ok && i >= 0 {
			return before + int64(utf8.RuneCountInString(s[:i])), nil
		}
		if fails {
			return nil, errors.New("the string was not found")
		}
		return int64(-1), nil
	}
}

func countText(_ *interp, s string, a args) (Value, error) {
	v, err := a.bind(1, "/sub", "/start", "/stop")
	if err != nil {
		return nil, err
	}
	sub, err := textOr(v[0], "")
	if err != nil {
		return nil, err
	}
	s, _, ok, err := part(s, v[1], v[2])
	if err != nil || !ok {
		return int64(0), err
	}
	return int64(strings.Count(s, sub)), nil
}
