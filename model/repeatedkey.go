package model

import (
	"bytes"
	"encoding/json"
)

// repeatedKey is the path of a key that stands twice in an object of a JSON text, of which
// the decoder takes the last one without a word; "" if there is none.
func repeatedKey(text []byte) string {
	_, path := repeatedIn(json.NewDecoder(bytes.NewReader(text)), "")
	return path
}

// repeatedIn reads a value, which stands at a path.
func repeatedIn(d *json.Decoder, path string) (ok bool, repeated string) {
	t, err := d.Token()
	if err != nil {
		return false, ""
	}
	open, _ := t.(json.Delim)
	seen := map[string]bool{}
	for open != 0 && d.More() {
		at := path
		if open == '{' {
			key, err := d.Token()
			name, isText := key.(string)
			if err != nil || !isText {
				return false, ""
			}
			if at = name; path != "" {
				at = path + "." + name
			}
			if seen[name] {
				return false, at
			}
			seen[name] = true
		}
		if ok, repeated := repeatedIn(d, at); !ok {
			return false, repeated
		}
	}
	if open != 0 {
		_, err = d.Token() // that closes it
	}
	return err == nil, ""
}
