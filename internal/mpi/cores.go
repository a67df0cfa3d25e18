package mpi

import (
	"fmt"
	"os"
	"runtime"
)

// ShareCores settles how many cores this rank computes on: launchers bind ranks to cores, to
// a part of the machine, or not at all, and ranks that were given the same cores share them.
// Where the environment sets GOMAXPROCS, that holds.
func (w *World) ShareCores() error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	bound, err := affinity()
	if err != nil {
		return fmt.Errorf("which cores this rank may use: %w", err)
	}
	mine := host + "\x00" + bound
	all, err := w.Gather([]byte(mine))
	if err != nil {
		return err
	}
	sharing := 0
	for _, other := range all {
		if string(other) == mine {
			sharing++
		}
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(1, runtime.GOMAXPROCS(0)/sharing))
	}
	return nil
}
