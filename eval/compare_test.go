package eval

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// keptFolder writes an evaluation's folder.
func keptFolder(t *testing.T, dir string, change func(s *Settings), records ...Record) string {
	t.Helper()
	s := Settings{
		Schema: settingsSchema, Version: "v1", Base: "base", Adapter: "one", Template: "template", Data: DataFile{SHA256: "data"},
		Bounds: Bounds{NearBelow: 256, FarAbove: 512}, Policies: []Policy{PolicyFull}, Seeds: 1,
	}
	if change != nil {
		change(&s)
	}
	text, err := json.Marshal(s)
	if err := errors.Join(err, os.MkdirAll(dir, 0o777), os.WriteFile(filepath.Join(dir, SettingsFile), text, 0o666),
		os.WriteFile(filepath.Join(dir, RecordsFile), []byte(lines(t, records...)), 0o666)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// of makes records of rows; right says which are answered.
func of(p Policy, rows []int, right func(row int) bool) []Record {
	var list []Record
	for _, row := range rows {
		r := recorded(p, 0, row, 0)
		if right(row) {
			r = recorded(p, 0, row, 1)
		}
		list = append(list, r)
	}
	return list
}

// TestCompare: two evaluations are compared on the prompts of both, whatever their order and
// file, pair by pair, and what differs is said by name.
func TestCompare(t *testing.T) {
	dir := t.TempDir()
	rows := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	back := []int{12, 11, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}
	a := keptFolder(t, filepath.Join(dir, "a"), nil, of(PolicyFull, rows, func(row int) bool { return row == 9 })...)
	b := keptFolder(t, filepath.Join(dir, "b"), func(s *Settings) { s.Adapter, s.Data.SHA256, s.Template = "two", "other", "" },
		append(of(PolicyFull, back, func(row int) bool { return row < 7 || row > 8 }), recorded(PolicyWindow, 0, 0, 1))...)
	elsewhere, err := ReadKept(b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range elsewhere.Records { // the same questions in another file
		elsewhere.Records[i].Answers[0].Where = fmt.Sprintf("y.parquet:row %d", i)
	}
	if err := os.WriteFile(filepath.Join(b, RecordsFile), []byte(lines(t, elsewhere.Records...)), 0o666); err != nil {
		t.Fatal(err)
	}
	c, err := Compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	far := c.Differences[0].Buckets[0]
	if em := far.Changes["em"]; far.Bucket != Far || far.N != 10 || math.Abs(em.Difference.Value-0.7) > 1e-12 || em.Differ != 7 || !em.BeyondChance || em.Before.Value != 0.1 || em.After.Value != 0.8 {
		t.Errorf("%+v", far)
	}
	for _, want := range []string{
		"the adapter was one and is two", "the chat template was template and is none", "the data was data and is other",
		"policy window is not compared: " + b + " has it alone", "full: 10 questions are in both, of 10 and 12",
	} {
		if !strings.Contains(strings.Join(c.Notes, "\n"), want) {
			t.Errorf("no note %q in %q", want, c.Notes)
		}
	}
	var out strings.Builder
	if err := errors.Join(c.WriteTable(&out), c.WriteMarkdown(&out)); err != nil || !strings.Contains(out.String(), "+0.70 (+0.40 to +1.00) *") {
		t.Errorf("%s, %v", out.String(), err)
	}
	same, err := Compare(a, a)
	if err != nil || len(same.Notes) != 0 || same.Differences[0].Buckets[0].Changes["em"].Differ != 0 {
		t.Errorf("with itself: %+v, %v", same, err)
	}
}

// TestCompareRuns: a run stands for its evaluation of the other's name, and single policies
// are compared whatever they are.
func TestCompareRuns(t *testing.T) {
	dir := t.TempDir()
	rows := []int{0, 1, 2}
	all := func(int) bool { return true }
	run := filepath.Join(dir, "a[1]*")
	keptFolder(t, filepath.Join(run, EvaluationsDir, "test"), nil, of(PolicyFull, rows, all)...)
	keptFolder(t, filepath.Join(run, EvaluationsDir, "books"), nil, of(PolicyFull, rows[:1], all)...)
	other := keptFolder(t, filepath.Join(dir, "b", EvaluationsDir, "test"), nil, of(PolicyWindow, rows, func(int) bool { return false })...)
	c, err := Compare(run, filepath.Join(dir, "b"))
	if err != nil {
		t.Fatal(err)
	}
	if d := c.Differences[0]; d.Of != "window against full" || d.Buckets[0].N != 3 || d.Buckets[0].Changes["em"].Difference.Value != -1 || c.B != other {
		t.Errorf("%+v of %s", d, c.B)
	}
	if d := c.Differences[0].Buckets[0].Changes["em"]; d.BeyondChance {
		t.Errorf("three conversations are beyond chance: %+v", d)
	}
	for _, tc := range []struct{ a, b, want string }{
		{run, run, "which evaluations are meant is not clear: " + run + " has books, test, "},
		{dir, run, dir + " is no evaluation's folder and has none: eisft eval --run " + dir + " makes one"},
		{run, filepath.Join(dir, "gone"), "no such file"},
		{other, keptFolder(t, filepath.Join(dir, "c"), func(s *Settings) { s.Data.SHA256 = "x" }, of(PolicyWindow, []int{7}, all)...), "have no question or text in common that has the same tokens: the data was data and is x"},
		{other, keptFolder(t, filepath.Join(dir, "d"), nil), "have no question or text in common that has the same tokens: "},
		{other, keptFolder(t, filepath.Join(dir, "e"), func(s *Settings) { s.Schema = 2 }), "settings.json: schema is 2; this version reads 1"},
	} {
		if _, err := Compare(tc.a, tc.b); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s and %s: error %v, want %q", tc.a, tc.b, err, tc.want)
		}
	}
}
