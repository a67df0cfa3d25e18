//go:build darwin || freebsd || linux || netbsd

package kernels

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// openBLASNames are tried in turn when no path is given.
var openBLASNames = []string{
	"libopenblas.so.0",
	"libopenblas.so",
	"/opt/homebrew/opt/openblas/lib/libopenblas.dylib",
	"/usr/local/opt/openblas/lib/libopenblas.dylib",
	"libopenblas.dylib",
}

// openBLAS is an OpenBLAS opened at run time, set to one thread: this package splits the work itself, since the
// library's threads would fight the goroutines for the cores.
type openBLAS struct {
	sgemmPtr      uintptr // Fortran sgemm_: every argument is a pointer, which a plain call can pass
	ompSetThreads uintptr // omp_set_num_threads when the library runs on OpenMP, else 0
	args          sync.Pool
}

// findOpenBLAS opens the library at path, or the first of openBLASNames that opens when path is empty. The name
// returned says what was opened.
func findOpenBLAS(path string) (lib *openBLAS, name string, err error) {
	if path != "" {
		return loadOpenBLAS(path)
	}
	for _, path := range openBLASNames {
		if lib, name, err = loadOpenBLAS(path); err == nil {
			return lib, name, nil
		}
	}
	return nil, "", fmt.Errorf("no OpenBLAS found: %w", err)
}

func loadOpenBLAS(path string) (*openBLAS, string, error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, "", err
	}
	sym := make(map[string]uintptr)
	for _, s := range []string{"sgemm_", "openblas_set_num_threads", "openblas_get_parallel", "openblas_get_config"} {
		if sym[s], err = purego.Dlsym(handle, s); err != nil {
			_ = purego.Dlclose(handle)
			return nil, "", fmt.Errorf("not an OpenBLAS: %w", err)
		}
	}
	lib := &openBLAS{sgemmPtr: sym["sgemm_"], args: sync.Pool{New: func() any { return new(sgemmArgs) }}}
	purego.SyscallN(sym["openblas_set_num_threads"], 1)
	const openMP = 2
	if kind, _, _ := purego.SyscallN(sym["openblas_get_parallel"]); kind == openMP {
		if lib.ompSetThreads, err = purego.Dlsym(handle, "omp_set_num_threads"); err != nil {
			_ = purego.Dlclose(handle)
			return nil, "", fmt.Errorf("OpenBLAS on OpenMP without its runtime: %w", err)
		}
	}
	var config func() string
	purego.RegisterFunc(&config, sym["openblas_get_config"])
	return lib, fmt.Sprintf("%s (%s)", version(config()), path), nil
}

// version cuts "OpenBLAS 0.3.21" out of "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ...".
func version(config string) string {
	f := strings.Fields(config)
	return strings.Join(f[:min(2, len(f))], " ")
}

// sgemmArgs holds what sgemm_ reads through pointers. Integers are 64 bits wide: read as 32 bits by the usual
// builds, they have the same value on the little-endian machines OpenBLAS is built for.
type sgemmArgs struct {
	ta, tb                 byte
	m, n, k, lda, ldb, ldc int64
	alpha, beta            float32
}

// sgemm computes p. The library works on column-major matrices, in which a row-major C is its transpose:
// Cᵀ = op(B)ᵀ·op(A)ᵀ.
func (lib *openBLAS) sgemm(p *product) {
	g := lib.args.Get().(*sgemmArgs)
	*g = sgemmArgs{
		transFlag(p.tb), transFlag(p.ta), int64(p.n), int64(p.m), int64(p.k), int64(p.ldb), int64(p.lda), int64(p.ldc),
		p.alpha, p.beta,
	}
	if lib.ompSetThreads != 0 { // OpenMP keeps its thread count per thread
		runtime.LockOSThread()
		purego.SyscallN(lib.ompSetThreads, 1)
		defer runtime.UnlockOSThread()
	}
	purego.SyscallN(lib.sgemmPtr, uintptr(unsafe.Pointer(&g.ta)), uintptr(unsafe.Pointer(&g.tb)), uintptr(unsafe.Pointer(&g.m)), uintptr(unsafe.Pointer(&g.n)), uintptr(unsafe.Pointer(&g.k)),
		uintptr(unsafe.Pointer(&g.alpha)), uintptr(unsafe.Pointer(&p.b[0])), uintptr(unsafe.Pointer(&g.lda)), uintptr(unsafe.Pointer(&p.a[0])), uintptr(unsafe.Pointer(&g.ldb)),
		uintptr(unsafe.Pointer(&g.beta)), uintptr(unsafe.Pointer(&p.c[0])), uintptr(unsafe.Pointer(&g.ldc)))
	lib.args.Put(g)
}

func transFlag(t bool) byte {
	if t {
		return 'T'
	}
	return 'N'
}
