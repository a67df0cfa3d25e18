package eval

import (
	"strings"
	"testing"

	"eisft/data"
)

// TestFolderNames: different lists of files have different folders.
func TestFolderNames(t *testing.T) {
	var many, other data.Files
	for range 20 {
		many, other = append(many, data.One("x/ninety.jsonl")...), append(other, data.One("x/ninety.jsonl")...)
	}
	other[19].Path = "x/another.jsonl"
	two := func(a, b string) data.Files { return append(data.One(a), data.One(b)...) }
	of := func(files data.Files) string { return Config{Data: files}.Folder() }
	for name, c := range map[string]struct {
		files data.Files
		want  string
	}{
		"one":       {data.One("x/a.jsonl.gz"), "a"},
		"two":       {two("x/a.jsonl", "y/b*.parquet"), "a-and-b_"},
		"other two": {two("x/a.jsonl", "y/c.parquet"), "a-and-c"},
	} {
		if got := of(c.files); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if a, b := of(many), of(other); a == b || len(a) > longFolder || !strings.HasPrefix(a, "ninety-and-19-more-") {
		t.Errorf("of twenty files: %s and %s", a, b)
	}
}
