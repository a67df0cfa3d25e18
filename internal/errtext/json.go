package errtext

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// JSON says in a file's terms, not in Go's, what a decoder found under a key, or within it, and
// wanted. Other errors stay as they are.
func JSON(key string, err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return err
	}
	want := "a list of whole numbers"
	switch wrong.Type.Kind() {
	case reflect.Int:
		want = "a whole number"
	case reflect.Bool:
		want = "true or false"
	case reflect.String:
		want = "text"
	case reflect.Struct, reflect.Map:
		want = "an object"
	}
	name := strings.Trim(key+"."+wrong.Field, ".")
	return fmt.Errorf("%s is a JSON %s; it must be %s", cmp.Or(name, "it"), wrong.Value, want)
}
