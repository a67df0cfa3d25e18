package hostfiles_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/export"
	"eisft/export/exporttest"
	"eisft/export/host"
	"eisft/export/manifest"
	"eisft/model"
	"eisft/model/modeltest"
)

// written is how many tokens are compared of each answer.
const written = 16

// prompts are texts of tokens for the demo base: every length between a short prompt and
// many times what is kept.
func prompts(m *model.Model) [][]int32 {
	var all [][]int32
	for _, n := range []int{300, 777, 2500, 8000} {
		all = append(all, modeltest.Tokens(m, n))
	}
	return all
}

// answers are what the Go host writes for each prompt.
func answers(t *testing.T, dir, precision string, prompts [][]int32) [][]int32 {
	t.Helper()
	m, err := host.Open(dir, host.Options{Precision: precision})
	if err != nil {
		t.Fatal(err)
	}
	var all [][]int32
	for _, ids := range prompts {
		st, err := m.NewStream()
		if err != nil {
			t.Fatal(err)
		}
		next, err := st.Read(t.Context(), ids, nil)
		if err != nil {
			t.Fatal(err)
		}
		out, err := st.Generate(t.Context(), next, model.GenerateOptions{MaxNewTokens: written})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, out)
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	return all
}

// demo exports the demo base with random trained parameters, so that everything matters.
func demo(t *testing.T, change func(testing.TB, *export.Options, *model.Model)) (*model.Model, string) {
	t.Helper()
	m := modeltest.Open(t, filepath.Join(root, "model", "demo"), modeltest.DefaultBlock(t))
	m = exporttest.Join(t, m.Base, m.Spec)
	return m, folder(t, m, func(o *export.Options) {
		o.Sizes, o.BaseDir = []export.Size{{Tokens: 512, Cache: 2048}}, filepath.Join(root, "model", "demo")
		change(t, o, m)
	})
}

// inScheme quantizes by a scheme; float graphs stand beside w8a16 ones.
func inScheme(name string) func(testing.TB, *export.Options, *model.Model) {
	return func(t testing.TB, o *export.Options, m *model.Model) {
		o.Quantized, o.QuantizedOnly = exporttest.QuantizedAs(t, m, exporttest.Scheme(t, name, "generic")), name != "w8a16"
	}
}

// TestHostLongPrompts: both hosts write the Go host's tokens after prompts of 300 to 8,000
// tokens, and give the demo base's golden vectors: in float and w8a16, and after the
// shortest and the longest in w8a16 in three parts and in two other schemes.
func TestHostLongPrompts(t *testing.T) {
	slow(t)
	outer, programs := t, ""
	for _, tc := range []struct {
		name       string
		change     func(testing.TB, *export.Options, *model.Model)
		precisions []string
		few        bool
	}{
		{"w8a16", inScheme("w8a16"), []string{manifest.Float, "w8a16"}, false},
		{"w8a16 in parts", func(t testing.TB, o *export.Options, m *model.Model) {
			inScheme("w8a16")(t, o, m)
			o.Parts, o.QuantizedOnly = 3, true
		}, []string{"w8a16"}, true},
		{"w4a16-lpbq32", inScheme("w4a16-lpbq32"), []string{"w4a16-lpbq32"}, true},
		{"w8a8", inScheme("w8a8"), []string{"w8a8"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, dir := demo(t, tc.change)
			modules(t, dir)
			if programs == "" {
				programs = compiled(outer, dir)
			}
			for name, command := range map[string][]string{"JavaScript": {"node", "js/golden.mjs"}, "C++": {filepath.Join(programs, "golden"), dir}} {
				out, ok := run(t, dir, command[0], command[1:]...)
				if t.Log(name, out); !ok || strings.Count(out, "tokens equal") < len(tc.precisions) {
					t.Errorf("%s: the golden vectors differ", name)
				}
			}
			ids := prompts(m)
			if tc.few {
				ids = [][]int32{ids[0], ids[len(ids)-1]}
			}
			for _, precision := range tc.precisions {
				sameAnswers(t, dir, programs, precision, ids)
			}
		})
	}
}

// sameAnswers holds what both hosts write after prompts to what the Go host does.
func sameAnswers(t *testing.T, dir, programs, precision string, ids [][]int32) {
	t.Helper()
	text, err := json.Marshal(ids)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ids.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	want := answers(t, dir, precision, ids)
	out, ok := run(t, dir, "node", "js/run.mjs", "--precision", precision, "--ids", file, "--max-new-tokens", fmt.Sprint(written))
	compare(t, "JavaScript, "+precision, out, ok, want)
	c := exec.CommandContext(t.Context(), filepath.Join(programs, "run"), dir, precision, fmt.Sprint(written))
	c.Stdin = strings.NewReader(strings.NewReplacer("[[", "", "]]", "\n", "],[", "\n", ",", " ").Replace(string(text)))
	raw, err := c.CombinedOutput()
	compare(t, "C++, "+precision, strings.NewReplacer(" \n", "]\n", " ", ",").Replace("["+strings.ReplaceAll(strings.TrimSpace(string(raw)), "\n", "\n[")+" \n"), err == nil, want)
}

// compare holds lines of tokens to those of the Go host.
func compare(t *testing.T, name, out string, ok bool, want [][]int32) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if !ok || len(lines) != len(want) {
		t.Errorf("%s: %d lines, want %d:\n%s", name, len(lines), len(want), out)
		return
	}
	for i, line := range lines {
		var got []int32
		if err := json.Unmarshal([]byte(line), &got); err != nil || !slices.Equal(got, want[i]) {
			t.Errorf("%s, prompt %d: got %v (%v), want %v", name, i, line, err, want[i])
		}
	}
	t.Logf("%s: the tokens after %d prompts are equal", name, len(lines))
}
