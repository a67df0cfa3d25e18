package testfiles

import (
	"os"
	"path/filepath"
	"testing"
)

// outcome is a test that notes how it ends.
type outcome struct {
	testing.TB
	ended, why string
}

func (o *outcome) end(how, why string) { o.ended, o.why = how, why; panic(o) }

func (o *outcome) Fatalf(format string, args ...any) { o.end("fails", format) }
func (o *outcome) Skipf(format string, args ...any)  { o.end("skips", format) }
func (o *outcome) Skip(args ...any)                  { o.end("skips", args[0].(string)) }

// how runs find as a test and says how it ended.
func how(t *testing.T, find func(t testing.TB) string) (o *outcome, path string) {
	o = &outcome{TB: t}
	defer func() {
		if r := recover(); r != nil && r != any(o) {
			panic(r)
		}
	}()
	path = find(o)
	return o, path
}

// TestAbsent: what belongs to the repository fails, what does not skips with what to do.
func TestAbsent(t *testing.T) {
	t.Setenv("EISFT_SHARED", t.TempDir())
	for name, tc := range map[string]struct {
		find func(t testing.TB) string
		want string
	}{
		"golden":     {func(t testing.TB) string { return Golden(t, "edge/none.safetensors") }, "fails"},
		"repository": {func(t testing.TB) string { return Repository(t, "model/none") }, "fails"},
		"tokenizer":  {func(t testing.TB) string { return Tokenizer(t, "none") }, "fails"},
		"shared":     {func(t testing.TB) string { return Shared(t, "data/none.parquet") }, "skips"},
		"is there":   {func(t testing.TB) string { return Golden(t, "edge/retain.safetensors") }, ""},
	} {
		o, path := how(t, tc.find)
		if o.ended != tc.want {
			t.Errorf("%s: %q (%s), want %q", name, o.ended, o.why, tc.want)
		}
		if _, err := os.Stat(path); tc.want == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestShared(t *testing.T) {
	folder := t.TempDir()
	want := filepath.Join(folder, "data")
	if err := os.Mkdir(want, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("EISFT_SHARED", folder)
	if got := Shared(t, "data"); got != want {
		t.Errorf("Shared = %s, want %s", got, want)
	}
}

// TestFromAnotherFolder: a test may change the working directory first.
func TestFromAnotherFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	Repository(t, "go.mod")
}
