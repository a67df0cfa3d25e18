//go:build !amd64 || purego

package kernels

func withoutAVX512(f func()) { f() }

// withoutVectors does not call f: there are no other kernels in this build. Those in plain Go have the build tag purego.
func withoutVectors(func()) {}
