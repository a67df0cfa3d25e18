//go:build !amd64 || purego

package kernels

func withoutAVX512(f func()) { f() }

func withoutVectors(f func()) { f() }
