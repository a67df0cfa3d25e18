package hostfiles_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mutation breaks a rule of runtime.md in a host. Each text stands once in its file.
type mutation struct {
	rule    string
	variant string // of a model, whose golden vectors must find it
	js, cpp [2]string
}

var mutations = []mutation{
	{
		rule: "a prompt of at most S+W+L tokens is held", variant: "quantized",
		js: [2]string{"this.held = ids.length <= short", "this.held = false"}, cpp: [2]string{"s.held = total <= m.brief", "s.held = false"},
	},
	{
		rule: "a prompt of S+W+L tokens is still held", variant: "quantized",
		js: [2]string{"this.held = ids.length <= short", "this.held = ids.length < short"}, cpp: [2]string{"s.held = total <= m.brief", "s.held = total < m.brief"},
	},
	{
		rule: "ranks are rounded", variant: "close scores",
		js:  [2]string{"return roundEven(1024 *", "return (1024 *"},
		cpp: [2]string{"std::nearbyint(1024.0 *", "std::nearbyint(1e9 *"},
	},
	{
		rule: "of equal ranks the earlier token stays", variant: "close scores",
		js: [2]string{"ranks[a - first] || a - b", "ranks[a - first] || b - a"}, cpp: [2]string{"of(a) > of(b) : a < b", "of(a) > of(b) : a > b"},
	},
	{
		rule: "the memory's column opens in all layers once a token has left the window", variant: "quantized",
		js: [2]string{"!kinds.some((k) => this.parts(k).left > 0)", "this.written() === 0"}, cpp: [2]string{"counts_of(k).left > 0;", "written() > 0;"},
	},
	{
		rule: "padding stands before the tokens", variant: "quantized",
		js:  [2]string{"port.put(model.row(id), (pad + i) * width)", "port.put(model.row(id), i * width)"},
		cpp: [2]string{"b.in(\"embeds\")->put(static_cast<std::size_t>(pad + i) * D + j", "b.in(\"embeds\")->put(static_cast<std::size_t>(i) * D + j"},
	},
	{
		rule: "an evicted token weighs σ(−ρ)", variant: "quantized",
		js: [2]string{"const sign = model.gated ? 1 : -1", "const sign = 1"}, cpp: [2]string{"const double sign = model.gated ? 1 : -1", "const double sign = 1"},
	},
	{
		rule: "with a write gate it weighs σ of the logit", variant: "write gate",
		js: [2]string{"const sign = model.gated ? 1 : -1", "const sign = -1"}, cpp: [2]string{"const double sign = model.gated ? 1 : -1", "const double sign = -1"},
	},
	{
		rule: "in layers without slots it weighs 1", variant: "few slots",
		js:  [2]string{"shares[j] = l.score ? share", "shares[j] = true ? share * 0.5"},
		cpp: [2]string{"float weight = share;", "float weight = l.scored ? share : share * 0.5f;"},
	},
	{
		rule: "with decay ranks fall with age", variant: "decay",
		js: [2]string{"-Math.log(this.age(l, h, p) * lossOf", "-Math.log(lossOf"}, cpp: [2]string{"-std::log(age(l, h, p) * loss_of", "-std::log(loss_of"},
	},
	{
		rule: "with decay an evicted token weighs 1 − β^age", variant: "decay",
		js: [2]string{"-Math.expm1(-this.age(l, h, p) * lossOf", "-Math.expm1(-lossOf"}, cpp: [2]string{"-std::expm1(-age(l, h, p) * loss_of", "-std::expm1(-loss_of"},
	},
	{
		rule: "weights are shares of n+m", variant: "quantized",
		js: [2]string{"share = Math.fround(model.scale / after)", "share = 1"}, cpp: [2]string{"const float share = model.scale / static_cast<float>(after)", "(void)after; const float share = 1.0f"},
	},
	{
		rule: "the old memory counts for n/(n+m)", variant: "quantized",
		js: [2]string{"put([before / after])", "put([1])"}, cpp: [2]string{"write(static_cast<float>(before) / static_cast<float>(after))", "write(1.0f)"},
	},
	{
		rule: "evicted keys are turned back", variant: "absolute, scaled",
		js: [2]string{"model.absolute ? this.unrotate(l, column, l.token[h * C + p]) : column", "column"}, cpp: [2]string{"if (model.absolute) unrotate(", "if (false) unrotate("},
	},
	{
		rule: "what was scaled is divided by the scale's square", variant: "absolute, scaled",
		js: [2]string{"Math.fround(l.kind.rope.attention_scale) ** 2", "1"}, cpp: [2]string{"const float square = k.scale * k.scale", "const float square = 1"},
	},
	{
		rule: "log_tokens", variant: "mass gate",
		js: [2]string{`=== "log_tokens"`, `=== "no"`}, cpp: [2]string{`== "log_tokens"`, `== "no"`},
	},
	{
		rule: "slotless layers have no slots", variant: "few slots",
		js: [2]string{"k.slotless ? 0 : R", "R"}, cpp: [2]string{`k["slotless"].boolean ? 0 : shape`, `shape`},
	},
	{
		rule: "a sliding layer sees its window", variant: "sliding window",
		js: [2]string{"kind.window ? Math.max", "false ? Math.max"}, cpp: [2]string{"k.window > 0 ? std::max", "false ? std::max"},
	},
	{
		rule: "compact positions are places", variant: "quantized",
		js: [2]string{"model.absolute ? this.read : stored", "this.read"}, cpp: [2]string{"model.absolute ? read : stored", "read"},
	},
	{
		rule: "absolute positions are indices", variant: "absolute, scaled",
		js: [2]string{"model.absolute ? this.read : stored", "stored"}, cpp: [2]string{"model.absolute ? read : stored", "stored"},
	},
	{
		rule: "the graph's last token has the logits of a prompt graph without", variant: "none",
		js: [2]string{`&& last && ids.length > 1) {`, `&& false) {`}, cpp: [2]string{"&& last && n > 1)", "&& false && last)"},
	},
}

