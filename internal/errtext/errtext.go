// Package errtext words errors for people.
package errtext

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"eisft/internal/utf8text"
)

// Of returns an error's text as a person reads it best. Errors of package os name the call
// that failed and the path (stat x: …), and whoever wraps them names the path again: the
// text says what failed for which path, once. Control characters out of others' files are
// shown, not obeyed.
func Of(err error) string {
	text := err.Error()
	for _, e := range causes(err) {
		switch e := e.(type) { //nolint:errorlint // causes has unwrapped them
		case *fs.PathError:
			text = strings.ReplaceAll(text, e.Error(), e.Path+": "+e.Err.Error())
		case *os.SyscallError:
			text = strings.ReplaceAll(text, e.Error(), e.Err.Error())
		}
	}
	lines := strings.Split(utf8text.Visible(text), "\n")
	for i, line := range lines {
		lines[i] = once(line)
	}
	return strings.Join(lines, "\n")
}

// causes lists an error and all that it wraps.
func causes(err error) []error {
	all := []error{err}
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range several.Unwrap() {
			all = append(all, causes(e)...)
		}
	} else if e := errors.Unwrap(err); e != nil {
		all = append(all, causes(e)...)
	}
	return all
}

// once leaves out what the next part of a line, up to a colon, says again: "x: x: why",
// "x: x:12: why" and "write x: x: why".
func once(line string) string {
	const colon = ": "
	parts := strings.Split(line, colon)
	kept := parts[:1]
	for _, part := range parts[1:] {
		last := kept[len(kept)-1]
		switch {
		case part != "" && part == last || last != "" && strings.HasPrefix(part, last+":"):
			kept[len(kept)-1] = part
		case part != "" && strings.HasSuffix(last, " "+part):
		default:
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, colon)
}
