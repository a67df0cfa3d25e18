//go:build !purego

package kernels

// withoutAVX512 calls f with the AVX2 kernels.
func withoutAVX512(f func()) {
	defer func(has bool) { useAVX512 = has }(useAVX512)
	useAVX512 = false
	f()
}
