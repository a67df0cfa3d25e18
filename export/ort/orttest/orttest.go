// Package orttest lets tests use ONNX Runtime where it is there.
package orttest

import (
	"os"
	"path/filepath"
	"testing"

	"eisft/export/ort"
)

// Require skips the test where ONNX Runtime cannot be started. Tests run in their
// package's folder, so the library of the checkout is looked up from its root.
func Require(t testing.TB) {
	t.Helper()
	if path := inCheckout(); path != "" && os.Getenv("EISFT_ONNXRUNTIME") == "" {
		t.Setenv("EISFT_ONNXRUNTIME", path)
	}
	if _, err := ort.Version(); err != nil {
		t.Skip(err)
	}
}

// inCheckout is the library's path in the folder of go.mod, "" if it is not there.
func inCheckout() string {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			path := filepath.Join(dir, ".cache", "onnxruntime", "libonnxruntime.so.1")
			if _, err := os.Stat(path); err != nil {
				return ""
			}
			return path
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
		dir = filepath.Dir(dir)
	}
	return ""
}

// Run opens the model at path, runs it once on inputs and
// returns the outputs; any error fails the test.
func Run(t testing.TB, path string, o ort.Options, inputs map[string]ort.Tensor) map[string]ort.Tensor {
	t.Helper()
	s, err := ort.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	outputs, err := s.Run(inputs)
	if err != nil {
		t.Fatal(err)
	}
	return outputs
}
