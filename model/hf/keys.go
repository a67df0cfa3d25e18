package hf

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Key is a key of a model's configuration and what became of it.
type Key struct {
	Name   string `json:"name"`  // as the file has it: "rope_scaling.factor", "llama.rope.freq_base"
	Value  string `json:"value"` // as JSON, long ones cut
	Use    Use    `json:"use"`
	Reason string `json:"reason,omitempty"` // why it is not used
}

// Use says what became of a key.
type Use string

// The uses of keys. A configuration with a refused one is an error.
const (
	KeyUsed    Use = "used"
	KeyIgnored Use = "ignored" // it changes nothing here
	KeyUnknown Use = "unknown" // not understood; its name speaks of nothing that is computed
	KeyRefused Use = "refused" // not understood, and it may change what the model computes
)

// Warnings names the keys of the configuration that are not understood, though their
// names speak of nothing that is computed.
func (c *Config) Warnings() []string {
	var names []string
	for _, k := range c.Keys {
		if k.Use == KeyUnknown {
			names = append(names, k.Name)
		}
	}
	if names == nil {
		return nil
	}
	return []string{fmt.Sprintf("the model's configuration has keys that are not understood and are ignored: %s", strings.Join(names, ", "))}
}

// checkKeys keeps in c what became of each key of the file, and refuses those that are not
// understood and may change what the model computes.
func (c *Config) checkKeys(o object, ignored map[string]string) {
	c.Keys = o.keys(ignored)
	for _, key := range slices.Sorted(maps.Keys(o.dropped)) {
		c.Keys = append(c.Keys, Key{Name: key, Value: brief(o.dropped[key]), Use: KeyIgnored, Reason: "listed under model.ignore"})
	}
	slices.SortStableFunc(c.Keys, func(a, b Key) int { return strings.Compare(a.Name, b.Name) })
	if *o.err == nil && slices.ContainsFunc(c.Keys, func(k Key) bool { return k.Use == KeyRefused }) {
		*o.err = &KeysError{File: o.file, Architecture: c.Architecture, Keys: c.Keys}
	}
}

// KeysError says that a configuration has keys that are refused.
type KeysError struct {
	File, Architecture string
	Keys               []Key // all of the file
}

func (e *KeysError) Error() string {
	var names, found []string
	for _, k := range e.Keys {
		if k.Use != KeyRefused {
			continue
		}
		text := k.Name + ": found " + k.Value
		if k.Reason != "" {
			text += ", " + k.Reason
		}
		names, found = append(names, k.Name), append(found, text)
	}
	return fmt.Sprintf("%s: %s; this is not understood for %s and may change what the model computes: if you know that it does not, list it in the training configuration, under model, as ignore: [%s]",
		e.File, strings.Join(found, "; "), e.Architecture, strings.Join(names, ", "))
}

// keys lists the keys of the file that was read; ignored are those of the family.
func (o object) keys(ignored map[string]string) []Key {
	if o.metadata != "" {
		return o.metadataKeys(ignored)
	}
	return o.recordKeys("", o.root, configRules.with(ignored))
}

// recordKeys lists the keys of a record, and of the records in it that were read.
func (o object) recordKeys(path string, record map[string]any, r rules) []Key {
	var out []Key
	for _, key := range slices.Sorted(maps.Keys(record)) {
		v, name := record[key], path+key
		inner, isRecord := v.(map[string]any)
		if !isRecord || !o.read[name] || len(inner) == 0 {
			out = append(out, r.judge(name, key, v, record, o.read[name]))
			continue
		}
		within := r
		if strings.HasPrefix(name, "rope_") {
			within = ropeRules
		}
		out = append(out, o.recordKeys(name+".", inner, within)...)
	}
	return out
}

