//go:build darwin || freebsd || linux || netbsd

package mpi

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"
)

// libraryNames are tried in turn when no path is given. Open MPI 2 has version 20 of its
// interface, 3, 4 and 5 have version 40.
var libraryNames = []string{
	"libmpi.so.40",
	"libmpi.so",
	"libmpi.so.20",
	"/opt/homebrew/lib/libmpi.dylib",
	"/usr/local/lib/libmpi.dylib",
	"libmpi.dylib",
}

// library is an Open MPI. All calls but version are made by one thread of the system, on
// which the library was started, so that it needs no more than MPI_THREAD_FUNNELED.
type library struct {
	name   string
	symbol map[string]uintptr
	calls  chan func()
	args   *args
}

// args holds what the library reads and writes through pointers, on the heap, where it does
// not move. Handles are pointers, integers 32 bits.
type args struct {
	rank, size, provided, flag, length int32
	request                            uintptr
	text                               [8192]byte
}

// functions are what is called, handles what is pointed to. These are Open MPI's; others'
// handles are integers.
var (
	functions = []string{
		"MPI_Get_library_version", "MPI_Init_thread", "MPI_Comm_set_errhandler", "MPI_Comm_rank", "MPI_Comm_size", "MPI_Error_string",
		"MPI_Iallgatherv", "MPI_Ialltoallv", "MPI_Test", "MPI_Abort", "MPI_Finalize",
	}
	handles = []string{"ompi_mpi_comm_world", "ompi_mpi_float", "ompi_mpi_byte", "ompi_mpi_errors_return"}
)

// threadFunneled is MPI_THREAD_FUNNELED: the thread that has started the library calls it.
const threadFunneled = 1

// open opens the library that the environment names, or the first of libraryNames that
// opens.
func open() (*library, error) {
	if path := os.Getenv(EnvLibrary); path != "" {
		lib, err := load(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", EnvLibrary, err)
		}
		return lib, nil
	}
	for _, name := range libraryNames {
		lib, err := load(name)
		if err == nil || errors.As(err, new(*foreignError)) {
			return lib, err
		}
	}
	return nil, ErrNone
}

// foreignError is a library that opens and is not Open MPI.
type foreignError struct {
	name, what string
}

func (e *foreignError) Error() string {
	return fmt.Sprintf("%s is %s, and eisft works with Open MPI: %s", e.name, e.what, install)
}

func load(path string) (*library, error) {
	runtime.LockOSThread() // the system keeps the reason of an error for the thread
	defer runtime.UnlockOSThread()
	// Plugins of the library look for its symbols among those of the whole program.
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, err
	}
	lib := &library{name: path, symbol: make(map[string]uintptr), args: new(args)}
	for _, name := range append(functions, handles...) {
		if lib.symbol[name], err = purego.Dlsym(handle, name); err == nil {
			continue
		}
		what := "no Open MPI that is known here, it has no " + name
		if lib.symbol["MPI_Get_library_version"] != 0 {
			if version, err := lib.version(); err == nil {
				what = version
			}
		}
		return nil, &foreignError{path, what}
	}
	return lib, nil
}

// Version returns version and place of the library that [Start] would open.
func Version() (string, error) {
	lib, err := open()
	if err != nil {
		return "", err
	}
	version, err := lib.version()
	return fmt.Sprintf("%s (%s)", version, lib.name), err
}

// version returns "Open MPI v4.1.4" of "Open MPI v4.1.4, package: Debian …". It may be
// called at any time.
func (l *library) version() (string, error) {
	a := l.args
	err := l.call("MPI_Get_library_version", address(&a.text[0]), address(&a.length))
	text, _, _ := strings.Cut(string(a.text[:max(0, min(int(a.length), len(a.text)))]), ",")
	text, _, _ = strings.Cut(text, "\n")
	return strings.Join(strings.Fields(strings.TrimRight(text, "\x00")), " "), err
}

