package internal

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "draw the arrows of ARCHITECTURE.md anew")

// rooms are the parts of the program in the order in which they may use each other, and
// what each of them may import beside internal and its own packages.
var rooms = []struct {
	name string
	uses []string
}{
	{"internal", nil},
	{"model", nil},
	{"data", []string{"model"}},
	{"eval", []string{"model", "data"}},
	{"train", []string{"model", "data", "eval"}},
	{"quant", []string{"model", "data", "eval"}},
	{"docs", nil},
	{"configs", nil},
	{"export", []string{"model", "data", "quant", "docs"}},
	{"inspect", []string{"model", "data", "eval", "train", "quant", "export"}},
	{"bench", []string{"model", "data", "quant", "export"}},
	{"cmd", []string{"model", "data", "eval", "train", "quant", "export", "inspect", "bench", "configs"}},
	{"scripts", []string{"model", "data", "eval", "train"}},
}

// withoutGraph are packages that must not link the autodiff graph: whoever runs,
// exports or looks at a model does not train it.
var withoutGraph = []string{"train/runs", "train/config", "eval", "quant", "export", "export/host", "inspect", "model", "model/chat"}

// TestRooms holds the imports of every package, those of its tests aside, to the list,
// and the arrows of ARCHITECTURE.md to the imports.
func TestRooms(t *testing.T) {
	may := map[string][]string{}
	for _, r := range rooms {
		may[r.name] = append(r.uses, r.name, "internal")
	}
	used := map[string]map[string]bool{}
	for _, r := range rooms {
		used[r.name] = map[string]bool{}
	}
	for pkg, imports := range list(t, "Imports") {
		from := room(pkg)
		if may[from] == nil {
			t.Errorf("%s lies in no room of the list", pkg)
		}
		for _, i := range imports {
			if to := room(i); strings.HasPrefix(i, "eisft/") {
				used[from][to] = true
				if !slices.Contains(may[from], to) {
					t.Errorf("%s imports %s, but %s may use only %v", pkg, i, from, may[from])
				}
			}
		}
	}
	for _, r := range rooms {
		for _, to := range r.uses {
			if !used[r.name][to] {
				t.Errorf("no package of %s imports %s any more; take it off the list", r.name, to)
			}
		}
	}
	const file, head = "../ARCHITECTURE.md", "room       uses\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), head)
	table, after, end := strings.Cut(rest, "```")
	if !ok || !end {
		t.Fatalf("%s has no table that begins with %q", file, head)
	}
	want := ""
	for _, r := range rooms {
		var uses []string
		for _, other := range rooms {
			if other.name != r.name && used[r.name][other.name] {
				uses = append(uses, other.name)
			}
		}
		want += strings.TrimRight(fmt.Sprintf("%-10s %s", r.name, strings.Join(uses, ", ")), " ") + "\n"
	}
	switch {
	case table == want:
	case *update:
		if err := os.WriteFile(file, []byte(before+head+want+"```"+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s has other arrows than the code (go test ./internal -update draws them anew):\n%swant:\n%s", file, table, want)
	}
}

// TestWithoutGraph checks that these packages do not depend on Gorgonia.
func TestWithoutGraph(t *testing.T) {
	deps := list(t, "Deps")
	for _, p := range withoutGraph {
		if deps["eisft/"+p] == nil {
			t.Errorf("there is no package %s", p)
		}
		if i := slices.IndexFunc(deps["eisft/"+p], func(d string) bool { return strings.HasPrefix(d, "gorgonia.org/") }); i >= 0 {
			t.Errorf("%s depends on %s", p, deps["eisft/"+p][i])
		}
	}
}

// room returns the room that a package lies in.
func room(pkg string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(pkg, "eisft/"), "/")
	return first
}

// list returns a field of go list for every package of the program.
func list(t *testing.T, field string) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-f", "{{.ImportPath}}{{range ."+field+"}} {{.}}{{end}}", path.Join("eisft", "..."))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	watch(t)
	packages := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		packages[words[0]] = words[1:]
	}
	return packages
}

// watch opens every source file, so that a cached result of this test does not outlive a
// change in one of them: go test does not see what go list reads.
func watch(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if name := d.Name(); err == nil && d.IsDir() && len(name) > 2 && name[0] == '.' {
			return filepath.SkipDir // .git, .cache
		}
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		_, err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
