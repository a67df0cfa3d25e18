package jinja

import (
	"errors"
	"fmt"
	"html"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

func truncateFilter(s *scope, v Value, a args) (Value, error) {
	b, err := a.bind(0, "length", "killwords", "end", "leeway")
	if err != nil {
		return nil, err
	}
	text, isString := isText(v)
	if !isString {
		return nil, wanted("a string", v)
	}
	most, err := intOr(b[0], 255)
	if err != nil {
		return nil, err
	}
	end, err := textOr(b[2], "...")
	if err != nil {
		return nil, err
	}
	leeway := int64(5)
	if or(b[3], nil) != nil {
		if leeway, err = intOr(b[3], 5); err != nil {
			return nil, err
		}
	}
	if err := s.in.spend(len(text) / 16); err != nil {
		return nil, err
	}
	n, _ := length(text)
	room := most - int64(utf8.RuneCountInString(end))
	switch {
	case room < 0 || leeway < 0:
		return nil, errors.New("the length is less than that of the end, or the leeway is negative")
	case n <= most || n-most <= leeway:
		return v, nil
	}
	text = text[:byteOf(text, room)]
	if i := strings.LastIndexByte(text, ' '); i >= 0 && !truthOr(b[1], false) {
		text = text[:i]
	}
	return text + end, s.in.alloc(len(text) + len(end))
}

var word = regexp.MustCompile(`[\pL\pN_]+`)

func wordCountFilter(s *scope, v Value, a args) (Value, error) {
	if err := a.none(); err != nil {
		return nil, err
	}
	text, err := toText(s.in, v)
	if err == nil {
		err = s.in.alloc(8 * len(text))
	}
	if err == nil {
		err = s.in.spend(len(text))
	}
	if err != nil {
		return nil, err
	}
	return int64(len(word.FindAllStringIndex(text, -1))), nil
}

// wordWrapFilter breaks lines as Python's textwrap does, at white space and, where words are
// longer than a line, inside of them. Hyphens, at which textwrap breaks too, are refused.
func wordWrapFilter(s *scope, v Value, a args) (Value, error) {
	b, err := a.bind(0, "width", "break_long_words", "wrapstring", "break_on_hyphens")
	if err != nil {
		return nil, err
	}
	text, isString := isText(v)
	if !isString {
		return nil, wanted("a string", v)
	}
	width, err := intOr(b[0], 79)
	if err != nil {
		return nil, err
	}
	wrap := "\n"
	if or(b[2], nil) != nil {
		if wrap, err = textOr(b[2], wrap); err != nil {
			return nil, err
		}
	}
	if width <= 0 {
		return nil, errors.New("the width is not greater than 0")
	}
	if truthOr(b[3], true) && strings.Contains(text, "-") {
		return nil, errors.New("texts with hyphens are not supported, unless break_on_hyphens is false")
	}
	lines, err := linesOf(s.in, text, false)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, line := range lines {
		if err := s.in.alloc(64 * len(line)); err != nil {
			return nil, err
		}
		if err := s.in.spend(4 * len(line)); err != nil {
			return nil, err
		}
		wrapped := wrapLine(line, int(min(width, maxBytes)), truthOr(b[1], true))
		out = append(out, strings.Join(wrapped, wrap))
		if err := s.in.allocTimes(int64(len(wrapped)+1), len(wrap)); err != nil {
			return nil, err
		}
	}
	return strings.Join(out, wrap), nil
}

// wrapLine is textwrap.wrap of one line.
func wrapLine(line string, width int, breakLong bool) (lines []string) {
	space := func(s string) bool { return strings.TrimFunc(s, isASCIISpace) == "" }
	chunks := chunksOf(line)
	for len(chunks) > 0 {
		if len(lines) > 0 && space(chunks[0]) {
			chunks = chunks[1:]
		}
		var now []string
		n := 0
		for len(chunks) > 0 && n+utf8.RuneCountInString(chunks[0]) <= width {
			n += utf8.RuneCountInString(chunks[0])
			now, chunks = append(now, chunks[0]), chunks[1:]
		}
		if len(chunks) > 0 && utf8.RuneCountInString(chunks[0]) > width {
			switch {
			case breakLong:
				at := byteOf(chunks[0], int64(max(width-n, 1)))
				if width-n > 0 {
					now, chunks[0] = append(now, chunks[0][:at]), chunks[0][at:]
				}
			case len(now) == 0:
				now, chunks = append(now, chunks[0]), chunks[1:]
			}
		}
		if len(now) > 0 && space(now[len(now)-1]) {
			now = now[:len(now)-1]
		}
		if len(now) > 0 {
			lines = append(lines, strings.Join(now, ""))
		}
	}
	return lines
}

func isASCIISpace(r rune) bool { return r < utf8.RuneSelf && unicode.IsSpace(r) }

// chunksOf cuts a line into words and the white space between them.
func chunksOf(line string) (chunks []string) {
	for line != "" {
		first, _ := utf8.DecodeRuneInString(line)
		in := isASCIISpace(first)
		n := strings.IndexFunc(line, func(r rune) bool { return isASCIISpace(r) != in })
		if n < 0 {
			n = len(line)
		}
		chunks, line = append(chunks, line[:n]), line[n:]
	}
	return chunks
}

var (
	htmlComment = regexp.MustCompile(`(?s)<!--.*?-->`)
	htmlTag     = regexp.MustCompile(`(?s)<.*?>`)
)

func stripTagsFilter(s *scope, v Value, a args) (Value, error) {
	if err := a.none(); err != nil {
		return nil, err
	}
	text, err := toText(s.in, v)
	if err == nil {
		err = s.in.alloc(3 * len(text))
	}
	if err == nil {
		err = s.in.spend(2 * len(text))
	}
	if err != nil {
		return nil, err
	}
	text = htmlTag.ReplaceAllString(htmlComment.ReplaceAllString(text, ""), "")
	return html.UnescapeString(strings.Join(strings.FieldsFunc(text, isSpace), " ")), nil
}

// urlEncodeFilter escapes a text for a URL, or makes a query string of a dict or of pairs.
func urlEncodeFilter(s *scope, v Value, a args) (Value, error) {
	if err := a.none(); err != nil {
		return nil, err
	}
	var pairs []Value
	switch x := v.(type) {
	case *Dict:
		list, err := dictItems(s.in, x)
		if err != nil {
			return nil, err
		}
		pairs = list.items
	case *List, *tuple, *view, *generator:
		var err error
		if pairs, err = toList(s.in, x); err != nil {
			return nil, err
		}
	default:
		return urlQuote(s.in, v, false)
	}
	var out []string
	for _, p := range pairs {
		kv, err := toList(s.in, p)
		if err != nil {
			return nil, err
		}
		if len(kv) != 2 {
			return nil, fmt.Errorf("wants pairs of key and value, found %d items", len(kv))
		}
		k, err := urlQuote(s.in, kv[0], true)
		if err != nil {
			return nil, err
		}
		x, err := urlQuote(s.in, kv[1], true)
		if err != nil {
			return nil, err
		}
		out = append(out, k+"="+x)
	}
	return strings.Join(out, "&"), nil
}

// urlQuote escapes what stands in a URL or, query, in its query string.
func urlQuote(in *interp, v Value, query bool) (string, error) {
	text, err := toText(in, v)
	if err == nil {
		err = in.alloc(4 * len(text))
	}
	if err == nil {
		err = in.spend(len(text) / 2)
	}
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		switch {
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("_.-~", c) >= 0, c == '/' && !query:
			b.WriteByte(c)
		case c == ' ' && query:
			b.WriteByte('+')
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String(), nil
}

// xmlAttrFilter writes the attributes of an XML element.
func xmlAttrFilter(s *scope, v Value, a args) (Value, error) {
	b, err := a.bind(0, "autospace")
	if err != nil {
		return nil, err
	}
	d, ok := v.(*Dict)
	if !ok {
		return nil, wanted("a dict", v)
	}
	var out []string
	for i, k := range d.keys {
		if _, ok := d.values[i].(*undefined); ok || d.values[i] == nil {
			continue
		}
		name, err := textOr(k, "")
		if err != nil {
			return nil, err
		}
		if strings.ContainsAny(name, " \t\n\r\f\v/>=") {
			return nil, fmt.Errorf("%q cannot be the name of an attribute", name)
		}
		key, err := escapeValue(s.in, k)
		if err != nil {
			return nil, err
		}
		x, err := escapeValue(s.in, d.values[i])
		if err != nil {
			return nil, err
		}
		out = append(out, fmt.Sprintf(`%s="%s"`, key, x))
	}
	text := strings.Join(out, " ")
	if text != "" && truthOr(b[0], true) {
		text = " " + text
	}
	return text, nil
}

// pprintFilter is Python's pprint, of what fits into one line of 80 characters.
func pprintFilter(s *scope, v Value, a args) (Value, error) {
	if err := a.none(); err != nil {
		return nil, err
	}
	if d, ok := v.(*Dict); ok { // pprint sorts the keys
		sorted, err := dictSorted(s.in, d)
		if err != nil {
			return nil, err
		}
		v = sorted
	}
	text, err := toRepr(s.in, v)
	if err != nil {
		return nil, err
	}
	if len(text) > 80 || strings.Contains(text[1:], "{") {
		return nil, errors.New("what takes more than a line, or has dicts inside, is not supported; use tojson")
	}
	return text, nil
}
