package model

import (
	"fmt"
	"math"
	"os"
	"strings"
)

// weightCopies says for which directions a base keeps float32 copies of its weights.
type weightCopies struct{ forward, backward bool }

// DType says how the weights of a base are held while it runs.
type DType string

// The ways to hold weights.
const (
	DTypeAuto    DType = "auto"    // float32 copies if they take little, see copiedFloat32
	DTypeFloat32 DType = "float32" // float32 copies of all
	DTypeStored  DType = "stored"  // no copies: as the checkpoint has them
)

// DTypes lists the ways to hold weights.
func DTypes() []DType { return []DType{DTypeAuto, DTypeFloat32, DTypeStored} }

// copiedFloat32 bounds what DTypeAuto keeps in float32: for a small model, copies save
// time; a large one would take much more memory than its checkpoint.
const copiedFloat32 = 512 << 20

// Hold says how weights are held from now on, as far as they were not used yet.
func (b *Base) Hold(d DType) {
	switch d {
	case DTypeFloat32:
		b.CopyWeights(math.MaxInt64)
	case DTypeStored:
		b.CopyWeights(0)
	default:
		b.CopyWeights(min(AvailableMemory()/2, copiedFloat32))
	}
}

// AvailableMemory estimates the bytes that can still be allocated: what Linux
// says of the machine and of the control group, what the process was allowed (ulimit -v),
// and no bound where none can be asked.
func AvailableMemory() int64 {
	n := AddressSpace()
	if _, rest, ok := strings.Cut(readText("/proc/meminfo"), "MemAvailable:"); ok {
		n = min(n, 1024*number(rest))
	}
	const group = "/sys/fs/cgroup/"
	if limit := readText(group + "memory.max"); limit != "" && !strings.HasPrefix(limit, "max") {
		n = min(n, number(limit)-number(readText(group+"memory.current")))
	}
	return max(0, n)
}

// readText returns a small file's text, "" if it cannot be read.
func readText(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}

// number returns the number that the text begins with, 0 if there is none.
func number(text string) (n int64) {
	_, _ = fmt.Sscan(text, &n)
	return n
}