// start starts the library on a thread of its own.
func (l *library) start() (rank, size int, err error) {
	l.calls = make(chan func())
	go func() {
		runtime.LockOSThread() // for ever: it ends with the process
		for do := range l.calls {
			do()
		}
	}()
	a := l.args
	err = l.onThread(func() error {
		if err := l.call("MPI_Init_thread", 0, 0, threadFunneled, address(&a.provided)); err != nil {
			return err
		}
		if a.provided < threadFunneled {
			return errors.New("it was built for programs without threads")
		}
		return errors.Join(
			l.call("MPI_Comm_set_errhandler", l.symbol["ompi_mpi_comm_world"], l.symbol["ompi_mpi_errors_return"]),
			l.call("MPI_Comm_rank", l.symbol["ompi_mpi_comm_world"], address(&a.rank)),
			l.call("MPI_Comm_size", l.symbol["ompi_mpi_comm_world"], address(&a.size)),
		)
	})
	return int(a.rank), int(a.size), err
}

func (l *library) finish() error {
	return l.onThread(func() error { return l.call("MPI_Finalize") })
}

// abort ends all ranks, this one among them.
func (l *library) abort() error {
	return l.onThread(func() error { return l.call("MPI_Abort", l.symbol["ompi_mpi_comm_world"], 1) })
}

func (l *library) onThread(do func() error) error {
	done := make(chan error)
	l.calls <- func() { done <- do() }
	return <-done
}

func (l *library) allGather(mine, all []byte, in layout) error {
	var c call
	c.buffer(unsafe.Pointer(unsafe.SliceData(mine)))
	c.words = append(c.words, uintptr(len(mine)), l.symbol["ompi_mpi_byte"])
	c.buffer(unsafe.Pointer(unsafe.SliceData(all)))
	c.places(in)
	c.words = append(c.words, l.symbol["ompi_mpi_byte"])
	return l.together("MPI_Iallgatherv", &c)
}

func (l *library) allToAll(send []float32, out layout, receive []float32, in layout) error {
	var c call
	for _, side := range []struct {
		values []float32
		layout layout
	}{{send, out}, {receive, in}} {
		c.buffer(unsafe.Pointer(unsafe.SliceData(side.values)))
		c.places(side.layout)
		c.words = append(c.words, l.symbol["ompi_mpi_float"])
	}
	return l.together("MPI_Ialltoallv", &c)
}

// call are the arguments of a call, whose memory stays where it is until the call is done.
type call struct {
	words  []uintptr
	pinned runtime.Pinner
}

func (c *call) buffer(p unsafe.Pointer) {
	if p != nil {
		c.pinned.Pin(p)
	}
	c.words = append(c.words, uintptr(p))
}

func (c *call) places(l layout) {
	c.buffer(unsafe.Pointer(&l.count[0]))
	c.buffer(unsafe.Pointer(&l.at[0]))
}

// How waiting goes: it looks again at once for a while, since all ranks have as much to do
// and come at nearly the same time, then with pauses that grow.
const (
	eager      = 2 * time.Millisecond
	firstPause = 20 * time.Microsecond
	lastPause  = 2 * time.Millisecond
)

// together begins a call that all ranks make and waits until it is done.
func (l *library) together(name string, c *call) error {
	defer c.pinned.Unpin()
	return l.onThread(func() error {
		a := l.args
		if err := l.call(name, append(c.words, l.symbol["ompi_mpi_comm_world"], address(&a.request))...); err != nil {
			return err
		}
		for began, pause := time.Now(), firstPause; ; {
			if err := l.call("MPI_Test", address(&a.request), address(&a.flag), 0); err != nil || a.flag != 0 {
				return err
			}
			if time.Since(began) < eager {
				continue
			}
			time.Sleep(pause)
			pause = min(2*pause, lastPause)
		}
	})
}

// call calls a function and returns what it says went wrong.
func (l *library) call(name string, words ...uintptr) error {
	code, _, _ := purego.SyscallN(l.symbol[name], words...)
	if int32(code) == 0 {
		return nil
	}
	a := l.args
	clear(a.text[:])
	purego.SyscallN(l.symbol["MPI_Error_string"], code, address(&a.text[0]), address(&a.length))
	text, _, _ := strings.Cut(string(a.text[:]), "\x00")
	return fmt.Errorf("%s: %s", name, text)
}

// address is that of something in args, which lies on the heap.
func address[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }
