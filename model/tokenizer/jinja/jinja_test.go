package jinja

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"eisft/internal/testfiles"
)

// probes are small templates with what Jinja2 makes of them.
type probes struct {
	Variables map[string]json.RawMessage
	Cases     []struct {
		Group, Template string
		Text            *string
		Error           string
	}
}

func readProbes(t testing.TB) (p probes, vars map[string]Value) {
	t.Helper()
	data, err := os.ReadFile(testfiles.Golden(t, "jinja.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &p); err != nil {
		t.Fatal(err)
	}
	vars = map[string]Value{}
	for name, raw := range p.Variables {
		if vars[name], err = FromJSON(raw); err != nil {
			t.Fatal(err)
		}
	}
	return p, vars
}

func render(source string, vars map[string]Value) (string, error) {
	t, err := Parse("t", source)
	if err != nil {
		return "", err
	}
	return t.Render(vars)
}

// TestMatchesJinja2 compares with Jinja2 set up as in transformers
// (scripts/reference/jinja.py): the same text, or an error where Python has one.
func TestMatchesJinja2(t *testing.T) {
	p, vars := readProbes(t)
	if len(p.Cases) < 500 {
		t.Fatalf("%d probes, want some hundred", len(p.Cases))
	}
	for _, c := range p.Cases {
		got, err := render(c.Template, vars)
		switch {
		case c.Text == nil && err == nil:
			t.Errorf("%s: %q\n gives %q\n want an error: %s", c.Group, c.Template, got, c.Error)
		case c.Text == nil && !strings.HasPrefix(err.Error(), "t:"):
			t.Errorf("%s: %q: the error %q does not say where", c.Group, c.Template, err)
		case c.Text != nil && (err != nil || got != *c.Text):
			t.Errorf("%s: %q\n gives %q, %v\n  want %q", c.Group, c.Template, got, err, *c.Text)
		}
	}
}
