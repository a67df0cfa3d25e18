//go:build !(amd64 || arm64) || purego

package kernels

func withoutAVX512(f func()) { f() }

func withoutVectors(f func()) { f() }
