// Package enum reads words that stand for one of a few values, and words the error for
// any other: what was found, the value that was probably meant, and all that there are.
package enum

import (
	"fmt"
	"slices"
	"strings"

	"eisft/internal/nearest"
)

// Check reports a value that is not one of those allowed. The error begins with what
// holds the value: a key, a flag, a field.
func Check[T ~string](what string, v T, allowed ...T) error {
	if slices.Contains(allowed, v) {
		return nil
	}
	return fmt.Errorf("%s %s", what, Mismatch(v, allowed))
}

// Mismatch is Check's error without its subject: is "gat"; did you mean "gate"? It must
// be one of …
func Mismatch[T ~string](v T, allowed []T) string {
	hint := "it"
	if near := nearest.Name(string(v), words(allowed)); near != "" {
		hint = fmt.Sprintf("did you mean %q? It", near)
	}
	return fmt.Sprintf("is %q; %s must be one of %s", string(v), hint, List(allowed))
}

// List writes values one after another: minmax, mse, percentile.
func List[T ~string](values []T) string { return strings.Join(words(values), ", ") }

func words[T ~string](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

// Table holds the things of one kind that have names (gates, schemes, policies), in the
// order in which they are listed to people.
type Table[K ~string, V any] struct {
	what    string // "scheme": how errors call the kind
	names   []K
	entries map[K]V
}

// NewTable returns an empty table of a kind.
func NewTable[K ~string, V any](what string) *Table[K, V] {
	return &Table[K, V]{what: what, entries: map[K]V{}}
}

// With adds an entry and returns the table. It panics if the name is taken: tables are
// made when the program starts.
func (t *Table[K, V]) With(name K, v V) *Table[K, V] {
	if _, taken := t.entries[name]; taken {
		panic(fmt.Sprintf("enum: %s %q is there twice", t.what, string(name)))
	}
	t.names = append(t.names, name)
	t.entries[name] = v
	return t
}

// Names lists the names in their order.
func (t *Table[K, V]) Names() []K { return slices.Clone(t.names) }

// Get returns the entry of a name that is known to be in the table; of any other, the
// zero value.
func (t *Table[K, V]) Get(name K) V { return t.entries[name] }

// Find returns the entry that a word names. The error says what was probably meant.
func (t *Table[K, V]) Find(word K) (V, error) {
	if err := Check(t.what, word, t.names...); err != nil {
		var none V
		return none, err
	}
	return t.entries[word], nil
}
