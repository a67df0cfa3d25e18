package main

import (
	"fmt"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/cpu"

	"eisft/model/kernels"
)

func envCommand() *cli.Command {
	return &cli.Command{
		Name:   "env",
		Usage:  "show versions, cores and the libraries found on this machine",
		Action: env,
	}
}

func env(c *cli.Context) error {
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("eisft", "%s", version())
	row("go", "%s %s/%s", strings.TrimPrefix(runtime.Version(), "go"), runtime.GOOS, runtime.GOARCH)
	row("cores", "%d, %d used", runtime.NumCPU(), kernels.Threads())
	if runtime.GOARCH == "amd64" {
		row("avx2", "%s", yesNo(cpu.X86.HasAVX2 && cpu.X86.HasFMA))
	}
	row("matrix products", "%s", kernels.Backend())
	if err := w.Flush(); err != nil {
		return err
	}
	if !strings.HasPrefix(kernels.Backend(), "OpenBLAS") {
		_, err := fmt.Fprintf(c.App.Writer, "\nMatrix products are faster with OpenBLAS: %s\n", installOpenBLAS())
		return err
	}
	return nil
}

// installOpenBLAS says how to get the library on this system.
func installOpenBLAS() string {
	switch runtime.GOOS {
	case "linux":
		return "scripts/setup.sh, or on Debian and Ubuntu: apt-get install libopenblas0"
	case "darwin":
		return "brew install openblas"
	default:
		return "install it and name its library in " + kernels.EnvBLAS
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
