package jinja

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strings"
)

// FromJSON returns a JSON value as a template sees it: objects keep the order of their keys,
// whole numbers are exact.
func FromJSON(data []byte) (Value, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := decode(dec, 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON value")
	}
	return v, nil
}

func decode(dec *json.Decoder, depth int) (Value, error) {
	if depth > maxDeep {
		return nil, fmt.Errorf("JSON is nested more than %d deep", maxDeep)
	}
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Number:
		return jsonNumber(string(t))
	case json.Delim:
		if t == '{' {
			return decodeObject(dec, depth)
		}
		l := &List{}
		for dec.More() {
			v, err := decode(dec, depth+1)
			if err != nil {
				return nil, err
			}
			l.items = append(l.items, v)
		}
		_, err := dec.Token()
		return l, err
	default:
		return token, nil // nil, bool or string
	}
}

func decodeObject(dec *json.Decoder, depth int) (Value, error) {
	d := &Dict{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		v, err := decode(dec, depth+1)
		if err != nil {
			return nil, err
		}
		d.Set(key.(string), v)
	}
	_, err := dec.Token()
	return d, err
}

// jsonNumber is an int in Python if it has neither a fraction nor an exponent.
func jsonNumber(text string) (Value, error) {
	if !strings.ContainsAny(text, ".eE") {
		if n, err := json.Number(text).Int64(); err == nil {
			return n, nil
		}
		n, ok := new(big.Int).SetString(text, 10)
		if !ok || len(text) > 4300 { // as many digits as Python reads
			return nil, fmt.Errorf("the number %.20s… is too long", text)
		}
		return n, nil
	}
	f, err := json.Number(text).Float64()
	if math.IsInf(f, 0) {
		return f, nil // as Python reads it
	}
	return f, err
}

// toJSONFilter is transformers' tojson: json.dumps(x, ensure_ascii=False, …).
func toJSONFilter(s *scope, v Value, a args) (Value, error) {
	b, err := a.bind(0, "ensure_ascii", "indent", "separators", "sort_keys")
	if err != nil {
		return nil, err
	}
	w := jsonWriter{in: s.in, comma: ", ", colon: ": ", ascii: truthOr(b[0], false), sorted: truthOr(b[3], false)}
	if x := or(b[1], nil); x != nil {
		w.lines, w.comma = true, ","
		if t, ok := isText(x); ok {
			w.indent = t
		} else {
			n, err := intOr(x, 0)
			if err == nil {
				err = s.in.allocTimes(n, 1)
			}
			if err != nil {
				return nil, err
			}
			w.indent = strings.Repeat(" ", int(max(n, 0)))
		}
	}
	if x := or(b[2], nil); x != nil {
		pair, err := toList(s.in, x)
		if err != nil {
			return nil, err
		}
		t, err := args{pos: pair}.texts(2, 2)
		if err != nil {
			return nil, fmt.Errorf("separators: %w", err)
		}
		w.comma, w.colon = t[0], t[1]
	}
	if err := w.value(v, 0); err != nil {
		return nil, err
	}
	return w.b.String(), nil
}

// jsonWriter writes JSON as Python's json does.
type jsonWriter struct {
	in            *interp
	b             strings.Builder
	comma, colon  string
	lines         bool // each item on a line of its own
	indent        string
	ascii, sorted bool
}

func (w *jsonWriter) value(v Value, depth int) error {
	if depth > maxDeep {
		return errors.New("lists are nested too deep")
	}
	switch v := v.(type) {
	case nil:
		return w.write("null")
	case bool:
		return w.write(strings.ToLower(scalar(v)))
	case float64:
		switch {
		case math.IsNaN(v):
			return w.write("NaN")
		case math.IsInf(v, 0):
			return w.write(map[bool]string{true: "Infinity", false: "-Infinity"}[v > 0])
		}
		return w.write(scalar(v))
	case int64, *big.Int:
		return w.write(scalar(v))
	case string:
		return w.text(v)
	case markup:
		return w.text(string(v))
	case *List:
		return w.list(v.items, depth)
	case *tuple:
		return w.list(v.items, depth)
	case *Dict:
		return w.dict(v, depth)
	case *undefined:
		return v
	}
	return fmt.Errorf("%s cannot be written as JSON", typeName(v))
}

func (w *jsonWriter) write(s string) error {
	w.b.WriteString(s)
	return w.in.alloc(len(s))
}

// line begins a line of its own for what is nested depth deep.
func (w *jsonWriter) line(depth int) error {
	if !w.lines {
		return nil
	}
	if err := w.in.allocTimes(int64(depth), len(w.indent)); err != nil {
		return err
	}
	return w.write("\n" + strings.Repeat(w.indent, depth))
}

func (w *jsonWriter) list(items []Value, depth int) error {
	return w.brackets("[", len(items), "]", depth, func(i int) error { return w.value(items[i], depth+1) })
}

// brackets writes n items.
func (w *jsonWriter) brackets(opens string, n int, closes string, depth int, item func(i int) error) error {
	if err := w.in.spend(1); err != nil {
		return err
	}
	if n == 0 {
		return w.write(opens + closes)
	}
	if err := w.write(opens); err != nil {
		return err
	}
	for i := range n {
		if i > 0 {
			if err := w.write(w.comma); err != nil {
				return err
			}
		}
		if err := w.line(depth + 1); err != nil {
			return err
		}
		if err := item(i); err != nil {
			return err
		}
	}
	if err := w.line(depth); err != nil {
		return err
	}
	return w.write(closes)
}

func (w *jsonWriter) dict(d *Dict, depth int) error {
	if w.sorted {
		var err error
		if d, err = dictSorted(w.in, d); err != nil {
			return err
		}
	}
	return w.brackets("{", len(d.keys), "}", depth, func(i int) error {
		switch k := d.keys[i].(type) {
		case string, markup:
			s, _ := isText(k)
			if err := w.text(s); err != nil {
				return err
			}
		case nil, bool, int64, float64, *big.Int:
			sub := jsonWriter{in: w.in}
			if err := sub.value(k, 0); err != nil {
				return err
			}
			if err := w.text(sub.b.String()); err != nil {
				return err
			}
		default:
			return fmt.Errorf("a key of type %s cannot be written as JSON", typeName(k))
		}
		if err := w.write(w.colon); err != nil {
			return err
		}
		return w.value(d.values[i], depth+1)
	})
}

var jsonEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}

func (w *jsonWriter) text(s string) error {
	if err := w.in.alloc(2*len(s) + 2); err != nil {
		return err
	}
	if err := w.in.spend(len(s) / 4); err != nil {
		return err
	}
	b := &w.b
	b.WriteByte('"')
	for _, r := range s {
		switch e, ok := jsonEscapes[r]; {
		case ok:
			b.WriteString(e)
		case r < ' ' || w.ascii && r > '~' && r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		case w.ascii && r >= 0x10000:
			r -= 0x10000
			fmt.Fprintf(b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return nil
}
