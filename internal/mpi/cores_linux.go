package mpi

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// affinity names the cores that the system lets this process use.
func affinity() (string, error) {
	var set unix.CPUSet
	err := unix.SchedGetaffinity(0, &set)
	return fmt.Sprint(set), err
}
