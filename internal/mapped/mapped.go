// Package mapped turns a fault in the memory of a mapped file into an error that names the
// file. A file that is cut short, or whose disk fails, while it is mapped does not fail a
// read call: the processor faults where the bytes are used, and Go ends the program.
package mapped

import (
	"fmt"
	"runtime/debug"
	"sync"
	"unsafe"
)

type file struct {
	path     string
	data     []byte
	from, to uintptr
}

var files struct {
	sync.Mutex
	list []file
}

// Add makes a mapping known, and returns what forgets it.
func Add(path string, data []byte) (remove func()) {
	from := uintptr(unsafe.Pointer(unsafe.SliceData(data)))
	f := file{path, data, from, from + uintptr(len(data))}
	files.Lock()
	defer files.Unlock()
	files.list = append(files.list, f)
	return func() {
		files.Lock()
		defer files.Unlock()
		for i, g := range files.list {
			if g.from == f.from && g.to == f.to {
				files.list = append(files.list[:i], files.list[i+1:]...)
				return
			}
		}
	}
}

// Rest takes the pages of all mapped files out of the process's memory. They come back, from what
// the system keeps of the files, when they are read again.
func Rest() {
	files.Lock()
	defer files.Unlock()
	for _, f := range files.list {
		rest(f.data)
	}
}

// Watch makes faults of the calling goroutine panics, which [Recover] or [Fault] understands.
// It lasts as long as the goroutine, or until the function that it returns is called.
func Watch() (unwatch func()) {
	before := debug.SetPanicOnFault(true)
	return func() { debug.SetPanicOnFault(before) }
}

// Recover is deferred: it hands what [Fault] makes of a panic to take, and lets all other
// panics go on.
func Recover(take func(*Error)) {
	r := recover()
	if r == nil {
		return
	}
	fault := Fault(r)
	if fault == nil {
		panic(r)
	}
	take(fault)
}

// Fault returns what a recovered panic says of a mapped file, nil if it says nothing of one.
func Fault(recovered any) *Error {
	if e, ok := recovered.(*Error); ok {
		return e
	}
	fault, ok := recovered.(interface{ Addr() uintptr }) // a runtime.Error of a watched goroutine
	if !ok {
		return nil
	}
	files.Lock()
	defer files.Unlock()
	for _, f := range files.list {
		if f.from <= fault.Addr() && fault.Addr() < f.to {
			return &Error{f.path}
		}
	}
	return nil
}

// Error says that a mapped file could not be read.
type Error struct{ Path string }

func (e *Error) Error() string {
	return fmt.Sprintf("%s: its bytes cannot be read any more: it was cut short while it was in use, or its disk fails; put the whole file back and start again", e.Path)
}
