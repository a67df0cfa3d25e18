package kernels

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// fakeLibrary is a chooser over a folder, in which a library that is not opened runs at a rate.
type fakeLibrary struct {
	chooser
	dir           string
	name          string
	rate          float64 // the built-in kernels have 100
	opened, timed int     // how many times
}

func newFakeLibrary(dir, name string, rate float64) *fakeLibrary {
	f := &fakeLibrary{dir: dir, name: name, rate: rate}
	lib := new(openBLAS)
	f.chooser = chooser{
		cache: func() (string, error) { return f.dir, nil },
		find: func() (*openBLAS, string, error) {
			if f.opened++; f.name == "" {
				return nil, "", errors.New("none")
			}
			return lib, f.name, nil
		},
		measure: func(*openBLAS) (ours, its float64) { f.timed++; return 100, f.rate },
	}
	return f
}

// want chooses and compares what is chosen and how often the library was opened and measured so far.
func (f *fakeLibrary) want(t *testing.T, name string, opened, measured int) backendChoice {
	t.Helper()
	got := f.choose()
	if got.name != name || (got.blas != nil) != (name == f.name) || f.opened != opened || f.timed != measured {
		t.Errorf("chose %q (%s), opened the library %d times and measured %d times; want %q, %d, %d", got.name, got.why, f.opened, f.timed, name, opened, measured)
	}
	return got
}

// TestChoiceIsMadeOnce: the faster one is chosen, and stays so without another measurement.
func TestChoiceIsMadeOnce(t *testing.T) {
	slow := newFakeLibrary(t.TempDir(), "OpenBLAS 1 Old (x)", 105)
	got := slow.want(t, builtinName(), 1, 1)
	if m := readMeasurement(got.why); m == nil || *m != *got.measured || m.BuiltinRate != 100 || m.LibraryRate != 105 || m.Library != slow.name {
		t.Errorf("%s holds %+v, want %+v", got.why, m, got.measured)
	}
	slow.rate = 900
	slow.want(t, builtinName(), 1, 1)
	fast := newFakeLibrary(t.TempDir(), "OpenBLAS 1 New (x)", 120)
	fast.want(t, fast.name, 1, 1)
	fast.rate = 1
	fast.want(t, fast.name, 2, 1)
	fast.name = "OpenBLAS 2 New (x)" // measured anew
	fast.want(t, builtinName(), 3, 2)
	fast.name = ""
	fast.want(t, builtinName(), 3, 2)
	none := newFakeLibrary(t.TempDir(), "", 0)
	if got := none.want(t, builtinName(), 1, 0); got.measured != nil || got.why != "no OpenBLAS to compare with" {
		t.Errorf("without a library: %+v, %s", got.measured, got.why)
	}
}

// TestChoiceIsOfAMachine: another core type, or another file of the library, is measured.
func TestChoiceIsOfAMachine(t *testing.T) {
	f := newFakeLibrary(t.TempDir(), "OpenBLAS 1 Old (x)", 50)
	got := f.want(t, builtinName(), 1, 1)
	library := filepath.Join(t.TempDir(), "libopenblas.so.0")
	if err := os.WriteFile(library, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`"file": "[^"]*"`).ReplaceAllLiteralString(readText(t, got.why), `"file": "`+library+`"`)
	if err := os.WriteFile(got.why, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f.want(t, builtinName(), 2, 2) // neither size nor time are those of the file
	t.Setenv("OPENBLAS_CORETYPE", "Nehalem")
	if other := f.want(t, builtinName(), 3, 3); other.why == got.why {
		t.Errorf("both are kept in %s", got.why)
	}
}

// TestBrokenChoice: what cannot be read is measured again; where nothing can be kept, the rule decides.
func TestBrokenChoice(t *testing.T) {
	dir := t.TempDir()
	f := newFakeLibrary(dir, "OpenBLAS 1 New (x)", 200)
	file := f.want(t, f.name, 1, 1).why
	good := readText(t, file)
	for i, text := range []string{"", "{", "[]", strings.Replace(good, "200", "-1", 1), strings.Replace(good, builtinName(), "built-in", 1)} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f.want(t, f.name, i+2, i+2)
		if readText(t, file) != good {
			t.Errorf("after %q the file holds %q", text, readText(t, file))
		}
	}
	if all, err := os.ReadDir(filepath.Dir(file)); err != nil || len(all) != 1 {
		t.Errorf("%d files are left (%v)", len(all), err)
	}
	rule := builtinName()
	if LibraryIsFaster() {
		rule = f.name
	}
	f.opened, f.timed, f.dir = 0, 0, file // no folder can be made in a file
	if got := f.want(t, rule, 1, 0); got.measured != nil || !strings.HasPrefix(got.why, "there is no place to keep the result: ") {
		t.Errorf("without a place: %+v, %s", got.measured, got.why)
	}
	f.cache = func() (string, error) { return "", errors.New("no home") }
	if got := f.want(t, rule, 2, 0); got.why != "there is no place to keep the result: no home" {
		t.Errorf("without a cache folder: %s", got.why)
	}
}

func readText(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestTwoChooseAtOnce: of two processes that measure at the same time both take what the first one kept.
func TestTwoChooseAtOnce(t *testing.T) {
	dir := t.TempDir()
	first, second := newFakeLibrary(dir, "OpenBLAS 1 New (x)", 200), newFakeLibrary(dir, "OpenBLAS 1 New (x)", 50)
	second.measure = func(*openBLAS) (ours, its float64) {
		first.want(t, first.name, 1, 1)
		return 100, 50
	}
	if got := second.choose(); got.name != second.name || got.measured.LibraryRate != 200 {
		t.Errorf("the second chose %q by %+v", got.name, got.measured)
	}
}

// TestCompareRates compares the rates with a product that is timed apart from them.
func TestCompareRates(t *testing.T) {
	lib := askedFor("openblas").blas
	if lib == nil {
		t.Skip("needs OpenBLAS")
	}
	start := time.Now()
	ours, its := compareRates(lib)
	if took := time.Since(start); took > 5*time.Second || ours <= 0 || its <= 0 {
		t.Errorf("in %v: %g and %g GFLOP/s", took, ours, its)
	}
	p := randomProduct(rand.New(rand.NewPCG(1, 2)), false, true, 64, 256, 256, 0, 1, 0)
	p.blas = lib
	best := time.Hour
	for range 50 {
		start := time.Now()
		p.run()
		best = min(best, time.Since(start))
	}
	if rate := 2 * 64 * 256 * 256 / best.Seconds() / 1e9; its > 10*rate || its < rate/10 {
		t.Errorf("the library runs at %g GFLOP/s, want about %g", its, rate)
	}
}
