package hf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// object reads typed values from a decoded JSON object. The first failure is
// kept and names the file, the key's path, what was found and what was wanted;
// a caller reads all it needs and looks at the failure once. What was read is
// kept too: see keys.
type object struct {
	file   string
	path   string         // of the object within the file: "" or "rope_scaling."
	values map[string]any // numbers as json.Number, so that integers stay exact

	// Shared with the objects inside this one.
	root     map[string]any    // all that the file holds, by its own names
	source   map[string]string // the file's names of paths, where they differ: of a GGUF file's metadata
	metadata string            // what the names of an architecture's metadata begin with: "llama."; "" for JSON
	read     map[string]bool   // the file's names of what was asked for
	dropped  map[string]any    // what the user wants to be ignored, by path
	err      *error
}

// parseObject decodes the JSON object that a file consists of.
func parseObject(file string, text []byte) (object, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var values map[string]any
	if err := dec.Decode(&values); err != nil {
		line := 1 + bytes.Count(text[:errorOffset(err, text)], []byte("\n"))
		return object{}, fmt.Errorf("%s: line %d: invalid JSON: %w", file, line, noEOF(err))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		line := 1 + bytes.Count(text[:dec.InputOffset()], []byte("\n"))
		return object{}, fmt.Errorf("%s: line %d: found more after the JSON object", file, line)
	}
	return newObject(file, values), nil
}

// errorOffset returns where in the text a decoder failed.
func errorOffset(err error, text []byte) int {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return min(int(syntax.Offset), len(text))
	}
	return len(text)
}

func newObject(file string, values map[string]any) object {
	return object{file: file, values: values, root: values, source: map[string]string{}, read: map[string]bool{}, err: new(error)}
}

// name is what the file calls a key of this object.
func (o object) name(key string) string {
	record := strings.TrimSuffix(o.path, ".")
	if from, ok := o.source[o.path+key]; ok {
		return from
	}
	if from, ok := o.source[record]; ok {
		return from + "." + key
	}
	return o.path + key
}

// value returns what stands under a key, nil if that is nothing or null.
func (o object) value(key string) any {
	o.read[o.name(key)] = true
	return o.values[key]
}

// fail keeps the first failure. A nil found means that the key is absent or null.
func (o object) fail(key string, found any, want string) {
	if *o.err != nil {
		return
	}
	*o.err = fmt.Errorf("%s: %s: found %s, want %s", o.file, o.name(key), shown(found), want)
}

// shown returns a value for a message; nil is nothing.
func shown(found any) string {
	if found == nil {
		return "nothing"
	}
	text := fmt.Sprint(found)
	if b, err := json.Marshal(found); err == nil {
		text = string(b)
	}
	if len(text) > 80 {
		text = strings.ToValidUTF8(text[:80], "") + "…"
	}
	return text
}

// has says whether the key has a value other than null.
func (o object) has(key string) bool { return o.value(key) != nil }

// integer returns an integer between low and high; absent or null gives the default.
func (o object) integer(key string, low, high, otherwise int) int {
	v := o.value(key)
	if v == nil {
		return otherwise
	}
	n, ok := v.(json.Number)
	i, err := strconv.Atoi(n.String())
	if !ok || err != nil || i < low || i > high {
		o.fail(key, v, fmt.Sprintf("an integer from %d to %d", low, high))
		return otherwise
	}
	return i
}

// maxSize bounds every size in a configuration, so that their products stay far
// from overflow.
const maxSize = 1 << 28

// size returns a required positive integer.
func (o object) size(key string) int {
	if !o.has(key) {
		o.fail(key, nil, "a positive integer; is the file complete?")
	}
	return o.integer(key, 1, maxSize, 0)
}

// number returns a finite number of at least low; absent or null gives the default.
func (o object) number(key string, low, otherwise float64) float64 {
	v := o.value(key)
	if v == nil {
		return otherwise
	}
	n, ok := v.(json.Number)
	f, err := strconv.ParseFloat(n.String(), 64)
	if !ok || err != nil || f < low || math.IsInf(f, 0) || math.IsNaN(f) {
		o.fail(key, v, "a number of at least "+strconv.FormatFloat(low, 'g', -1, 64))
		return otherwise
	}
	return f
}

func (o object) boolean(key string, otherwise bool) bool {
	v := o.value(key)
	if v == nil {
		return otherwise
	}
	b, ok := v.(bool)
	if !ok {
		o.fail(key, v, "true or false")
	}
	return b
}

func (o object) text(key, otherwise string) string {
	v := o.value(key)
	if v == nil {
		return otherwise
	}
	s, ok := v.(string)
	if !ok {
		o.fail(key, v, "a text")
	}
	return s
}

// texts returns a list of texts; absent or null gives nil.
func (o object) texts(key string) []string {
	return list(o, key, "a list of texts", func(v any) (string, bool) {
		s, ok := v.(string)
		return s, ok
	})
}

// factors returns a list of positive numbers; absent or null gives nil.
func (o object) factors(key string) []float64 {
	return list(o, key, "a list of positive numbers", func(v any) (float64, bool) {
		n, ok := v.(json.Number)
		f, err := strconv.ParseFloat(n.String(), 64)
		return f, ok && err == nil && f > 0
	})
}

// tokens returns one token id or a list of them; absent or null gives nil.
func (o object) tokens(key string, vocab int) []int {
	if _, ok := o.value(key).(json.Number); ok {
		return []int{o.integer(key, 0, vocab-1, 0)}
	}
	want := fmt.Sprintf("a token id from 0 to %d or a list of them", vocab-1)
	return list(o, key, want, func(v any) (int, bool) {
		n, ok := v.(json.Number)
		i, err := strconv.Atoi(n.String())
		return i, ok && err == nil && i >= 0 && i < vocab
	})
}

func list[T any](o object, key, want string, item func(any) (T, bool)) []T {
	v := o.value(key)
	if v == nil {
		return nil
	}
	all, ok := v.([]any)
	if !ok {
		o.fail(key, v, want)
	}
	var out []T
	for i, v := range all {
		x, ok := item(v)
		if !ok {
			o.fail(key+"["+strconv.Itoa(i)+"]", v, want)
			return nil
		}
		out = append(out, x)
	}
	return out
}

// child returns the object under a key; absent or null gives one without values.
func (o object) child(key string) object {
	c := o
	c.path, c.values = o.path+key+".", nil
	if v := o.value(key); v != nil {
		var ok bool
		if c.values, ok = v.(map[string]any); !ok {
			o.fail(key, v, "an object")
		}
	}
	return c
}
