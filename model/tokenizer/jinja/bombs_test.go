package jinja

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"eisft/internal/testfiles"
)

// long is a template whose set statements repeat.
func long(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// grow repeats a statement over a namespace whose x begins as given.
func grow(x, step string, times int) string {
	return fmt.Sprintf("{%% set ns = namespace(x=%s) %%}{%% for i in range(%d) %%}%s{%% endfor %%}{{ ns.x }}", x, times, step)
}

// each runs a body for 10,000 million items.
func each(before, body string) string {
	return before + "{% for a in range(100000) %}{% for b in range(100000) %}" + body + "{% endfor %}{% endfor %}"
}

const megabyte = "{% set m = 'ab ' * 333333 %}"

// bombs are templates that would take hours or fill the memory.
var bombs = map[string]string{
	"loops":             each("", ""),
	"filtered loops":    "{% for a in range(100000) if false %}{% endfor %}" + each("", "{% for c in range(100000) if false %}{% endfor %}"),
	"repeated text":     "{{ 'a' * 10000000000 }}",
	"repeated list":     "{{ [1] * 10000000000 }}",
	"repeated tuple":    "{{ ((1, 2) * 10000000000) | length }}",
	"repeated nothing":  each("", "{{ '' * 10000000000 }}{{ [] * 10000000000 }}"),
	"zfill":             "{{ '1'.zfill(10000000000) }}",
	"center":            "{{ 'a'.center(10000000000) }}",
	"ljust":             "{{ 'a'.ljust(10000000000, '你') }}",
	"filter center":     "{{ 'a' | center(10000000000) }}",
	"indent":            "{{ 'a\nb' | indent(10000000000) }}",
	"indented lines":    "{{ ('\n' * 1000000) | indent(1000000, blank=true) }}",
	"expandtabs":        "{{ '\t\t\t'.expandtabs(10000000000) }}",
	"percent width":     "{{ '%10000000000d' % 1 }}",
	"percent star":      "{{ '%*d' % (10000000000, 1) }}",
	"percent digits":    "{{ '%.900000000f' % 1.5 }}",
	"percent digits d":  "{{ '%.900000000d' % 1 }}",
	"format width":      "{{ '{:10000000000}'.format(1) }}",
	"format digits":     "{{ '{:.999999999f}'.format(1.5) }}",
	"nested format":     "{{ '{:{}}'.format('a', 10000000000) }}",
	"power":             "{{ 10 ** 1000000000 }}",
	"power of one":      "{{ (-1) ** 9000000000000000000 }}{{ 1 ** 9000000000000000000 }}{{ nope.x }}",
	"float power":       "{{ 1.5 ** 1000000000 }}",
	"doubling":          grow("'aaaa'", "{% set ns.x = ns.x ~ ns.x %}", 60),
	"doubling by plus":  grow("'aaaa'", "{% set ns.x = ns.x + ns.x %}", 60),
	"doubling lists":    grow("[1]", "{% set ns.x = ns.x + ns.x %}", 60),
	"doubling tuples":   grow("(1,)", "{% set ns.x = ns.x + ns.x %}", 60),
	"doubling by set":   grow("'aa'", "{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}", 60),
	"doubling depth":    grow("[1]", "{% set ns.x = [ns.x, ns.x] %}", 60),
	"comparing depth":   grow("[1]", "{% set ns.x = [ns.x, ns.x] %}", 60) + "{{ ns.x == ns.x }}",
	"compared depth":    "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
	"ordered depth":     "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x < ns.y }}",
	"depth as JSON":     "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = {'a': ns.x, 'b': ns.x} %}{% endfor %}{{ ns.x | tojson }}",
	"keys of tuples":    "{% set ns = namespace(x=(1,)) %}{% for i in range(60) %}{% set ns.x = (ns.x, ns.x) %}{% endfor %}{{ {ns.x: 1} }}",
	"a deep list":       grow("[1]", "{% set ns.x = [ns.x] %}", 100000),
	"a deep JSON":       "{% set ns = namespace(x=[1]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x | tojson(indent=100000) }}",
	"a deep key":        "{% set ns = namespace(x=(1,)) %}{% for i in range(100000) %}{% set ns.x = (ns.x,) %}{% endfor %}{{ {ns.x: 1} }}",
	"itself":            "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
	"replace":           "{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}",
	"replace nothing":   "{{ ('a' * 1000000).replace('', 'b' * 1000000) }}",
	"filter replace":    "{{ ('a' * 1000000) | replace('a', 'b' * 1000000) }}",
	"join":              "{{ ('b' * 1000000).join('a' * 1000000) }}",
	"filter join":       "{{ ('a' * 1000000) | join('b' * 1000000) }}",
	"escapes":           grow("'&'", "{% set ns.x = ns.x | e | string | e | string | forceescape | string %}{% set ns.x = ns.x ~ ns.x %}", 40),
	"reprs":             grow("'\\\\'", "{% set ns.x = [ns.x] | string %}", 100),
	"JSON of JSON":      grow("'\\\\'", "{% set ns.x = ns.x | tojson %}", 100),
	"upper":             each(megabyte, "{{ m | upper }}{{ m.lower() }}"),
	"searching":         each(megabyte, "{% set _ = 'x' in m %}"),
	"finding":           each(megabyte, "{% set _ = m.find('x') %}"),
	"finding much":      each(megabyte+"{% set q = 'ab ' * 100000 ~ 'c' %}", "{% set _ = q in m %}"),
	"indexing":          each(megabyte, "{% set _ = m[900000] %}"),
	"slicing":           each(megabyte, "{% set _ = m[::-1] %}{% set _ = m[5:] %}"),
	"equal texts":       each(megabyte+"{% set q = 'ab ' * 333333 %}", "{% set _ = m == q %}"),
	"text keys":         each(megabyte+"{% set q = {m: 1} %}{% set r = 'ab ' * 333333 %}", "{% set _ = q[r] %}"),
	"lengths":           each(megabyte, "{% set _ = m | length %}"),
	"stripping":         each("{% set m = ' ' * 1000000 %}", "{% set _ = m.strip() %}{% set _ = m | trim %}"),
	"testing":           each(megabyte, "{% set _ = m is lower %}{% set _ = m.isascii() %}"),
	"numbers":           each("{% set m = '1' * 1000000 %}", "{% set _ = m | float %}"),
	"integers":          each("{% set m = '1' * 1000000 ~ 'x' %}", "{% set _ = m | int %}"),
	"splitting":         each(megabyte, "{% set _ = m.split(' ') %}{% set _ = m.split() %}{% set _ = m.splitlines() %}"),
	"counting words":    each(megabyte, "{% set _ = m | wordcount %}"),
	"wrapping":          each(megabyte, "{% set _ = m | wordwrap(5) %}"),
	"wrapping long":     "{% set m = 'a' * 1000000 %}{% for a in range(1000) %}{% set _ = m | wordwrap(1) %}{% endfor %}",
	"tags":              each("{% set m = '<' * 1000000 %}", "{% set _ = m | striptags %}"),
	"truncating":        each(megabyte, "{% set _ = m | truncate(5) %}"),
	"sorting":           each("{% set m = range(100000) | list %}", "{% set _ = m | sort %}"),
	"sorting texts":     each(megabyte+"{% set q = 'ab ' * 333333 %}{% set l = [m, q] * 1000 %}", "{% set _ = l | sort(case_sensitive=true) %}"),
	"listing":           each("", "{% set _ = range(100000) | list %}"),
	"in a list":         each("{% set m = range(100000) | list %}", "{% set _ = 'x' in m %}"),
	"in a range":        each("", "{% set _ = 'x' in range(100000) %}"),
	"counting":          each("{% set m = range(100000) | list %}", "{% set _ = m.count('x') %}"),
	"reversing":         each("{% set m = range(100000) | list %}", "{% set _ = m | reverse %}"),
	"slicing lists":     each("{% set m = range(100000) | list %}", "{% set _ = m[1:] %}{% set _ = m[::2] %}"),
	"copying":           each("{% set m = range(100000) | list %}", "{% set _ = m.copy() %}"),
	"last":              each("{% set m = range(100000) %}", "{% set _ = m | last %}"),
	"batches":           "{{ [1] | batch(10000000000, 'x') | list }}",
	"slices":            "{{ [1] | slice(10000000000, 'x') | list }}",
	"unique":            each("{% set m = range(100000) | list %}", "{% set _ = m | unique | list %}"),
	"groups":            each("{% set m = [[1], [2]] * 50000 %}", "{% set _ = m | groupby(0) %}"),
	"mapping":           each("{% set m = range(100000) | list %}", "{% set _ = m | map('string') | list %}"),
	"selecting":         each("{% set m = range(100000) | list %}", "{% set _ = m | select('eq', -1) | first %}"),
	"a chain of maps":   "{% set ns = namespace(x=range(100)) %}{% for i in range(100000) %}{% set ns.x = ns.x | map('string') %}{% endfor %}{{ ns.x | list }}",
	"a chain of tests":  "{% set ns = namespace(x=range(100)) %}{% for i in range(1000000) %}{% set ns.x = ns.x | select %}{% endfor %}" + strings.Repeat("{% for i in range(100000) %}{% set ns.x = ns.x | select %}{% endfor %}", 20) + "{{ ns.x | list }}",
	"a sum of lists":    "{{ ([[1]] * 1000000) | sum(start=[]) }}",
	"dicts":             each("{% set m = dict(range(100000) | map('string') | map('list') | map('batch', 1) | map('list') | map('first') | map('list') | map('join') | map('list') | batch(2) | list) if false else namespace() %}", "{% set _ = dict(a=1, b=2) %}"),
	"items":             each("{% set d = {'a': 1, 'b': 2} %}", "{% set _ = d.items() %}"),
	"recursion":         "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
	"two calls":         "{% macro f(n) %}{% if n < 90 %}{{ f(n + 1) }}{{ f(n + 1) }}{% endif %}{% endmacro %}{{ f(0) }}",
	"default recursion": "{% macro f(a=f()) %}{% endmacro %}{{ f() }}",
	"callers":           "{% macro f(n) %}{% call f(n) %}{% endcall %}{{ caller() }}{% endmacro %}{{ f(0) }}",
	"recursive loop":    "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
	"recursive loops":   "{% for x in [1, 2] recursive %}{{ loop([1, 2]) if loop.depth < 90 }}{% endfor %}",
	"loop over loop":    "{% for x in range(100000) %}{% for y in loop %}{% for z in loop %}{% endfor %}{% endfor %}{% endfor %}" + each("", ""),
	"names":             long(20000, "{%% set a%d = 1 %%}") + each("", "{{ a0 }}{{ a19999 }}{{ nope }}"),
	"parameters":        "{% macro f(" + strings.TrimSuffix(long(900, "a%d=1,"), ",") + ") %}{% endmacro %}" + each("", "{{ f() }}"),
	"output":            each("", "0123456789012345678901234567890123456789"),
	"data":              each("", strings.Repeat("0123456789", 100000)),
	"urlencode":         grow("'&'", "{% set ns.x = ns.x | urlencode %}", 10000),
	"filesizes":         each("", "{{ 1 | filesizeformat }}"),
	"cycler":            each("{% set c = cycler(1, 2) %}", "{{ c.next() }}"),
	"arguments":         each("{% set m = range(100000) | list %}", "{% set _ = cycler(*m) %}"),
	"dates":             each("", "{{ strftime_now('%d %b %Y') }}"),
	"long dates":        grow("'%B'", "{% set ns.x = strftime_now(ns.x ~ '%B%B' * 1000000) %}", 1000),
	"range of ranges":   each("", "{{ range(100000)[::2][1] }}"),
}

// TestBombs runs itself with little memory and lets every bomb go off there, with a
// twentieth of the steps and bytes.
func TestBombs(t *testing.T) { explode(t, 20) }

// TestSlowBombs is TestBombs with all of them.
func TestSlowBombs(t *testing.T) {
	testfiles.Slow(t)
	explode(t, 1)
}

func explode(t *testing.T, part int) {
	if os.Getenv("EISFT_BOMBS") == "" {
		if runtime.GOOS != "linux" {
			t.Skip("needs ulimit -v")
		}
		cmd := exec.Command("sh", "-c", `ulimit -v 6000000 && exec "$0" -test.run "^$1$" -test.v`, os.Args[0], t.Name())
		cmd.Env = append(os.Environ(), "EISFT_BOMBS=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Logf("%s", out)
		return
	}
	for name, source := range bombs {
		begun := time.Now()
		err := explodeOne(source, part)
		took := time.Since(begun)
		if err == nil || strings.Contains(err.Error(), "no filter") {
			t.Errorf("%s: no error, or not the right one: %v", name, err)
		}
		if took > maxTime {
			t.Errorf("%s: took %v", name, took)
		}
		t.Logf("%-20s %6d ms  %.120v", name, took.Milliseconds(), err)
	}
}

func explodeOne(source string, part int) error {
	parsed, err := Parse("t", source)
	if err != nil {
		return err
	}
	in := newInterp(nil, time.Now)
	in.steps, in.bytes = in.steps/part, in.bytes/part
	return (&scope{in: in}).run(parsed.body)
}

// TestDeep: what is nested or chained too deep is an error, and short work.
func TestDeep(t *testing.T) {
	rep := strings.Repeat
	const n = 100000
	for name, source := range map[string]string{
		"conditions":      "{{ " + rep("1 if 1 else ", 20000) + "1 }}",
		"open conditions": "{{ " + rep("(1 if ", 20000),
		"brackets":        "{{ " + rep("(", n) + rep(")", n) + " }}",
		"lists":           "{{ " + rep("[", n) + rep("]", n) + " }}",
		"dicts":           "{{ " + rep("{1:", n) + "1" + rep("}", n) + " }}",
		"calls":           "{{ " + rep("f(", n) + rep(")", n) + " }}",
		"called":          "{{ f" + rep("()", n) + " }}",
		"subscripts":      "{{ " + rep("a[", n) + "1" + rep("]", n) + " }}",
		"attributes":      "{{ a" + rep(".a", n) + " }}",
		"items":           "{{ a" + rep("[0]", n) + " }}",
		"filters":         "{{ a" + rep("|e", n) + " }}",
		"filter names":    "{{ a|e" + rep(".e", n) + " }}",
		"block filters":   "{% set a" + rep("|e", n) + " %}{% endset %}",
		"sums":            "{{ 1" + rep("+1", n) + " }}",
		"powers":          "{{ 1" + rep("**1", n) + " }}",
		"ors":             "{{ 1" + rep(" or 1", n) + " }}",
		"nots":            "{{ " + rep("not ", n) + "1 }}",
		"signs":           "{{ " + rep("- ", n) + "1 }}",
		"tests":           "{{ " + rep("1 is eq(", n),
		"if":              rep("{% if 1 %}", n),
		"for":             rep("{% for a in b %}", n),
		"macro":           rep("{% macro a() %}", n),
		"call":            rep("{% call a() %}", n),
		"set":             rep("{% set a %}", n),
		"with":            rep("{% with %}", n),
		"targets":         "{% set " + rep("(", n) + "a" + rep(")", n) + " = 1 %}",
		"generation":      rep("{% generation %}", n/2),
		"arguments":       "{{ f(" + rep("a=1,", n) + ") }}",
		"parameters":      "{% macro f(" + rep("a,", n) + ") %}{% endmacro %}",
		"comments":        rep("{#", n),
		"raw":             rep("{% raw %}", n),
		"ints":            "{{ " + rep("9", n) + " }}",
	} {
		begun := time.Now()
		_, err := Parse("t", source)
		if err == nil || !strings.HasPrefix(err.Error(), "t:1: ") || len(err.Error()) > 300 {
			t.Errorf("%s: %.300v", name, err)
		}
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
	for name, source := range map[string]string{ // long, and right
		"elifs":       "{% if 0 %}" + rep("{% elif 0 %}", 50000) + "{% endif %}",
		"compares":    "{{ 1" + rep("==1", n) + " }}",
		"concats":     "{{ 1" + rep("~1", n) + " }}",
		"one list":    "{{ [" + rep("1,", n) + "] | length }}",
		"strings":     "{{ " + rep("'a'", n) + " }}",
		"text":        rep("{ ", n),
		"expressions": rep("{{1}}", n),
	} {
		if _, err := render(source, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
