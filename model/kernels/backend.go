package kernels

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
)

// EnvBLAS names the environment variable that chooses the BLAS behind Gemm: unset takes OpenBLAS from the system's
// library path where it was measured to be faster than the built-in kernels (see [Measured]), "openblas" takes it in
// any case, a path opens that library, "off" uses the built-in kernels.
const EnvBLAS = "EISFT_BLAS"

type backendChoice struct {
	blas     *openBLAS // nil: built-in kernels
	name     string
	measured *Measurement // nil: nothing was measured
	why      string       // where the measurement is kept, or why there is none
}

// backend opens the BLAS once, at the first product.
var backend = sync.OnceValue(func() backendChoice {
	if setting := os.Getenv(EnvBLAS); setting != "" {
		return askedFor(setting)
	}
	return usualChooser.choose()
})

// peakLibrary is the OpenBLAS that the system has, nil if none or "off".
var peakLibrary = sync.OnceValue(func() *openBLAS {
	setting := os.Getenv(EnvBLAS)
	if lib := backend().blas; lib != nil || setting == "off" {
		return lib
	}
	return askedFor("openblas").blas
})

// Backend says what computes matrix products, such as "OpenBLAS 0.3.21 Haswell (libopenblas.so.0)" or "built-in AVX2".
// When EISFT_BLAS names a library that could not be opened it also says why.
func Backend() string { return backend().name }

// Bits names what the bits of results depend on beside the numbers that go in: where it is the same, they are. The
// kernels for AVX2, AVX-512 and NEON agree, but of what is computed in Go the compiler fuses multiplications with
// additions on all processors but amd64.
func Bits() string {
	switch b := backend(); {
	case b.blas != nil:
		library, _, _ := strings.Cut(b.name, " (")
		return library
	case useVectors():
		return "built-in assembly" + compiled()
	default:
		return "built-in portable kernels" + compiled()
	}
}

// compiled says for what processor Go's compiler rounded, "" for amd64.
func compiled() string {
	if runtime.GOARCH == "amd64" {
		return ""
	}
	return " of " + runtime.GOARCH
}

// Measured returns the measurement that the backend was chosen by and the file that keeps it; without one it says why.
func Measured() (m *Measurement, file, why string) {
	if b := backend(); b.measured != nil {
		return b.measured, b.why, ""
	}
	return nil, "", backend().why
}

// LibraryIsFaster says whether OpenBLAS is known to have faster kernels for this processor than this package: where
// this package has none in assembly.
func LibraryIsFaster() bool { return !useVectors() }

// askedFor is what a setting of EISFT_BLAS asks for.
func askedFor(setting string) backendChoice {
	builtin := backendChoice{name: builtinName(), why: fmt.Sprintf("%s=%s decides", EnvBLAS, setting)}
	if setting == "off" {
		return builtin
	}
	path := setting
	if setting == "openblas" {
		path = "" // wherever the system has it
	}
	blas, name, err := findOpenBLAS(path)
	if err != nil {
		builtin.name = fmt.Sprintf("%s (%s: %v)", builtinName(), EnvBLAS, err)
		return builtin
	}
	return backendChoice{blas: blas, name: name, why: builtin.why}
}
