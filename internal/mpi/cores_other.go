//go:build !linux

package mpi

// affinity: processes are not bound to cores here.
func affinity() (string, error) { return "", nil }
