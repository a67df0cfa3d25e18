package model

import (
	"fmt"
	"math"
	"os"
	"strings"
)

// keeping says for which directions a base keeps float32 copies of its weights.
type keeping struct{ forward, backward bool }

// availableMemory estimates the bytes that can still be allocated: what Linux
// says of the machine and of the control group, and no bound where neither can
// be asked.
func availableMemory() int64 {
	n := int64(math.MaxInt64)
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
