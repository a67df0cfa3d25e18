package kernels

import (
	"fmt"
	"os"
	"sync"
)

// EnvBLAS names the environment variable that chooses the BLAS behind Gemm: unset takes OpenBLAS from the system's
// library path where it is faster than the built-in kernels, "openblas" takes it in any case, a path opens that
// library, "off" uses the built-in kernels.
const EnvBLAS = "EISFT_BLAS"

type backendChoice struct {
	blas *openBLAS // nil: built-in kernels
	name string
}

// backend opens the BLAS once, at the first product.
var backend = sync.OnceValue(func() backendChoice { return chooseBackend(os.Getenv(EnvBLAS), LibraryIsFaster()) })

// peakLibrary is the OpenBLAS that the system has, nil if none or "off".
var peakLibrary = sync.OnceValue(func() *openBLAS {
	if lib := backend().blas; lib != nil {
		return lib
	}
	return chooseBackend(os.Getenv(EnvBLAS), true).blas
})

// Backend says what computes matrix products, such as "OpenBLAS 0.3.21 (libopenblas.so.0)" or "built-in AVX2". When
// EISFT_BLAS names a library that could not be opened it also says why.
func Backend() string { return backend().name }

// LibraryIsFaster says whether OpenBLAS has faster kernels for this processor than this package: where this package
// has none in assembly.
func LibraryIsFaster() bool { return !useAVX2 }

func chooseBackend(setting string, libraryIsFaster bool) backendChoice {
	if setting == "off" || setting == "" && !libraryIsFaster {
		return backendChoice{name: builtinName()}
	}
	path := setting
	if setting == "openblas" {
		path = "" // wherever the system has it
	}
	blas, name, err := findOpenBLAS(path)
	switch {
	case err == nil:
		return backendChoice{blas, name}
	case setting != "":
		return backendChoice{name: fmt.Sprintf("%s (%s: %v)", builtinName(), EnvBLAS, err)}
	default:
		return backendChoice{name: builtinName()}
	}
}

func builtinName() string {
	switch {
	case useAVX512:
		return "built-in AVX-512"
	case useAVX2:
		return "built-in AVX2"
	default:
		return "built-in (portable)"
	}
}
