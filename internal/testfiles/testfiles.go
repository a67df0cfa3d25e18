// Package testfiles finds what tests read: goldens and models that are part of the
// repository, and large or foreign files that are not. testdata/README.md lists the
// goldens and who made them.
package testfiles

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Golden returns the path of rel (slash-separated) in this package's testdata. It
// fails the test where rel is absent: goldens are part of the repository.
func Golden(t testing.TB, rel string) string {
	t.Helper()
	return Repository(t, "internal/testfiles/testdata/"+rel)
}

// Repository returns the path of rel (slash-separated) from the repository's root,
// "model/demo" for example, and fails the test where it is absent.
func Repository(t testing.TB, rel string) string {
	t.Helper()
	path := filepath.Join(root(t), filepath.FromSlash(rel))
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the repository has no %s, which belongs to it: %v", rel, err)
	}
	return path
}

// Shared returns the path of rel (slash-separated) in the folder of files that are not
// part of the repository: $EISFT_SHARED, or else the folder "shared" beside the
// checkout. It skips the test where rel is absent.
func Shared(t testing.TB, rel string) string {
	t.Helper()
	folder := os.Getenv("EISFT_SHARED")
	if folder == "" {
		folder = filepath.Join(root(t), "..", "shared")
	}
	path := filepath.Join(folder, filepath.FromSlash(rel))
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("needs %s, which is not part of the repository: put it into %s, or set EISFT_SHARED to the folder that has it", rel, folder)
	} else if err != nil {
		t.Fatal(err)
	}
	return path
}

// Base returns the folder of a model: "demo" (our base), "stories260k" or one of the tiny
// random ones in testdata/hf, by its family.
func Base(t testing.TB, name string) string {
	t.Helper()
	switch name {
	case "demo":
		return Repository(t, "model/demo")
	case "stories260k":
		return Golden(t, "stories260k/model")
	}
	return Golden(t, "hf/"+name)
}

// Tokenizer returns the folder of a tokenizer: "demo", "stories260k" or "qwen3". Qwen3's
// has 11 MB and comes from a package; the test is skipped without it.
func Tokenizer(t testing.TB, name string) string {
	t.Helper()
	if name != "qwen3" {
		return Base(t, name)
	}
	dir := filepath.Join(root(t), ".cache", "tokenizers", name)
	if _, err := os.Stat(filepath.Join(dir, "tokenizer.json")); err != nil {
		t.Skip("needs Qwen3's tokenizer, which is not part of the repository: run scripts/fetch-tokenizer.sh")
	}
	return dir
}

// Slow skips a test that takes long unless EISFT_SLOW is set, as make test-slow does. Such
// a test is named TestSlow….
func Slow(t testing.TB) {
	t.Helper()
	if os.Getenv("EISFT_SLOW") == "" {
		t.Skip("takes long: set EISFT_SLOW=1")
	}
}

// started is the folder that the test binary was started in: its package's. A test may
// have left it since.
var started, startError = os.Getwd()

// root is the folder of go.mod above that.
func root(t testing.TB) string {
	t.Helper()
	if startError != nil {
		t.Fatal(startError)
	}
	for dir := started; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatalf("no go.mod in %s or above it: tests run in the repository", started)
		}
	}
}
