package aimet

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// Difference is a tensor whose encoding in a file is not as it should be.
type Difference struct {
	Name    string
	Message string
}

// Compare says how a file of encodings, of version 1.0.0 or 2.0.0, departs from that of the
// tensors that it should have.
func Compare(raw []byte, want []Tensor) ([]Difference, error) {
	got, err := read(raw)
	if err != nil {
		return nil, err
	}
	writer := Version1
	if got.Version == "2.0.0" {
		writer = Version2
	}
	text, err := writer(want)
	if err != nil {
		return nil, err
	}
	wanted, err := read(text)
	if err != nil {
		return nil, err
	}
	var list []Difference
	for _, lists := range []struct {
		what      string
		got, want []map[string]any
	}{
		{"activation_encodings", got.Activations, wanted.Activations},
		{"param_encodings", got.Params, wanted.Params},
		{"encodings", got.Encodings, wanted.Encodings},
	} {
		left := map[string]map[string]any{}
		for _, e := range lists.got {
			left[fmt.Sprint(e["name"])] = e
		}
		for _, e := range lists.want {
			name := fmt.Sprint(e["name"])
			has, ok := left[name]
			delete(left, name)
			if !ok {
				list = append(list, Difference{name, "it is not among " + lists.what})
			} else if d := differs(has, e); d != "" {
				list = append(list, Difference{name, d})
			}
		}
		for _, name := range slices.Sorted(maps.Keys(left)) {
			list = append(list, Difference{name, "nothing is encoded there, but it is among " + lists.what})
		}
	}
	return list, nil
}

// file is what both versions have, each in its own lists.
type file struct {
	Version     string           `json:"version"`
	Activations []map[string]any `json:"activation_encodings"`
	Params      []map[string]any `json:"param_encodings"`
	Encodings   []map[string]any `json:"encodings"`
}

func read(raw []byte) (f file, err error) {
	if err := json.Unmarshal(raw, &f); err != nil {
		return f, fmt.Errorf("no file of encodings: %w", err)
	}
	if f.Version != "1.0.0" && f.Version != "2.0.0" {
		return f, fmt.Errorf("it has version %q of encodings, want 1.0.0 or 2.0.0", f.Version)
	}
	return f, nil
}

// differs names the first key of an entry that is not as wanted.
func differs(got, want map[string]any) string {
	keys := maps.Clone(got)
	maps.Copy(keys, want)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if !reflect.DeepEqual(got[k], want[k]) {
			return fmt.Sprintf("%s is %s, want %s", k, short(got[k]), short(want[k]))
		}
	}
	return ""
}

// short is a value as a message has it.
func short(v any) string {
	const most = 60
	text := fmt.Sprint(v)
	if v == nil {
		text = "not there"
	}
	if len(text) > most {
		text = text[:most] + "…"
	}
	return text
}
