//go:build darwin || freebsd || linux || netbsd

package kernels

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	path          string  // or the name by which the system found it
	core          string  // what it takes the processor for, "Haswell"
	ompSetThreads uintptr // omp_set_num_threads when the library runs on OpenMP, else 0
	args          sync.Pool
	rowPlaces
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
	runtime.LockOSThread() // the system keeps the reason of an error for the thread
	defer runtime.UnlockOSThread()
	handle, err := openSingleThreaded(path)
	if err != nil {
		return nil, "", err
	}
	lib, config, err := bindOpenBLAS(handle)
	if err == nil {
		err = lib.learnPlaces()
	}
	if err != nil {
		_ = purego.Dlclose(handle)
		return nil, "", fmt.Errorf("%s: %w", path, err)
	}
	lib.path = path
	return lib, fmt.Sprintf("%s %s (%s)", version(config), lib.core, path), nil
}

// file returns where the open library lies, "" if the system does not tell.
func (lib *openBLAS) file() string {
	if filepath.IsAbs(lib.path) {
		return lib.path
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(maps)) {
		if _, file, ok := strings.Cut(strings.TrimSpace(line), "/"); ok && strings.Contains(filepath.Base(file), "openblas") {
			return "/" + file
		}
	}
	return ""
}

// The kinds of build openblas_get_parallel tells apart.
const sequential, openMP = 0, 2

// bindOpenBLAS looks up what sgemm needs in an open library and returns its description of itself too.
func bindOpenBLAS(handle uintptr) (lib *openBLAS, config string, err error) {
	sym := make(map[string]uintptr)
	for _, s := range []string{"sgemm_", "openblas_set_num_threads", "openblas_get_parallel", "openblas_get_config", "openblas_get_corename"} {
		if sym[s], err = purego.Dlsym(handle, s); err != nil {
			return nil, "", fmt.Errorf("not an OpenBLAS: %w", err)
		}
	}
	lib = &openBLAS{sgemmPtr: sym["sgemm_"], args: sync.Pool{New: newSgemmArgs}}
	purego.SyscallN(sym["openblas_set_num_threads"], 1)
	switch kind, _, _ := purego.SyscallN(sym["openblas_get_parallel"]); int32(kind) {
	case sequential:
		return nil, "", errors.New("built without threads, several cannot call it; use the pthread build")
	case openMP:
		if lib.ompSetThreads, err = purego.Dlsym(handle, "omp_set_num_threads"); err != nil {
			return nil, "", fmt.Errorf("built on OpenMP, whose runtime it lacks: %w", err)
		}
	}
	var describe, core func() string
	purego.RegisterFunc(&describe, sym["openblas_get_config"])
	purego.RegisterFunc(&core, sym["openblas_get_corename"])
	lib.core = core()
	return lib, describe(), nil
}

// openSingleThreaded opens the library at path such that it starts no threads of its own, which would spin on the
// cores for a while before they sleep.
func openSingleThreaded(path string) (uintptr, error) {
	const env = "OPENBLAS_NUM_THREADS"
	before, set := os.LookupEnv(env)
	_ = os.Setenv(env, "1") // cannot fail: the name is valid
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if set {
		_ = os.Setenv(env, before)
	} else {
		_ = os.Unsetenv(env)
	}
	return handle, err
}

// version cuts "OpenBLAS 0.3.21" out of "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ...".
func version(config string) string {
	f := strings.Fields(config)
	return strings.Join(f[:min(2, len(f))], " ")
}

// sgemmArgs holds what sgemm_ reads through pointers, on the heap where it does not move. Integers are 64 bits wide:
// read as 32 bits by the usual builds, they have the same value on the little-endian machines OpenBLAS is built for.
type sgemmArgs struct {
	ta, tb                 byte
	m, n, k, lda, ldb, ldc int64
	alpha, beta            float32
	a, b, c                *float32    // hold the matrices while the call has their addresses
	words                  [13]uintptr // the addresses of all of these, in order
}

const wordA, wordB, wordC = 6, 8, 11

func newSgemmArgs() any {
	g := new(sgemmArgs)
	for i, p := range []unsafe.Pointer{
		unsafe.Pointer(&g.ta), unsafe.Pointer(&g.tb), unsafe.Pointer(&g.m), unsafe.Pointer(&g.n), unsafe.Pointer(&g.k),
		unsafe.Pointer(&g.alpha), wordA: nil, unsafe.Pointer(&g.lda), wordB: nil, unsafe.Pointer(&g.ldb),
		unsafe.Pointer(&g.beta), wordC: nil, unsafe.Pointer(&g.ldc),
	} {
		g.words[i] = uintptr(p)
	}
	return g
}

// sgemm computes p. The library works on column-major matrices, in which a row-major C is its transpose:
// Cᵀ = op(B)ᵀ·op(A)ᵀ.
func (lib *openBLAS) sgemm(p *product) {
	g := lib.args.Get().(*sgemmArgs)
	g.ta, g.tb, g.m, g.n, g.k = transFlag(p.tb), transFlag(p.ta), int64(p.n), int64(p.m), int64(p.k)
	g.lda, g.ldb, g.ldc, g.alpha, g.beta = int64(p.ldb), int64(p.lda), int64(p.ldc), p.alpha, p.beta
	g.a, g.b, g.c = &p.b[0], &p.a[0], &p.c[0]
	g.words[wordA], g.words[wordB] = uintptr(unsafe.Pointer(g.a)), uintptr(unsafe.Pointer(g.b))
	g.words[wordC] = uintptr(unsafe.Pointer(g.c))
	if lib.ompSetThreads != 0 { // OpenMP keeps its thread count per thread
		runtime.LockOSThread()
		purego.SyscallN(lib.ompSetThreads, 1)
		defer runtime.UnlockOSThread()
	}
	purego.SyscallN(lib.sgemmPtr, g.words[:]...) // a slice of its own would be allocated for spelled-out arguments
	g.a, g.b, g.c = nil, nil, nil
	lib.args.Put(g)
}

func transFlag(t bool) byte {
	if t {
		return 'T'
	}
	return 'N'
}
