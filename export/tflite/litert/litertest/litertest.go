// Package litertest lets tests use LiteRT where it is there.
package litertest

import (
	"os"
	"path/filepath"
	"testing"

	"eisft/export/tflite/litert"
)

// Require skips the test where LiteRT cannot be started. Tests run in their package's folder,
// so it is looked for from the checkout's root.
func Require(t testing.TB) {
	t.Helper()
	if folder := inCheckout(); folder != "" && os.Getenv(litert.FolderVariable) == "" {
		t.Setenv(litert.FolderVariable, folder)
	}
	if _, err := litert.Version(); err != nil {
		t.Skip(err)
	}
}

// inCheckout is the folder .cache/litert beside go.mod, "" where there is none.
func inCheckout() string {
	for dir, err := os.Getwd(); err == nil && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, ".cache", "litert")
		}
	}
	return ""
}

// Open opens a file in LiteRT, until the test ends.
func Open(t testing.TB, path string) *litert.Model {
	t.Helper()
	Require(t)
	m, err := litert.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}
