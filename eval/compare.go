package eval

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// EvaluationsDir is where a run's evaluations lie in its folder, each in one of its own.
const EvaluationsDir = "evals"

// Comparison is what evaluation B has more than A, on the questions that both were asked.
type Comparison struct {
	A           string        `json:"a"` // folders
	B           string        `json:"b"`
	Notes       []string      `json:"notes,omitempty"` // what differs, and what cannot be compared
	Differences []*Difference `json:"differences"`     // of B, against A
	Texts       []*Texts      `json:"texts,omitempty"` // of B, with what they have more than A's
}

// Compare compares two evaluations, each named by its folder or by that of a run, policy by
// policy. Questions are the same if their prompts are, token by token, whatever file they
// come from.
func Compare(a, b string) (*Comparison, error) {
	a, b, err := findKept(a, b)
	if err != nil {
		return nil, err
	}
	was, err := ReadKept(a)
	if err != nil {
		return nil, err
	}
	now, err := ReadKept(b)
	if err != nil {
		return nil, err
	}
	c := &Comparison{A: a, B: b, Notes: now.Settings.differences(&was.Settings)}
	before, after := was.results(), now.results()
	for _, two := range c.match(before, after) {
		list := pairUp(fold(two[0].Answers), fold(two[1].Answers), asked)
		if len(list) == 0 {
			continue
		}
		name := two[1].Title()
		if two[0].Reading != two[1].Reading {
			name += " against " + two[0].Title()
		}
		if n, m := len(fold(two[0].Answers)), len(fold(two[1].Answers)); len(list) < n || len(list) < m {
			c.Notes = append(c.Notes, fmt.Sprintf("%s: %d questions are in both, of %d and %d", name, len(list), n, m))
		}
		c.Differences = append(c.Differences, difference(name, a, list, was.Settings.Bounds))
	}
	c.compareTexts(was.texts(), now.texts())
	if len(c.Differences) == 0 && len(c.Texts) == 0 {
		return nil, fmt.Errorf("%s and %s have no question or text in common that has the same tokens: %s", a, b, c.why())
	}
	return c, nil
}

// asked tells questions apart by their prompts.
func asked(a Answer) string { return a.PromptSHA256 }

// match pairs results of the same policies. If no policy is in both, and each has one, these
// are paired.
func (c *Comparison) match(before, after []*Result) (list [][2]*Result) {
	for _, b := range before {
		for _, a := range after {
			if a.Reading == b.Reading {
				list = append(list, [2]*Result{b, a})
			}
		}
	}
	if len(list) == 0 && len(before) == 1 && len(after) == 1 {
		return [][2]*Result{{before[0], after[0]}}
	}
	lacks := func(folder string, of, in []*Result) {
		for _, r := range of {
			if !slices.ContainsFunc(in, func(s *Result) bool { return s.Reading == r.Reading }) {
				c.Notes = append(c.Notes, fmt.Sprintf("policy %s is not compared: %s has it alone", r.Reading.Title(), folder))
			}
		}
	}
	lacks(c.A, before, after)
	lacks(c.B, after, before)
	return list
}

// why says what differs, where nothing can be compared.
func (c *Comparison) why() string {
	if len(c.Notes) == 0 {
		return "one of them has no records yet"
	}
	return strings.Join(c.Notes, "; ")
}

// results are those of an evaluation's policies, in the order in which they were measured.
func (k *Kept) results() []*Result {
	var list []*Result
	at, seeds := map[Reading]*Result{}, map[Reading]map[int]bool{}
	for _, one := range k.Records {
		if one.Text != nil {
			continue
		}
		r := at[one.Reading]
		if r == nil {
			r = &Result{Reading: one.Reading, Budget: one.Budget, Bounds: k.Settings.Bounds}
			at[one.Reading], seeds[one.Reading] = r, map[int]bool{}
			list = append(list, r)
		}
		seeds[one.Reading][one.Seed] = true
		one.Answers = slices.Clone(one.Answers)
		for i := range one.Answers { // what a row was called depends on where the command ran
			one.Answers[i].Where = fmt.Sprintf("%s:row %d", filepath.Base(k.Settings.Data.Path), one.Row+1)
		}
		r.add(one)
	}
	for _, r := range list {
		if n := len(seeds[r.Reading]); n > 1 {
			r.Seeds = n
		}
	}
	return list
}

// findKept finds the evaluations that two folders name. Of a run it is the one that has the
// name of the other's, or the only one.
func findKept(a, b string) (string, string, error) {
	as, err := keptIn(a)
	if err != nil {
		return "", "", err
	}
	bs, err := keptIn(b)
	if err != nil {
		return "", "", err
	}
	if len(as) == 1 && len(bs) == 1 {
		return as[0], bs[0], nil
	}
	var both [][2]string
	for _, x := range as {
		for _, y := range bs {
			if filepath.Base(x) == filepath.Base(y) {
				both = append(both, [2]string{x, y})
			}
		}
	}
	if len(both) == 1 {
		return both[0][0], both[0][1], nil
	}
	return "", "", fmt.Errorf("which evaluations are meant is not clear: %s has %s, %s has %s; name one of each", a, names(as), b, names(bs))
}

func names(dirs []string) string {
	var list []string
	for _, d := range dirs {
		list = append(list, filepath.Base(d))
	}
	return strings.Join(list, ", ")
}

// keptIn lists the evaluations that a folder is or, if it is a run's, has.
func keptIn(dir string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(dir, SettingsFile)); err == nil {
		return []string{dir}, nil
	}
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(dir, EvaluationsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var found []string
	for _, e := range entries {
		evaluation := filepath.Join(dir, EvaluationsDir, e.Name())
		if _, err := os.Stat(filepath.Join(evaluation, SettingsFile)); err == nil {
			found = append(found, evaluation)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s is no evaluation's folder and has none: eisft eval --run %s makes one", dir, dir)
	}
	return found, nil
}

// tables are all that the comparison shows in words.
func (c *Comparison) tables() []table {
	var list []table
	title := c.B + " against " + c.A
	if len(c.Differences) > 0 {
		list = append(list, differenceTable(title, c.Differences))
	}
	if len(c.Texts) > 0 {
		list = append(list, textChanges("perplexity of plain texts, "+title, c.Texts))
	}
	list[len(list)-1].notes = []string{chanceNote}
	return list
}

// WriteTable prints the comparison.
func (c *Comparison) WriteTable(w io.Writer) error { return writeTables(w, c.tables()) }

// WriteMarkdown prints the comparison as Markdown.
func (c *Comparison) WriteMarkdown(w io.Writer) error { return writeMarkdown(w, c.tables()) }
