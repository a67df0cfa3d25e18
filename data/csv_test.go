package data

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

const csvRows = "\ufeffcontext,input,answers,depth,note\n" +
	"\"A \"\"quoted\"\" word, and\na second line\",Which?,\"[\"\"one\"\", \"\"two\"\"]\",0.5,x\n" +
	"[laughs] b,,4711,,\n"

const csvAsLines = `{"context": "A \"quoted\" word, and\na second line", "input": "Which?", "answers": ["one", "two"], "depth": 0.5, "note": "x"}
{"context": "[laughs] b", "input": "", "answers": "4711", "depth": null}
`

// samplesIn opens a file with a name and a content and reads all of it.
func samplesIn(t *testing.T, name string, content []byte) ([]Sample, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, Options{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var all []Sample
	for i := range s.Len() {
		sample, err := s.At(i)
		if err != nil {
			return all, err
		}
		sample.Where = strings.TrimPrefix(sample.Where, path)
		if sample.Depth != sample.Depth {
			sample.Depth = -1
		}
		all = append(all, sample)
	}
	return all, nil
}

// TestEndings: the same rows are the same samples in whatever form they lie.
func TestEndings(t *testing.T) {
	want, err := samplesIn(t, "rows.jsonl", []byte(csvAsLines))
	if err != nil || len(want) != 2 {
		t.Fatalf("%d samples, %v", len(want), err)
	}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	packed := z.EncodeAll([]byte(csvAsLines), nil)
	for name, content := range map[string][]byte{
		"rows.csv": []byte(csvRows), "rows.CSV": []byte(strings.ReplaceAll(csvRows, "\n[", "\r\n[")), "rows.jsonl.zst": packed, "rows.json.zst": packed,
		"rows.csv.zst": z.EncodeAll([]byte(csvRows), nil), "rows.csv.gz": gzipped(t, csvRows),
	} {
		got, err := samplesIn(t, name, content)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i := range got {
			if where := ":row " + string(rune('1'+i)); strings.EqualFold(name, "rows.csv") && got[i].Where != where {
				t.Errorf("%s: row %d is at %q, want %q", name, i, got[i].Where, where)
			}
			got[i].Where = want[i].Where
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%+v, want\n%+v", name, got, want)
		}
	}
}

func gzipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestDocuments: a file of plain text is a row, packed or not.
func TestDocuments(t *testing.T) {
	const text = "one line\n\nand \"another\" 😀\n"
	for name, content := range map[string][]byte{"a.txt": []byte(text), "a.TXT": []byte("\ufeff" + text), "a.txt.gz": gzipped(t, text)} {
		got, err := samplesIn(t, name, content)
		if err != nil || len(got) != 1 || got[0].Text != text || got[0].Where != ":text" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// TestBadEndings: what is cut off, empty or no text is said.
func TestBadEndings(t *testing.T) {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	packed := z.EncodeAll([]byte(csvAsLines), nil)
	for name, test := range map[string]struct {
		content []byte
		want    string
	}{
		"cut.jsonl.zst":   {packed[:len(packed)-9], "unpack: after "},
		"not.jsonl.zst":   {[]byte(csvAsLines), "unpack: "},
		"bomb.jsonl.zst":  {z.EncodeAll(bytes.Repeat([]byte("a"), 1<<24), nil), "not a text"},
		"zst.jsonl":       {packed, "give it a name that ends in .jsonl.zst"},
		"empty.csv":       {nil, "no rows"},
		"head.csv":        {[]byte("context,input,answers\n"), "no rows"},
		"quote.csv":       {[]byte("text\n\"a\n"), "CSV: "},
		"fields.csv":      {[]byte("text,b\na\n"), "wrong number of fields"},
		"unnamed.csv":     {[]byte("text,\na,b\n"), "column 2 has no name"},
		"twice.csv":       {[]byte("text,text\na,b\n"), "two columns are called text"},
		"latin1.csv":      {[]byte("text\nok\ncaf\xe9\n"), "row 2, column text: not UTF-8"},
		"x.md":            {[]byte("a"), "want a name that ends in .parquet, .jsonl, .jsonl.gz, .jsonl.zst, .json, .json.gz, .json.zst, .csv, .csv.gz, .csv.zst, .txt, .txt.gz, .txt.zst"},
		"x.parquet.zst":   {packed, "want a name that ends in .parquet, "},
		"cut.csv.zst":     {z.EncodeAll([]byte(csvRows), nil)[:60], "unpack: after "},
		"empty.txt":       {nil, "no rows"},
		"packed.txt":      {packed, "give it a name that ends in .txt.zst"},
		"latin1.txt":      {[]byte("caf\xe9"), "latin1.txt:text: its text: byte 3 (0xe9) is not UTF-8"},
		"bomb.txt.zst":    {z.EncodeAll(bytes.Repeat([]byte("a"), 1<<24), nil), "not a text"},
		"other-names.csv": {[]byte("question,reply\na,b\n"), "no column"},
	} {
		if _, err := samplesIn(t, name, test.content); err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// TestCSVSeparators names what stands between cells in place of commas, as spreadsheets of
// many countries write it.
func TestCSVSeparators(t *testing.T) {
	for _, text := range []string{"\ufeffprompt;completion\nx;y\n", "prompt\tcompletion\nx\ty\n"} {
		if _, err := samplesIn(t, "rows.csv", []byte(text)); err == nil || !strings.Contains(err.Error(), "must stand between commas, not semicolons or tabs") {
			t.Errorf("%q: error %v", text, err)
		}
	}
}