// mutated breaks a file of a host and returns how to mend it.
func mutated(t *testing.T, path string, change [2]string) (mend func()) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), change[0]); n != 1 {
		t.Fatalf("%q stands %d times in %s", change[0], n, path)
	}
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.Replace(string(text), change[0], change[1], 1))
	return func() { write(string(text)) }
}

// exports writes the variants that mutations name, once each.
func exports(t *testing.T) map[string]string {
	t.Helper()
	dirs := map[string]string{}
	for _, m := range mutations {
		i := slices.IndexFunc(variants, func(v variant) bool { return v.name == m.variant })
		if dirs[m.variant] == "" {
			dirs[m.variant] = variants[i].export(t)
		}
	}
	return dirs
}

// TestHostJavaScriptMutations: the golden vectors find every broken rule in the JavaScript
// host.
func TestHostJavaScriptMutations(t *testing.T) {
	slow(t)
	dirs := exports(t)
	for _, dir := range dirs {
		modules(t, dir)
	}
	for _, m := range mutations {
		t.Run(m.rule, func(t *testing.T) {
			dir := dirs[m.variant]
			defer mutated(t, filepath.Join(dir, "js", "eisft.mjs"), m.js)()
			red(t, dir, "node", "js/golden.mjs", "--precision", "float")
		})
	}
}

// TestHostCppMutations: they find it in the C++ host, too.
func TestHostCppMutations(t *testing.T) {
	slow(t)
	dirs := exports(t)
	first := dirs[mutations[0].variant]
	build := compiled(t, first)
	for _, m := range mutations {
		t.Run(m.rule, func(t *testing.T) {
			defer mutated(t, filepath.Join(first, "cpp", "eisft.cpp"), m.cpp)()
			if out, ok := run(t, first, "cmake", "--build", build, "--target", "golden"); !ok {
				t.Fatal(out)
			}
			red(t, first, filepath.Join(build, "golden"), dirs[m.variant], "float")
		})
	}
}

// red fails if a golden test passes.
func red(t *testing.T, dir, program string, args ...string) {
	t.Helper()
	out, ok := run(t, dir, program, args...)
	if t.Log(strings.TrimSpace(out)); ok || !strings.Contains(out, "FAILED") && !strings.Contains(out, "Error") && !strings.Contains(out, "golden: ") {
		t.Errorf("the golden test did not find it")
	}
}

// slow skips tests that take minutes.
func slow(t *testing.T) {
	t.Helper()
	if os.Getenv("EISFT_HOSTS") == "" {
		t.Skip("takes minutes: make test-hosts")
	}
}
