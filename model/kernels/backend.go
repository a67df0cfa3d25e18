package kernels

import (
	"fmt"
	"os"
	"sync"
)

// EnvBLAS names the environment variable that chooses the BLAS behind Gemm: unset looks for OpenBLAS in the
// system's library path, a path opens that library, "off" uses the built-in kernels.
const EnvBLAS = "EISFT_BLAS"

type backendChoice struct {
	blas *openBLAS // nil: built-in kernels
	name string
}

// backend opens the BLAS once, at the first product.
var backend = sync.OnceValue(func() backendChoice { return chooseBackend(os.Getenv(EnvBLAS)) })

// Backend says what computes matrix products, such as "OpenBLAS 0.3.21 (libopenblas.so.0)" or "built-in AVX2". When
// EISFT_BLAS names a library that could not be opened it also says why.
func Backend() string { return backend().name }

func chooseBackend(setting string) backendChoice {
	if setting == "off" {
		return backendChoice{name: builtinName()}
	}
	blas, name, err := findOpenBLAS(setting)
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
	if useAVX2 {
		return "built-in AVX2"
	}
	return "built-in (portable)"
}
