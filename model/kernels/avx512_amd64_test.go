//go:build !purego

package kernels

// withoutAVX512 calls f with the AVX2 kernels.
func withoutAVX512(f func()) {
	defer func(has bool) { useAVX512 = has }(useAVX512)
	useAVX512 = false
	f()
}

// withoutVectors calls f with the kernels in plain Go.
func withoutVectors(f func()) {
	defer func(avx2, avx512 bool) { useAVX2, useAVX512 = avx2, avx512 }(useAVX2, useAVX512)
	useAVX2, useAVX512 = false, false
	f()
}
