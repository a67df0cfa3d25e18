//go:build unix

package mapped

import "golang.org/x/sys/unix"

// rest is advice: where the system does not take it, the pages stay.
func rest(data []byte) { _ = unix.Madvise(data, unix.MADV_DONTNEED) }
