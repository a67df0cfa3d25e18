//go:build !purego

package kernels

func withoutAVX512(f func()) { f() }

// withoutVectors calls f with the kernels in plain Go.
func withoutVectors(f func()) {
	defer func(neon bool) { useNEON = neon }(useNEON)
	useNEON = false
	f()
}
