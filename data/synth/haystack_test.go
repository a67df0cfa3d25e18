package synth

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"eisft/data"
	"eisft/model/tokenizer"
)

func demoTokenizer(t *testing.T) *tokenizer.Tokenizer {
	t.Helper()
	tk, err := tokenizer.Load("../../model/demo")
	if err != nil {
		t.Fatal(err)
	}
	return tk
}

// story is a text of different sentences, one of them long.
func story(t *testing.T) *Haystack {
	t.Helper()
	var text strings.Builder
	for i := range 60 {
		fmt.Fprintf(&text, "On day %d the ship\nwent on.  ", i)
	}
	text.WriteString(strings.Repeat("and on ", 40))
	h, err := NewHaystack(text.String())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestHide: rows have the length that was asked for, short of less than a line, the fact is
// where it was asked for, and the answers stand in the lines around nothing else.
func TestHide(t *testing.T) {
	tk, text := demoTokenizer(t), story(t)
	longest := 40 // of a conversation
	for i := range text.lines {
		_, n := text.at(i, tk)
		longest = max(longest, n)
	}
	for _, k := range Kinds() {
		for _, tokens := range []int{400, 1500} {
			for _, depth := range []float64{0, 0.3, 1} {
				random := rand.New(rand.NewPCG(1, uint64(tokens)))
				row, err := Hide(k, random, tokens, depth, text, tk)
				if err != nil {
					t.Fatal(err)
				}
				prompt := strings.NewReplacer("{context}", row.Context, "{input}", row.Input).Replace(KindPrompts()[string(k)])
				if n := len(tk.Encode(prompt, false)) + templateTokens; n > tokens || n < tokens-longest-len(row.Answers)-2 {
					t.Errorf("%s of %d tokens at %g has %d", k, tokens, depth, n)
				}
				lines := strings.Split(row.Context, "\n")
				at := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(strings.ToLower(l), strings.ToLower(row.Answers[0])) })
				near := 0.06
				if k == KindConversation || k == KindInterview { // its answers are words that others may say, too
					at, near = int(row.Depth*float64(len(lines))+0.5), 0.3
				}
				if got := float64(at) / float64(len(lines)); got != row.Depth || got < depth-near-float64(len(row.Answers))/float64(len(lines)) || got > depth+near {
					t.Errorf("%s of %d tokens: at %g of the lines, the row says %g, want %g", k, tokens, got, row.Depth, depth)
				}
				for _, a := range row.Answers {
					if k != KindVariables && k != KindConversation && k != KindInterview && strings.Count(row.Context, a) != 1 {
						t.Errorf("%s: %s is not once in %s", k, a, row.Context)
					}
				}
			}
		}
	}
}

// TestKinds: what is asked for follows from the text, and only that.
func TestKinds(t *testing.T) {
	tk, text := demoTokenizer(t), story(t)
	for k, want := range map[Kind][2]int{ // lines that are hidden, answers
		KindNeedle: {1, 1}, KindMultiKey: {4, 1}, KindMultiValue: {4, 4}, KindMultiQuery: {4, 4}, KindVariables: {5, 5},
	} {
		row, err := Hide(k, rand.New(rand.NewPCG(7, 7)), 800, 0.5, text, tk)
		if err != nil {
			t.Fatal(err)
		}
		var hidden []string
		for line := range strings.SplitSeq(row.Context, "\n") {
			if strings.HasPrefix(line, "The secret number of ") || strings.HasPrefix(line, "VAR ") {
				hidden = append(hidden, line)
			}
		}
		var found []string // as a reader who looks up what is asked for would
		value := map[string]string{}
		for _, line := range hidden {
			if key, v, ok := strings.Cut(strings.TrimPrefix(line, "The secret number of "), " is "); ok && strings.Contains(strings.NewReplacer("?", ",", " and ", ", ").Replace(row.Input), key+",") {
				found = append(found, strings.TrimSuffix(v, "."))
			}
			if name, v, ok := strings.Cut(strings.TrimPrefix(line, "VAR "), " = "); ok {
				if from, is := strings.CutPrefix(v, "VAR "); is {
					v = value[from]
				}
				if value[name] = v; v != "" && strings.Contains(row.Input, v) {
					found = append(found, name)
				}
			}
		}
		if len(hidden) != want[0] || len(row.Answers) != want[1] || !slices.Equal(found, row.Answers) {
			t.Errorf("%s: %q\n%s\nfound %q, answers %q", k, hidden, row.Input, found, row.Answers)
		}
	}
	row, err := Hide(KindKeyValue, rand.New(rand.NewPCG(7, 7)), 800, 0.5, nil, tk)
	if err != nil {
		t.Fatal(err)
	}
	key := strings.TrimSuffix(row.Input[strings.LastIndex(row.Input, " ")+1:], "?")
	if strings.Count(row.Context, key) != 1 || !strings.Contains(row.Context+"\n", key+": "+row.Answers[0]+"\n") {
		t.Errorf("%s\n%s\n%q", row.Context, row.Input, row.Answers)
	}
}

func rowsOf(t *testing.T, rows iter.Seq2[Row, error]) (out []Row) {
	t.Helper()
	for row, err := range rows {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, row)
	}
	return out
}

