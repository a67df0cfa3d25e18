package jinja

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

func absFilter(_ *scope, v Value, a args) (Value, error) {
	if err := a.none(); err != nil {
		return nil, err
	}
	if n, ok := toInt(v); ok && n != math.MinInt64 {
		return max(n, -n), nil
	}
	if f, ok := v.(float64); ok {
		return math.Abs(f), nil
	}
	return nil, wanted("a number", v)
}

func intFilter(s *scope, v Value, a args) (Value, error) {
	b, err := a.bind(0, "default", "base")
	if err != nil {
		return nil, err
	}
	base, err := intOr(b[1], 10)
	if err != nil {
		return nil, err
	}
	switch x := v.(type) {
	case *big.Int:
		return x, nil
	case *undefined:
		return nil, x
	}
	if n, ok := toInt(v); ok {
		return n, nil
	}
	if t, ok := isText(v); ok {
		n, err := parseInt(s.in, t, base)
		if err == nil {
			return n, nil
		}
		if errors.Is(err, strconv.ErrRange) {
			return nil, errOverflow
		}
	}
	f, ok, err := parseFloat(s.in, v)
	switch {
	case err != nil:
		return nil, err
	case !ok || math.IsNaN(f):
		return or(b[0], int64(0)), nil
	case math.Abs(f) >= 1<<63:
		return nil, errOverflow
	}
	return int64(f), nil
}

// parseInt is int(text, base).
func parseInt(in *interp, text string, base int64) (int64, error) {
	if err := onlyASCIIDigits(in, text); err != nil {
		return 0, err
	}
	if base != 0 && (base < 2 || base > 36) {
		return 0, strconv.ErrSyntax
	}
	t := strings.ToLower(strings.TrimFunc(text, isSpace))
	sign := ""
	if t != "" && (t[0] == '-' || t[0] == '+') {
		sign, t = t[:1], t[1:]
	}
	for prefix, b := range map[string]int64{"0x": 16, "0o": 8, "0b": 2} {
		if rest, ok := strings.CutPrefix(t, prefix); ok && (base == b || base == 0) {
			t, base = strings.TrimPrefix(rest, "_"), b
		}
	}
	if base == 0 {
		if base = 10; len(t) > 1 && t[0] == '0' && strings.Trim(t, "0_") != "" {
			return 0, strconv.ErrSyntax
		}
	}
	digits, ok := withoutUnderscores(t)
	if !ok || digits == "" || digits[0] == '-' || digits[0] == '+' {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseInt(sign+digits, int(base), 64)
}

// onlyASCIIDigits refuses the digits of other scripts, which Python reads.
func onlyASCIIDigits(in *interp, text string) error {
	for _, r := range text {
		if r >= utf8.RuneSelf && unicode.IsDigit(r) {
			return fmt.Errorf("the digit %q is not supported", r)
		}
	}
	return in.spend(len(text) / 4)
}

// withoutUnderscores drops the underscores of a number, which stand between digits.
func withoutUnderscores(t string) (string, bool) {
	if strings.HasPrefix(t, "_") || strings.HasSuffix(t, "_") || strings.Contains(t, "__") {
		return "", false
	}
	return strings.ReplaceAll(t, "_", ""), true
}

func floatFilter(s *scope, v Value, a args) (Value, error) {
	b, err := a.bind(0, "default")
	if err != nil {
		return nil, err
	}
	if u, ok := v.(*undefined); ok {
		return nil, u
	}
	f, ok, err := parseFloat(s.in, v)
	if err != nil || ok {
		return f, err
	}
	return or(b[0], 0.0), nil
}

// parseFloat is float(v); ok is false where Python fails.
func parseFloat(in *interp, v Value) (f float64, ok bool, err error) {
	if f, ok := toFloat(v); ok {
		return f, true, nil
	}
	t, ok := isText(v)
	if !ok {
		return 0, false, nil
	}
	if err := onlyASCIIDigits(in, t); err != nil {
		return 0, false, err
	}
	t = strings.ToLower(strings.TrimFunc(t, isSpace))
	t, ok = withoutUnderscores(t)
	if !ok || strings.ContainsAny(t, "xp") { // Go reads hexadecimal ones, too
		return 0, false, nil
	}
	f, err = strconv.ParseFloat(t, 64)
	return f, err == nil || errors.Is(err, strconv.ErrRange), nil
}

func roundFilter(_ *scope, v Value, a args) (Value, error) {
	b, err := a.bind(0, "precision", "method")
	if err != nil {
		return nil, err
	}
	digits, err := intOr(b[0], 0)
	if err != nil {
		return nil, err
	}
	method, err := textOr(b[1], "common")
	if err != nil {
		return nil, err
	}
	f, ok := toFloat(v)
	if !ok {
		return nil, wanted("a number", v)
	}
	if digits < -400 || digits > 400 {
		return nil, errors.New("the precision is more than 400 digits")
	}
	switch method {
	case "common":
		if n, ok := toInt(v); ok {
			return roundInt(n, digits)
		}
		return roundFloat(f, int(digits)), nil
	case "ceil", "floor":
		scale := math.Pow(10, float64(digits))
		if method == "ceil" {
			return math.Ceil(f*scale) / scale, nil
		}
		return math.Floor(f*scale) / scale, nil
	}
	return nil, errors.New("the method must be common, ceil or floor")
}

// roundInt is round(n, digits) of a whole number: half to even.
func roundInt(n, digits int64) (Value, error) {
	if digits >= 0 {
		return n, nil
	}
	if digits < -18 {
		return int64(0), nil
	}
	unit := int64(math.Pow10(int(-digits)))
	q, r := n/unit, n%unit
	if 2*magnitude(r) > uint64(unit) || 2*magnitude(r) == uint64(unit) && q%2 != 0 {
		if n < 0 {
			q--
		} else {
			q++
		}
	}
	return multiply(q, unit)
}

// roundFloat is round(f, digits): to the decimal nearest to the exact value of f.
func roundFloat(f float64, digits int) float64 {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return f
	}
	if digits >= 0 {
		r, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'f', digits, 64), 64)
		return r
	}
	unit := math.Pow10(-digits)
	return math.RoundToEven(f/unit) * unit
}
