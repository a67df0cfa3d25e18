package jinja

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
)

// toText is Python's str().
func toText(in *interp, v Value) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case markup:
		return string(v), nil
	case *undefined:
		return "", nil
	case nil, bool, int64, float64, *big.Int:
		return scalar(v), nil
	}
	return toRepr(in, v)
}

// toRepr is Python's repr().
func toRepr(in *interp, v Value) (string, error) {
	var b strings.Builder
	err := repr(in, &b, v, 0)
	return b.String(), err
}

// scalar prints a number, bool or None.
func scalar(v Value) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return floatText(v)
	case *big.Int:
		return v.String()
	}
	return ""
}

// floatText is Python's repr of a float: the shortest digits that read back the same.
func floatText(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	case f != 0 && (math.Abs(f) < 1e-4 || math.Abs(f) >= 1e16):
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func repr(in *interp, b *strings.Builder, v Value, depth int) error {
	if depth > maxDeep {
		return errors.New("lists are nested too deep to be printed")
	}
	before := b.Len()
	var err error
	switch v := v.(type) {
	case string:
		reprText(b, v)
	case markup:
		b.WriteString("Markup(")
		reprText(b, string(v))
		b.WriteByte(')')
	case nil, bool, int64, float64, *big.Int:
		b.WriteString(scalar(v))
	case *undefined:
		b.WriteString("Undefined")
	case *List:
		return reprItems(in, b, "[", v.items, "]", depth)
	case *tuple:
		if len(v.items) == 1 {
			return reprItems(in, b, "(", v.items, ",)", depth)
		}
		return reprItems(in, b, "(", v.items, ")", depth)
	case *view:
		return reprItems(in, b, "dict_"+v.what+"([", v.list.items, "])", depth)
	case *Dict:
		return reprDict(in, b, v, depth)
	case *namespace:
		b.WriteString("<Namespace ")
		if err := reprDict(in, b, &v.attrs, depth); err != nil {
			return err
		}
		b.WriteByte('>')
	case *integers:
		fmt.Fprintf(b, "range(%d, %d", v.start, v.stop)
		if v.step != 1 {
			fmt.Fprintf(b, ", %d", v.step)
		}
		b.WriteByte(')')
	case *macro:
		b.WriteString("<Macro ")
		reprText(b, v.sig.name)
		b.WriteByte('>')
	case *loop:
		n, err := v.length()
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "<LoopContext %d/%d>", v.index+1, n)
	default:
		return fmt.Errorf("%s is printed, whose text says nothing; make a list of it (|list), or call it", typeName(v))
	}
	if err == nil {
		err = in.alloc(b.Len() - before)
	}
	if err == nil {
		err = in.spend(1 + (b.Len()-before)/4)
	}
	return err
}

func reprItems(in *interp, b *strings.Builder, opens string, items []Value, closes string, depth int) error {
	if err := in.alloc(2*len(items) + len(opens) + len(closes)); err != nil {
		return err
	}
	b.WriteString(opens)
	for i, x := range items {
		if i > 0 {
			b.WriteString(", ")
		}
		if err := repr(in, b, x, depth+1); err != nil {
			return err
		}
	}
	b.WriteString(closes)
	return in.spend(1)
}

func reprDict(in *interp, b *strings.Builder, d *Dict, depth int) error {
	if err := in.alloc(4*len(d.keys) + 2); err != nil {
		return err
	}
	b.WriteByte('{')
	for i, k := range d.keys {
		if i > 0 {
			b.WriteString(", ")
		}
		if err := repr(in, b, k, depth+1); err != nil {
			return err
		}
		b.WriteString(": ")
		if err := repr(in, b, d.values[i], depth+1); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return in.spend(1)
}

// reprText is Python's repr of a string.
func reprText(b *strings.Builder, s string) {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	b.WriteByte(quote)
	for _, r := range s {
		switch {
		case r == rune(quote) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			fmt.Fprintf(b, `\U%08x`, r)
		}
	}
	b.WriteByte(quote)
}
