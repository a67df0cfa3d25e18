package jinja

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// spec is how a value is formatted: [[fill]align][sign][#][0][width][,][.precision][type].
type spec struct {
	fill      string
	align     byte // < > ^ = or 0
	sign      byte // + - space or 0
	alternate bool
	width     int64
	grouping  string // "," or "_"
	precision int    // -1: none
	kind      byte   // 0: by the value's type
}

var specPattern = regexp.MustCompile(`^(?:(.)?([<>=^]))?([-+ ])?(#)?(0)?(\d{1,15})?([,_])?(?:\.(\d{1,9}))?([bcdeEfFgGnosxX%])?$`)

// formatValue is Python's format(v, text).
func formatValue(in *interp, v Value, text string) (string, error) {
	if text == "" {
		return toText(in, v)
	}
	if len(text) > 100 {
		return "", errors.New("the format is too long")
	}
	m := specPattern.FindStringSubmatch(text)
	if m == nil {
		return "", fmt.Errorf("unknown format %q", text)
	}
	s := spec{fill: m[1], precision: -1, alternate: m[4] != "", grouping: m[7]}
	for i, to := range map[int]*byte{2: &s.align, 3: &s.sign, 9: &s.kind} {
		if m[i] != "" {
			*to = m[i][0]
		}
	}
	if s.width, _ = strconv.ParseInt(m[6], 10, 64); m[8] != "" {
		s.precision, _ = strconv.Atoi(m[8])
	}
	if m[5] != "" && s.align == 0 {
		s.fill, s.align = "0", '='
	}
	if s.fill == "" {
		s.fill = " "
	}
	return s.format(in, v)
}

func (s spec) format(in *interp, v Value) (string, error) {
	if t, ok := isText(v); ok {
		if s.kind != 0 && s.kind != 's' || s.sign != 0 || s.align == '=' && s.fill != "0" || s.grouping != "" || s.alternate {
			return "", errors.New("this format is not one of strings")
		}
		if s.align == '=' {
			s.align = '<'
		}
		if s.precision >= 0 {
			t = t[:byteOf(t, int64(s.precision))]
		}
		return s.pad(in, "", t, '<')
	}
	n, isInt := toInt(v)
	if isInt && (s.kind == 0 || strings.IndexByte("bcdnoxX", s.kind) >= 0) {
		return s.integer(in, n)
	}
	f, ok := toFloat(v)
	if !ok || s.kind != 0 && strings.IndexByte("eEfFgGn%", s.kind) < 0 {
		return "", fmt.Errorf("a value of type %s has no such format", typeName(v))
	}
	return s.float(in, f)
}

func (s spec) integer(in *interp, n int64) (string, error) {
	if s.precision >= 0 {
		return "", errors.New("a whole number has no precision")
	}
	base, prefix := 10, ""
	switch s.kind {
	case 'c':
		if n < 0 || n > 0x10ffff {
			return "", errors.New("the number is no character's")
		}
		return s.pad(in, "", string(rune(n)), '<')
	case 'b':
		base, prefix = 2, "0b"
	case 'o':
		base, prefix = 8, "0o"
	case 'x':
		base, prefix = 16, "0x"
	case 'X':
		base, prefix = 16, "0X"
	}
	digits := strconv.FormatUint(magnitude(n), base)
	if s.kind == 'X' {
		digits = strings.ToUpper(digits)
	}
	every := 3
	if base != 10 {
		every = 4
	}
	if !s.alternate {
		prefix = ""
	}
	return s.pad(in, s.signOf(n < 0)+prefix, s.group(digits, every), '>')
}

func (s spec) signOf(negative bool) string {
	switch {
	case negative:
		return "-"
	case s.sign == '+' || s.sign == ' ':
		return string(s.sign)
	}
	return ""
}

// group puts the grouping sign between the digits before the point.
func (s spec) group(digits string, every int) string {
	if s.grouping == "" {
		return digits
	}
	whole := len(digits) - len(strings.TrimLeft(digits, "0123456789abcdefABCDEF"))
	var b strings.Builder
	for i, c := range digits {
		if i > 0 && i < whole && (whole-i)%every == 0 {
			b.WriteString(s.grouping)
		}
		b.WriteRune(c)
	}
	return b.String()
}

func (s spec) float(in *interp, f float64) (string, error) {
	if err := in.alloc(max(s.precision, 0) + 400); err != nil {
		return "", err
	}
	sign := s.signOf(math.Signbit(f))
	f = math.Abs(f)
	if math.IsInf(f, 0) || math.IsNaN(f) {
		text := map[bool]string{true: "nan", false: "inf"}[math.IsNaN(f)]
		if strings.IndexByte("EFG", s.kind) >= 0 {
			text = strings.ToUpper(text)
		}
		return s.pad(in, sign, text, '>')
	}
	precision := s.precision
	if precision < 0 {
		precision = 6
	}
	var text string
	switch s.kind {
	case 0:
		if s.precision < 0 {
			text = floatText(f)
		} else {
			text = general(f, max(precision, 1), s.alternate, true)
		}
	case 'e', 'E':
		text = strconv.FormatFloat(f, 'e', precision, 64)
	case 'f', 'F':
		text = strconv.FormatFloat(f, 'f', precision, 64)
	case '%':
		text = strconv.FormatFloat(f*100, 'f', precision, 64) + "%"
	default:
		text = general(f, max(precision, 1), s.alternate, false)
	}
	if s.kind == 'E' || s.kind == 'G' {
		text = strings.ToUpper(text)
	}
	return s.pad(in, sign, s.groupFloat(text), '>')
}

// groupFloat groups the digits before the point and the exponent.
func (s spec) groupFloat(text string) string {
	n := len(text) - len(strings.TrimLeft(text, "0123456789"))
	return s.group(text[:n], 3) + text[n:]
}

// general is the format g: with an exponent where it is shorter. whole keeps ".0".
func general(f float64, precision int, alternate, whole bool) string {
	scientific := strconv.FormatFloat(f, 'e', precision-1, 64)
	at := strings.IndexByte(scientific, 'e')
	exp, _ := strconv.Atoi(scientific[at+1:])
	top := precision
	if whole {
		top-- // as repr does: the point needs a digit behind it
	}
	if f != 0 && (exp < -4 || exp >= top) {
		digits := scientific[:at]
		if strings.Contains(digits, ".") && !alternate {
			digits = strings.TrimRight(strings.TrimRight(digits, "0"), ".")
		}
		return digits + scientific[at:]
	}
	text := strconv.FormatFloat(f, 'f', max(precision-1-exp, 0), 64)
	if strings.Contains(text, ".") && !alternate {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	if whole && !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// pad fills up to the width.
func (s spec) pad(in *interp, sign, text string, align byte) (string, error) {
	n := s.width - int64(len(sign)) - int64(utf8.RuneCountInString(text))
	if n <= 0 {
		return sign + text, in.alloc(len(text))
	}
	if err := in.allocTimes(n, len(s.fill)); err != nil {
		return "", err
	}
	if s.align != 0 {
		align = s.align
	}
	fill := func(n int64) string { return strings.Repeat(s.fill, int(n)) }
	switch align {
	case '<':
		return sign + text + fill(n), nil
	case '^':
		return fill(n/2) + sign + text + fill(n-n/2), nil
	case '=':
		if s.grouping != "" && s.fill == "0" {
			return "", errors.New("zeros in groups are not supported")
		}
		return sign + fill(n) + text, nil
	}
	return fill(n) + sign + text, nil
}
