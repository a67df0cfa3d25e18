package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/pprof"
	"runtime/trace"

	"github.com/urfave/cli/v2"

	"eisft/internal/atomicfile"
)

func profileFlags() []cli.Flag {
	const category = "Profiles of this program"
	return []cli.Flag{
		&cli.PathFlag{Name: "cpuprofile", Usage: "write a CPU profile to `FILE` (go tool pprof); of several processes, those beside rank 0 write to FILE.RANK", Category: category},
		&cli.PathFlag{Name: "memprofile", Usage: "write a heap profile to `FILE` at the end (go tool pprof)", Category: category},
		&cli.PathFlag{Name: "trace", Usage: "write an execution trace to `FILE` (go tool trace)", Category: category},
	}
}

// profiled runs an action under the profiles that its flags ask for. They are
// written even when the action fails or is interrupted.
func profiled(action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) (err error) {
		for _, p := range []struct {
			flag  string
			start func(io.Writer) error
			stop  func(io.Writer) error
		}{
			{"cpuprofile", pprof.StartCPUProfile, func(io.Writer) error { pprof.StopCPUProfile(); return nil }},
			{"trace", trace.Start, func(io.Writer) error { trace.Stop(); return nil }},
			{"memprofile", func(io.Writer) error { return nil }, writeHeap},
		} {
			path := c.Path(p.flag)
			if path == "" {
				continue
			}
			if rank := group(c).Rank(); rank > 0 {
				path += fmt.Sprintf(".%d", rank)
			}
			file, err := atomicfile.Create(path)
			if err != nil {
				return fmt.Errorf("--%s: %w", p.flag, err)
			}
			defer file.Abort()
			if err := p.start(file); err != nil {
				return fmt.Errorf("--%s: %w", p.flag, err)
			}
			defer func() { err = errors.Join(err, p.stop(file), file.Commit()) }()
		}
		return action(c)
	}
}

// writeHeap writes what is live after a full collection.
func writeHeap(w io.Writer) error {
	runtime.GC()
	return pprof.WriteHeapProfile(w)
}
