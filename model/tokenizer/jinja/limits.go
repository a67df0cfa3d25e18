package jinja

import (
	"fmt"
	"strings"
	"time"
)

// The bounds of an untrusted template. Real ones stay below a thousandth of each: with six
// turns of a conversation they take some hundred steps and kilobytes.
const (
	maxSource  = 1 << 20   // bytes of a template
	maxNesting = 200       // of statements and expressions
	maxChain   = 1000      // operators, filters or subscripts in a row
	maxSteps   = 5_000_000 // evaluated nodes, items and, by some dozens, characters
	maxBytes   = 128 << 20 // of all strings and lists ever made, output included
	maxCalls   = 100       // macros and recursive loops that wait for each other
	maxRange   = 100_000   // as in Jinja's sandbox
	maxDeep    = 500       // lists in lists, for printing and comparing
	// maxTime ends what the steps let through, on a machine that is very slow or busy.
	maxTime = 20 * time.Second
)

// interp is one rendering: its output and what it may still spend.
type interp struct {
	vars  map[string]Value
	now   func() time.Time
	begun time.Time
	out   *strings.Builder
	steps int
	bytes int
	calls int
	line  int // of the statement at work, for errors that have none
}

// newInterp begins a rendering. A long conversation may take more bytes than a short one:
// each of its own 64 times.
func newInterp(vars map[string]Value, now func() time.Time) *interp {
	in := &interp{vars: vars, now: now, out: &strings.Builder{}, steps: maxSteps, bytes: maxBytes, line: 1, begun: time.Now()}
	for _, v := range vars {
		n := weight(v, 0)
		in.bytes += 64 * n
		in.steps += n
	}
	return in
}

// weight is about how many bytes a value that was handed in has.
func weight(v Value, depth int) int {
	if depth > maxDeep {
		return 0
	}
	switch v := v.(type) {
	case string:
		return len(v)
	case *List:
		n := 16
		for _, x := range v.items {
			n += weight(x, depth+1)
		}
		return n
	case *Dict:
		n := 16
		for i, k := range v.keys {
			n += weight(k, depth+1) + weight(v.values[i], depth+1)
		}
		return n
	default:
		return 16
	}
}

// spend counts n steps.
func (in *interp) spend(n int) error {
	const often = 1 << 14
	before := in.steps / often
	in.steps -= n
	switch {
	case in.steps < 0:
		return fmt.Errorf("the template takes more than %d steps; a loop in it is too long", maxSteps)
	case in.steps/often != before && time.Since(in.begun) > maxTime:
		return fmt.Errorf("the template takes more than %v", maxTime)
	}
	return nil
}

// alloc counts n bytes of a new string or list before it is made, and the time to fill it.
func (in *interp) alloc(n int) error {
	if n < 0 || n > in.bytes {
		return fmt.Errorf("the template makes texts and lists of more than %d MiB", maxBytes>>20)
	}
	in.bytes -= n
	return in.spend(n / 64)
}

// allocTimes is alloc(n·size) for a count that a template chose.
func (in *interp) allocTimes(n int64, size int) error {
	if n <= 0 || size == 0 {
		return nil
	}
	if n > int64(in.bytes/size) {
		return in.alloc(in.bytes + 1)
	}
	return in.alloc(int(n) * size)
}

// list makes a list of items.
func (in *interp) list(items []Value) (*List, error) {
	if err := in.alloc(16 * len(items)); err != nil {
		return nil, err
	}
	return &List{items}, nil
}

// write puts text into the output.
func (in *interp) write(text string) error {
	if err := in.alloc(len(text)); err != nil {
		return err
	}
	in.out.WriteString(text)
	return nil
}

// capture returns what body writes.
func (in *interp) capture(body func() error) (string, error) {
	outer := in.out
	in.out = &strings.Builder{}
	defer func() { in.out = outer }()
	err := body()
	return in.out.String(), err
}

// enter counts a call until leave.
func (in *interp) enter(what string) error {
	if in.calls == maxCalls {
		return fmt.Errorf("%s: calls are nested more than %d deep", what, maxCalls)
	}
	in.calls++
	return nil
}

func (in *interp) leave() { in.calls-- }
