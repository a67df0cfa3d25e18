package tokenizer

import (
	"fmt"
	"math"
	"sync"
	"time"
)

// A tokenizer.json comes with a model and is not trusted: what its steps may make of a text,
// and how long its patterns may look through it, is bounded.
const (
	maxGrowth  = 1000 // times as many bytes as the text has; real ones stay below 50
	maxPattern = 1 << 16
	matchTime  = 2 * time.Second       // for one match of a regular expression
	searchTime = 10 * time.Second      // for all of a text, and beside it
	charTime   = 10 * time.Microsecond // for each character
)

// checkGrowth refuses normalizers or decoders that can make a text too long.
func checkGrowth(c *component, path string) error {
	if g := growth(c); g > maxGrowth {
		return fmt.Errorf("%s: its steps can make a text %.3g times as long, want at most %d times; this is no tokenizer of a language model", path, g, maxGrowth)
	}
	return nil
}

// growth is the most times that the steps of c can lengthen a text, in bytes. Unicode's
// forms lengthen once, and again after a Replace or Prepend (Unicode Standard Annex 15,
// section 12).
func growth(c *component) float64 {
	product, form := 1.0, 1.0 // form: what the forms since the last Replace make of a text
	for _, s := range componentSteps(c) {
		switch s.Type {
		case "NFC", "NFD":
			form = math.Max(form, 3)
		case "NFKC", "NFKD":
			form = math.Max(form, 11)
		case "Lowercase": // İ has two bytes, i̇ three
			form = math.Max(form, 1.5) * 1.5
		case "Prepend":
			product, form = product*form*float64(1+len(s.Prepend)), 1
		case "Replace":
			length := 1
			if s.Pattern.String != nil {
				length = max(len(*s.Pattern.String), 1)
			}
			product, form = product*form*math.Max(1, float64(len(s.Content))/float64(length)), 1
		case "Metaspace":
			product *= float64(max(len(s.Replacement), 1))
		}
	}
	return product * form
}

// componentSteps lists the normalizers or decoders of c that are no sequences.
func componentSteps(c *component) []*component {
	if c == nil {
		return nil
	}
	if c.Type != "Sequence" {
		return []*component{c}
	}
	var steps []*component
	for _, list := range [][]component{c.Normalizers, c.Decoders} {
		for i := range list {
			steps = append(steps, componentSteps(&list[i])...)
		}
	}
	return steps
}

// patternError is a regular expression that took too long; a finder panics with it, and
// Encode and Decode recover from it.
type patternError struct {
	where, pattern string
	chars          int
	err            error // of the search; nil: too long in all
}

func (e *patternError) Error() string {
	why := "too long in all"
	if e.err != nil {
		why = fmt.Sprintf("a match took more than %v", matchTime)
	}
	return fmt.Sprintf("%s.pattern.Regex: the expression %.80q could not be searched for in a text of %d characters: %s; a pattern that is tried in so many ways is no tokenizer's", e.where, e.pattern, e.chars, why)
}

// failure is the first error of a tokenizer's patterns.
type failure struct {
	mu  sync.Mutex
	err error
}

// Err returns why a text could not be encoded or decoded: a regular expression of the
// tokenizer.json took too long. It stays once it has happened: the tokenizer is not to be
// trusted. Encode and Decode return nothing for such a text.
func (t *Tokenizer) Err() error {
	t.failed.mu.Lock()
	defer t.failed.mu.Unlock()
	return t.failed.err
}

// caught, deferred, notes the failure of a pattern.
func (t *Tokenizer) caught() {
	switch r := recover().(type) {
	case nil:
	case *patternError:
		t.failed.mu.Lock()
		defer t.failed.mu.Unlock()
		if t.failed.err == nil {
			t.failed.err = fmt.Errorf("%s: %w", t.from, r)
		}
	default:
		panic(r)
	}
}