// TestGrid: the same seed makes the same files, rows are the same whichever others there
// are, and both forms of files are read as what was made.
func TestGrid(t *testing.T) {
	tk := demoTokenizer(t)
	g := Grid{Seed: 3, Kinds: Kinds(), Lengths: []int{400, 600}, Depths: []float64{0, 0.5, 1}, Count: 2, Text: story(t)}
	dir := t.TempDir()
	write := func(name string) []byte {
		n, err := WriteRows(filepath.Join(dir, name), g.Rows(tk))
		if err != nil || n <= 7*2*3*2 || n > 8*2*3*2 { // interviews have fewer rows where a fact is the nearest one to two depths
			t.Fatalf("%d rows, %v", n, err)
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	rows := rowsOf(t, g.Rows(tk))
	for _, name := range []string{"a.jsonl", "a.parquet"} {
		if !bytes.Equal(write(name), write("again-"+name)) {
			t.Errorf("%s is another file the second time", name)
		}
		source, err := data.Open(filepath.Join(dir, name), data.Options{Prompts: KindPrompts()})
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range rows {
			s, err := source.At(i)
			if err != nil {
				t.Fatal(err)
			}
			if s.ID != row.ID || s.Length != row.Length || s.Depth != row.Depth || !slices.Equal(s.Answers, row.Answers) || !strings.Contains(strings.ToLower(s.Fact), strings.ToLower(row.Answers[0])) ||
				!strings.Contains(s.Messages[0].Content, row.Context+"\n\n") || !strings.HasSuffix(s.Messages[0].Content, row.Input) {
				t.Fatalf("%s: row %d is %+v, want %+v", name, i, s, row)
			}
		}
		if err := source.Close(); err != nil {
			t.Fatal(err)
		}
	}
	part := g
	part.Kinds, part.Lengths, part.Depths, part.Count = []Kind{KindMultiKey}, []int{600}, []float64{0.5}, 1
	want := rows[slices.IndexFunc(rows, func(r Row) bool { return r.ID == "multikey-600-0.5-0" })]
	if d := cmp.Diff([]Row{want}, rowsOf(t, part.Rows(tk))); d != "" {
		t.Errorf("one row alone is another: %s", d)
	}
	part.Seed++
	if other := rowsOf(t, part.Rows(tk)); other[0].Answers[0] == want.Answers[0] {
		t.Error("another seed makes the same row")
	}
}

// TestInterviews: the questions of an interview are about one conversation, stand behind each
// other, and none is asked twice.
func TestInterviews(t *testing.T) {
	g := Grid{Kinds: []Kind{KindInterview}, Lengths: []int{800}, Depths: []float64{0, 0.02, 0.3, 0.6, 0.9}, Count: 2}
	rows := rowsOf(t, g.Rows(demoTokenizer(t)))
	asked := map[string][]string{}
	for i, r := range rows {
		if i > 0 && r.Context != rows[i-1].Context && asked[r.Context] != nil {
			t.Errorf("row %d goes back to an earlier conversation", i)
		}
		if slices.Contains(asked[r.Context], r.Input) {
			t.Errorf("%s asks again: %s", r.ID, r.Input)
		}
		asked[r.Context] = append(asked[r.Context], r.Input)
	}
	if len(asked) != 2 || len(rows) < 6 || len(rows) > 9 {
		t.Errorf("%d rows about %d conversations", len(rows), len(asked))
	}
}

func TestBadGrids(t *testing.T) {
	tk, text := demoTokenizer(t), story(t)
	good := Grid{Kinds: []Kind{KindNeedle}, Lengths: []int{400}, Depths: []float64{0.5}, Count: 1, Text: text}
	for want, change := range map[string]func(*Grid){
		"there must be a kind, a length and a depth; found 1, 0 and 1":                  func(g *Grid) { g.Lengths = nil },
		"the number of rows of each kind, length and depth is 0; it must be at least 1": func(g *Grid) { g.Count = 0 },
		`kind is "needles"; did you mean "needle"? It must be one of needle, multikey,`: func(g *Grid) { g.Kinds[0] = "needles" },
		"kind needle: it hides facts in a text, and none is given":                      func(g *Grid) { g.Text = nil },
		"a length is 0 tokens; it must be from 1 to":                                    func(g *Grid) { g.Lengths[0] = 0 },
		"a depth is -0.1; it must be from 0, the beginning of the text, to 1, its end":  func(g *Grid) { g.Depths[0] = -0.1 },
		"synth: 60 tokens are too few for needle: what is hidden and asked takes":       func(g *Grid) { g.Lengths[0] = 60 },
	} {
		g := good
		g.Kinds, g.Lengths, g.Depths = slices.Clone(g.Kinds), slices.Clone(g.Lengths), slices.Clone(g.Depths)
		change(&g)
		path := filepath.Join(t.TempDir(), "rows.jsonl")
		if _, err := WriteRows(path, g.Rows(tk)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: a file was left: %v", want, err)
		}
	}
	if _, err := WriteRows("rows.csv", good.Rows(tk)); err == nil || err.Error() != "rows.csv: want a name that ends in .jsonl or .parquet" {
		t.Error(err)
	}
	if _, err := NewHaystack(" \n"); err == nil {
		t.Error("a text without words hides something")
	}
}

// FuzzHaystack: whatever the text is, the row can be read, and its fact is in its line.
func FuzzHaystack(f *testing.F) {
	tk, err := tokenizer.Load("../../model/demo")
	if err != nil {
		f.Fatal(err)
	}
	f.Add("One. Two three.", uint64(1), 0.5)
	f.Add("。\u00a0.\x00", uint64(2), 1.0)
	f.Fuzz(func(t *testing.T, text string, seed uint64, depth float64) {
		h, err := NewHaystack(text)
		if err != nil || !(depth >= 0 && depth <= 1) {
			return
		}
		row, err := Hide(KindVariables, rand.New(rand.NewPCG(seed, 0)), 300, depth, h, tk)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(row.Context, "\n")
		if at := int(row.Depth*float64(len(lines)) + 1e-6); !strings.Contains(lines[at], row.Answers[0]) {
			t.Errorf("line %d of %q does not have %s", at, lines, row.Answers[0])
		}
	})
}