// metadataKeys lists the metadata of a GGUF file.
func (o object) metadataKeys(ignored map[string]string) []Key {
	var out []Key
	own := map[string]any{} // the architecture's, without its name
	for name, v := range o.root {
		if key, ok := strings.CutPrefix(name, o.metadata); ok {
			own[key] = v
		}
	}
	r := metadataRules.with(ignored)
	for _, name := range slices.Sorted(maps.Keys(o.root)) {
		key, ours := strings.CutPrefix(name, o.metadata)
		if ours {
			out = append(out, r.judge(name, key, o.root[name], own, o.read[name]))
		} else {
			out = append(out, fileRules.judge(name, name, o.root[name], o.root, o.read[name]))
		}
	}
	return out
}

// rules say what is known of the keys of one kind of record that nothing reads.
type rules struct {
	harmless map[string]harmless
	patterns []pattern
	ignored  map[string]string
	// computes tells whether the name of an unknown key speaks of something that is computed.
	computes func(key string) bool
}

// harmless says why a key changes nothing, and of which values that is true.
type harmless struct {
	reason string
	when   condition // the zero value holds for all
}

// pattern is harmless for all keys that it matches.
type pattern struct {
	text   string // for people: "*_token_id"
	reason string
	match  func(key string) bool
}

// condition holds for values that change nothing; beside are the keys of the same record.
type condition struct {
	text  string // goes on after "want"
	holds func(v any, beside map[string]any) bool
}

func (r rules) with(ignored map[string]string) rules {
	r.ignored = ignored
	return r
}

// judge says what became of a key.
func (r rules) judge(name, key string, v any, beside map[string]any, read bool) Key {
	k := Key{Name: name, Value: brief(v), Use: KeyIgnored}
	known := r.harmless[key]
	switch {
	case read:
		k.Use = KeyUsed
	case v == nil:
		k.Reason = "null: not set"
	case r.ignored[key] != "":
		k.Reason = r.ignored[key]
	case known.reason != "" && (known.when.holds == nil || known.when.holds(v, beside)):
		k.Reason = known.reason
	case known.reason != "":
		k.Use, k.Reason = KeyRefused, "want "+known.when.text
	default:
		k.Reason = r.matched(key)
		if k.Reason == "" {
			k.Use = KeyUnknown
			if r.computes(key) {
				k.Use = KeyRefused
			}
		}
	}
	return k
}

// matched is the reason of the first pattern that matches, or "".
func (r rules) matched(key string) string {
	for _, p := range r.patterns {
		if p.match(key) {
			return p.reason
		}
	}
	return ""
}

// brief is a value in one line.
func brief(v any) string {
	const entries = 8
	n := 0
	switch list := v.(type) {
	case []any:
		n = len(list)
	case []string:
		n = len(list)
	case []int64:
		n = len(list)
	case []float64:
		n = len(list)
	case []bool:
		n = len(list)
	case nil:
		return "null"
	}
	if n > entries {
		return fmt.Sprintf("[%d entries]", n)
	}
	return shown(v)
}

// without returns the object of a whole file without the keys at the given paths. The
// error names one that is not there.
func (o object) without(paths []string) (object, error) {
	if len(paths) == 0 {
		return o, nil
	}
	o.root, o.dropped = maps.Clone(o.root), map[string]any{}
	for _, path := range paths {
		v, ok := drop(o.root, path)
		if !ok {
			return o, fmt.Errorf("%s: found no key %q, which model.ignore lists; want the names of keys as eisft inspect shows them", o.file, path)
		}
		o.dropped[path] = v
	}
	o.values = o.root
	return o, nil
}

// drop takes the key at a path out of a record, whose inner records it copies.
func drop(record map[string]any, path string) (any, bool) {
	if v, ok := record[path]; ok { // metadata have dots in their names
		delete(record, path)
		return v, true
	}
	key, rest, _ := strings.Cut(path, ".")
	inner, ok := record[key].(map[string]any)
	if !ok {
		return nil, false
	}
	inner = maps.Clone(inner)
	record[key] = inner
	return drop(inner, rest)
}

// number is a value's number, if it is one.
func number(v any) (float64, bool) {
	switch n := v.(type) {
	case json.Number:
		f, err := n.Float64()
		return f, err == nil
	case int64:
		return float64(n), true
	case float64:
		return n, true
	default:
		return 0, false
	}
}
