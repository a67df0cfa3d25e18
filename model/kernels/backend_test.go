package kernels

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBackendSaysWhatItIsAndWhyNotTheLibraryAskedFor(t *testing.T) {
	notLibrary := filepath.Join(t.TempDir(), "libopenblas.so")
	if err := os.WriteFile(notLibrary, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	for setting, want := range map[string]string{
		"off":        builtinName(),
		"/none.so":   builtinName() + " (EISFT_BLAS: /none.so: ",
		notLibrary:   builtinName() + " (EISFT_BLAS: " + notLibrary + ": ",
		"libm.so.6":  builtinName() + " (EISFT_BLAS: libm.so.6: ",
		"unheard-of": builtinName() + " (EISFT_BLAS: unheard-of: ",
	} {
		if got := askedFor(setting); got.blas != nil || !strings.HasPrefix(got.name, want) {
			t.Errorf("%s: backend %q, want %q...", setting, got.name, want)
		}
	}
}

// TestBackendAskedFor fails where tests are to run with OpenBLAS and do not.
func TestBackendAskedFor(t *testing.T) {
	if asked := os.Getenv(EnvBLAS); asked == "openblas" && !strings.HasPrefix(Backend(), "OpenBLAS") {
		t.Errorf("%s=%s, and the backend is %s", EnvBLAS, asked, Backend())
	}
}
