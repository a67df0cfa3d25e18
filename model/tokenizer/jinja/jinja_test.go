package jinja

import (
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

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

// TestRefused: what Python has and this package lacks says so, and says where.
func TestRefused(t *testing.T) {
	for source, want := range map[string]string{
		"{{ 2 ** 64 }}":                                            "t:1: the result is beyond 64 bits, more than is supported of Python's integers",
		"{{ 9223372036854775807 + 1 }}":                            "t:1: the result is beyond 64 bits",
		"{{ -9223372036854775807 - 2 }}":                           "t:1: the result is beyond 64 bits",
		"{{ 4611686018427387904 * 2 }}":                            "t:1: the result is beyond 64 bits",
		"{{ 9223372036854775808 }}":                                "t:1: the number 9223372036854775808 is beyond 64 bits",
		"{{ big + 1 }}":                                            "t:1: the result is beyond 64 bits",
		"{{ '9223372036854775808' | int }}":                        "t:1: filter int: the result is beyond 64 bits",
		"{{ [1] | random }}":                                       "t:1: filter random: random gives another result each time",
		"\n{{ lipsum() }}":                                         "t:2: function lipsum: lipsum makes random text",
		"{{ 'a' | urlize }}":                                       "t:1: filter urlize: urlize makes HTML of a text",
		"{% extends 'a' %}":                                        "t:1: {% extends %} is not supported: a chat template stands alone",
		"{% import 'a' as b %}":                                    "t:1: {% import %} is not supported",
		"{% block a %}{% endblock %}":                              "t:1: {% block %} is not supported",
		"{% autoescape true %}{% endautoescape %}":                 "t:1: {% autoescape %} is supported with false alone",
		"{{ [1] | map('string') }}":                                "t:1: a generator is printed, whose text says nothing; make a list of it (|list)",
		"{{ 'a'.upper }}":                                          "t:1: a function is printed",
		"{{ 'a'.encode() }}":                                       "t:1: str method encode: it is not supported",
		"{{ [1].pop() }}":                                          `t:1: the attribute "pop" of a list is not safe`,
		"{{ '٣' | int }}":                                          "t:1: filter int: the digit '٣' is not supported",
		"a\n{{ raise_exception('why ' ~ 1) }}":                     "t:2: the template refuses the messages: why 1",
		"{% macro f() %}\n{{ nope.x }}{% endmacro %}\n\n{{ f() }}": `t:2: "nope" is undefined`,
		"{% for x in [1] %}\n\n{{ x.y.z }}{% endfor %}":            `t:3: int has no attribute "y"`,
		"{% set ns = namespace(x=[1]) %}{% for i in range(600) %}{% set ns.x = ns.x | select %}{% endfor %}":                             "t:1: filter select: more than 500 generators follow each other",
		"{% set ns = namespace(x=[1]) %}{% for i in range(600) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}":                          "t:1: lists are nested too deep to be printed",
		"{% set ns = namespace(x=[1]) %}{% for i in range(600) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x == [] or ns.x == ns.x[:] }}": "t:1: lists are nested too deep to be compared",
		"{% for i in range(200) %}{% set _ = 'a' * 1000000 %}{% endfor %}":                                                               "t:1: the template makes texts and lists of more than 128 MiB",
		"\xff": "t:1: the template is not UTF-8",
	} {
		_, err := render(source, map[string]Value{"big": big.NewInt(0).Lsh(big.NewInt(1), 70)})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", source, err, want)
		}
	}
}

// TestRaised tells a template's own refusal from what is wrong with it.
func TestRaised(t *testing.T) {
	_, err := render("{{ raise_exception('no') }}", nil)
	var r *Raised
	if !errors.As(err, &r) || r.Message != "no" {
		t.Errorf("error %v", err)
	}
}

func TestStrftime(t *testing.T) {
	now := time.Date(2024, 7, 6, 5, 4, 3, 0, time.UTC)
	got, err := strftime("%d %b %Y, %A %B %H:%M:%S %j%% %y-%m %I%p %a %-d.%-m. %e %F %T%Z", now)
	if want := "06 Jul 2024, Saturday July 05:04:03 188% 24-07 05AM Sat 6.7.  6 2024-07-06 05:04:03"; got != want || err != nil {
		t.Errorf("strftime = %q, %v; want %q", got, err, want)
	}
}

// TestJSONOrder keeps the order of keys and exact numbers through a template.
func TestJSONOrder(t *testing.T) {
	const text = `{"z": 1, "a": {"y": [9007199254740993, 123456789012345678901234567890, 1.0, -0.5, 1e+300], "b": null}, "m": "é\n\u0001"}`
	v, err := FromJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := render("{{ v | tojson }}", map[string]Value{"v": v}); got != text || err != nil {
		t.Errorf("got %s, %v\nwant %s", got, err, text)
	}
	for _, bad := range []string{"", "{", "[1] 2", "{1: 2}", strings.Repeat("[", 1000) + strings.Repeat("]", 1000)} {
		if _, err := FromJSON([]byte(bad)); err == nil {
			t.Errorf("%.20q is read", bad)
		}
	}
}

// FuzzRender checks that no template panics or takes long.
func FuzzRender(f *testing.F) {
	for _, seed := range []string{
		"a {{ m[0].role ~ 1 }}", "{% for k, v in m[0].items() if v recursive %}{{ loop.index }}{% else %}{% endfor %}", "{% set a, b = 1, (2,) -%}",
		"{% macro f(a, b=1) %}{{ caller(a) }}{% endmacro %}{% call(x) f(2) %}{{ x }}{% endcall %}", "{{ 'a%s' % 1 | upper is string }}",
		"{{ '{:>{}.2f}'.format(1.5, 9) }}", "{{ m | map(attribute='role') | sort | join(',') | tojson(indent=2) }}", "{{ -7 // 2 ** 3 % 4 }}",
		"{% filter indent(2) %}{% raw %}{{{% endraw %}{% endfilter %}", "{{ u[::-1][1:5].split('a', 1)[-1].center(9) }}", "{% set ns = namespace(a=1) %}{% set ns.a = ns.a ~ 'x' %}{{ ns.a * 3 }}",
		"{{ 1 < 2 <= 3 not in [1, {2: 3}] and 4 or none if true else nope }}", "{# x -#}  {% break %}", "{{ {'a': 1, 2: [3]} | dictsort | groupby(0) | list }}",
	} {
		f.Add(seed)
	}
	message := &Dict{}
	message.Set("role", "user")
	vars := map[string]Value{"m": NewList(message), "u": "naïve 你好 🙂"}
	f.Fuzz(func(t *testing.T, source string) {
		parsed, err := Parse("t", source)
		if err != nil {
			return
		}
		in := newInterp(vars, time.Now)
		in.steps, in.bytes = in.steps/50, in.bytes/50
		begun := time.Now()
		_ = (&scope{in: in}).run(parsed.body)
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("%q took %v", source, took)
		}
	})
}
