package data_test

import (
	"compress/gzip"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	gocmp "github.com/google/go-cmp/cmp"

	"eisft/data"
)

// folder writes files into a folder and returns it.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// texts writes n rows of text.
func texts(name string, n int) string {
	var rows strings.Builder
	for i := range n {
		fmt.Fprintf(&rows, "{\"text\": \"%s %d\"}\n", name, i)
	}
	return rows.String()
}

// TestSet reads several files, each as its entry says, and names them where something is wrong.
func TestSet(t *testing.T) {
	const asked = `{"document":"c","input":"i","answers":["a"]}` + "\n"
	dir := folder(t, map[string]string{
		"a.jsonl": texts("a", 3), "b/2.jsonl": texts("b2", 2), "b/1.jsonl": texts("b1", 2), "b/x.md": "no data", "c.jsonl": asked + `{"document":"d","answers":[]}`,
		"[x].txt": "a text", "b/sub.jsonl/x": "",
	})
	t.Chdir(dir)
	set := data.Set{Files: data.Files{
		{Path: "b/*.jsonl"},
		{Path: "a.jsonl"},
		{Path: "[x].txt"},
		{Path: "c.jsonl", Options: data.Options{Columns: data.Columns{Context: "document"}, Prompt: "{context}? {input}"}},
	}, Options: data.Options{Prompt: "{context}! {input}"}}
	read := func(set data.Set) (all []string) {
		t.Helper()
		s, err := set.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for i := range s.Len() {
			sample, err := s.At(i)
			switch {
			case err != nil:
				all = append(all, err.Error())
			case sample.Text != "":
				all = append(all, sample.Where+" "+sample.Text)
			default:
				all = append(all, sample.Where+" "+sample.Messages[0].Content)
			}
		}
		return all
	}
	want := []string{
		"b/1.jsonl:line 1 b1 0", "b/1.jsonl:line 2 b1 1", "b/2.jsonl:line 1 b2 0", "b/2.jsonl:line 2 b2 1",
		"a.jsonl:line 1 a 0", "a.jsonl:line 2 a 1", "a.jsonl:line 3 a 2", "[x].txt:text a text", "c.jsonl:line 1 c? i",
		"c.jsonl:line 2: no column input: the file has answers, document",
	}
	if d := gocmp.Diff(want, read(set)); d != "" {
		t.Error(d)
	}
	set.Samples = 1
	if d := gocmp.Diff([]string{want[0], want[4], want[7], want[8]}, read(set)); d != "" {
		t.Errorf("the first of each: %s", d)
	}
	found := survey(t, openSet(t, data.Set{Files: data.One("b/*.jsonl")}), demoEncoder(t, 3), data.CheckOptions{Answers: true})
	if found.Path != "b/*.jsonl" || found.Bad[2].Where != "b/2.jsonl:line 1" || !strings.HasPrefix(found.Bad[2].Reason, "no answer") {
		t.Errorf("%s: %+v", found.Path, found.Bad)
	}
	for path, want := range map[string]string{
		"d/*.jsonl": "d/*.jsonl: no file has a name of this pattern",
		"d[":        "d[: not a pattern of file names: syntax error in pattern",
		"b/*":       "b/x.md: not a data file: want a name that ends in",
		"gone.txt":  "gone.txt: ",
		"b":         "b: it is not a regular file",
	} {
		if _, err := data.Open(path, data.Options{}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	if _, err := (data.Set{}).Open(); err == nil {
		t.Error("a set without files was opened")
	}
	one, err := data.One("b/1.jsonl").Sum()
	both, err2 := data.One("b/*.jsonl").Sum()
	if err != nil || err2 != nil || one == both || len(one) != 64 || len(both) != 64 {
		t.Errorf("hashes %s, %s (%v, %v)", one, both, err, err2)
	}
}

func openSet(t *testing.T, set data.Set) *data.Source {
	t.Helper()
	s, err := set.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestEmptyFiles: of a pattern, files without rows are left out and named once, however they are packed; a
// pattern of such files alone, and one that is named by itself, are refused.
func TestEmptyFiles(t *testing.T) {
	packed, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(gzip.NewWriter(packed).Close(), packed.Close()); err != nil {
		t.Fatal(err)
	}
	nothing, err := os.ReadFile(packed.Name())
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"full/b.jsonl": `{"text":"b"}`, "full/d.jsonl": `{"text":"d"}`}
	empty := map[string]string{"a.jsonl": "", "c.json": "[]", "e.csv": "text\n", "f.jsonl.gz": "", "g.txt": "", "h.jsonl.gz": string(nothing)}
	for name, text := range empty {
		files["full/"+name], files["empty/"+name] = text, text
	}
	t.Chdir(folder(t, files))
	s := openSet(t, data.Set{Files: data.One("full/*")})
	var said strings.Builder
	s.Announce(&said)
	const want = "full/a.jsonl, full/c.json, full/e.csv, full/f.jsonl.gz, full/g.txt and full/h.jsonl.gz: no rows; left out\n"
	if s.Len() != 2 || !strings.HasSuffix(said.String(), "\n"+want) || strings.Count(said.String(), "no rows") != 1 {
		t.Errorf("%d rows; it is said:\n%s", s.Len(), &said)
	}
	if _, err := data.Open("empty/*", data.Options{}); !errors.Is(err, data.ErrEmpty) || err.Error() != "empty/*: no rows: 6 files have names of this pattern, and none has a row" {
		t.Errorf("files without rows alone: %v", err)
	}
	for name := range empty {
		if _, err := data.Open("empty/"+name, data.Options{}); !errors.Is(err, data.ErrEmpty) || err.Error() != "empty/"+name+": no rows" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestManyDocuments: there may be more texts than a process may hold open.
func TestManyDocuments(t *testing.T) {
	files := map[string]string{}
	for i := range 300 {
		files[fmt.Sprintf("%03d.txt", i)] = fmt.Sprint("text ", i)
	}
	s := openSet(t, data.Set{Files: data.One(filepath.Join(folder(t, files), "*.txt"))})
	held, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	if len(held) > 100 {
		t.Errorf("%d files are open", len(held))
	}
	if last, err := s.At(299); err != nil || last.Text != "text 299" {
		t.Errorf("%q, %v", last.Text, err)
	}
}

// TestFilesYAML: what is written is read again, and no longer than it has to be.
func TestFilesYAML(t *testing.T) {
	for text, want := range map[string]data.Files{
		"a.jsonl\n":           data.One("a.jsonl"),
		"- a.jsonl\n- 'b*'\n": {{Path: "a.jsonl"}, {Path: "b*"}},
		"- a.jsonl\n- path: b.jsonl\n  weight: 2.0\n  prompt: |-\n    {context}\n\n    {input}\n  prompts:\n    x: '{context}'\n": {
			{Path: "a.jsonl"},
			{Path: "b.jsonl", Weight: 2, Options: data.Options{Prompt: "{context}\n\n{input}", Prompts: map[string]string{"x": "{context}"}}},
		},
	} {
		var got data.Files
		if err := yaml.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		if d := gocmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		written, err := yaml.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var again data.Files
		if err := yaml.Unmarshal(written, &again); err != nil || gocmp.Diff(want, again) != "" {
			t.Errorf("%s: read back as %+v (%v)", written, again, err)
		}
	}
}

// drawn counts, by the first word of its text, what a loader hands out.
func drawn(t *testing.T, l *data.Loader, s *data.Source, use []data.Piece, n int) (counts map[string]int, order []int) {
	t.Helper()
	sampler, err := s.Sampler(use, 7, data.Cursor{})
	if err != nil {
		t.Fatal(err)
	}
	counts = map[string]int{}
	for range n {
		i := sampler.Next()
		order = append(order, i)
		e, err := l.Next()
		if err != nil {
			t.Fatal(err)
		}
		sample, err := s.At(use[i].Row)
		if err != nil || sample.Where != e.Where {
			t.Fatalf("%s, and the loader has %s (%v)", sample.Where, e.Where, err)
		}
		counts[strings.Fields(sample.Text)[0]]++
	}
	return counts, order
}

// TestMixture draws of each entry as its weight says, all of its rows before one comes again,
// and goes on exactly where it was left.
func TestMixture(t *testing.T) {
	t.Chdir(folder(t, map[string]string{"a.jsonl": texts("a", 7), "b1.jsonl": texts("b", 30), "b2.jsonl": texts("b", 23), "c.jsonl": texts("c", 40)}))
	e := demoEncoder(t, 0)
	for _, c := range []struct {
		weights [3]float64
		want    map[string]float64 // share
	}{
		{[3]float64{}, map[string]float64{"a": 0.07, "b": 0.53, "c": 0.40}},
		{[3]float64{2, 1, 1}, map[string]float64{"a": 0.5, "b": 0.25, "c": 0.25}},
		{[3]float64{2, 0, 0}, map[string]float64{"a": 0.5, "b": 0.25, "c": 0.25}}, // 1, where others have one
		{[3]float64{0.001, 3, 5}, map[string]float64{"a": 0.000125, "b": 0.375, "c": 0.625}},
	} {
		s := openSet(t, data.Set{Files: data.Files{{Path: "a.jsonl", Weight: c.weights[0]}, {Path: "b*.jsonl", Weight: c.weights[1]}, {Path: "c.jsonl", Weight: c.weights[2]}}})
		use, err := survey(t, s, e, data.CheckOptions{}).Use(data.BadRowFail)
		if err != nil {
			t.Fatal(err)
		}
		l, err := data.NewLoader(s, use, e, 7, data.Cursor{})
		if err != nil {
			t.Fatal(err)
		}
		const n = 1000
		counts, order := drawn(t, l, s, use, n)
		for name, share := range c.want {
			if got := float64(counts[name]) / n; math.Abs(got-share) > 0.006 {
				t.Errorf("weights %v: %s has %.3f of the samples, want %.3f", c.weights, name, got, share)
			}
		}
		for i, p := range s.Portions(use, make([]int, len(use))) {
			if share := c.want[string("abc"[i])]; math.Abs(p.Share-share) > 1e-3 {
				t.Errorf("weights %v: entry %+v, want the share %g", c.weights, p, share)
			}
		}
		times := make([]int, len(use))
		for _, i := range order {
			times[i]++
		}
		for _, rows := range [][]int{times[:7], times[7:60], times[60:]} {
			if least, most := slices.Min(rows), slices.Max(rows); most-least > 2 { // the one that is under way, and that before it
				t.Errorf("weights %v: rows were drawn %d to %d times", c.weights, least, most)
			}
		}
		again, err := s.Sampler(use, 7, data.Cursor{})
		if err != nil {
			t.Fatal(err)
		}
		for k := range 300 {
			resumed, err := s.Sampler(use, 7, again.Cursor())
			if err != nil {
				t.Fatal(err)
			}
			if a, b := again.Next(), resumed.Next(); a != b || a != order[k] {
				t.Fatalf("draw %d is %d, resumed %d, want %d", k, a, b, order[k])
			}
		}
		if c.weights == [3]float64{} {
			if want := data.Order(7, 0, 100); !slices.Equal(order[:100], want) {
				t.Errorf("without weights the order is %v, want that of one file %v", order[:100], want)
			}
		}
	}
}

// TestMixtureIdentity: which entry a row is of is part of what is trained on where there are weights.
func TestMixtureIdentity(t *testing.T) {
	t.Chdir(folder(t, map[string]string{"a1": "", "1a.jsonl": texts("a", 3), "1b.jsonl": texts("b", 1), "2a.jsonl": texts("a", 2), "2b.jsonl": `{"text":"a 2"}` + "\n" + texts("b", 1)}))
	hash := func(a, b string, weight float64) string {
		sum, err := openSet(t, data.Set{Files: data.Files{{Path: a, Weight: weight}, {Path: b}}}).RowsHash(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	if hash("1a.jsonl", "1b.jsonl", 0) != hash("2a.jsonl", "2b.jsonl", 0) {
		t.Error("without weights it is not the same where files begin")
	}
	if hash("1a.jsonl", "1b.jsonl", 2) == hash("2a.jsonl", "2b.jsonl", 2) {
		t.Error("a row has moved to an entry of another weight, and the hash is the same")
	}
}

// TestSpread: the first rows of a spread source are of all entries in turn.
func TestSpread(t *testing.T) {
	dir := folder(t, map[string]string{"a.jsonl": texts("a", 3), "b.jsonl": texts("b", 1), "c.jsonl": texts("c", 2)})
	s := openSet(t, data.Set{Files: data.Files{{Path: filepath.Join(dir, "a.jsonl")}, {Path: filepath.Join(dir, "b.jsonl")}, {Path: filepath.Join(dir, "c.jsonl")}}}).Spread()
	order := ""
	for i := range s.Len() {
		sample, err := s.At(i)
		if err != nil {
			t.Fatal(err)
		}
		order += filepath.Base(sample.Where)[:1]
	}
	if order != "abcaca" {
		t.Errorf("rows of %s, want abcaca", order)
	}
}
