package main

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/cpu"

	"eisft/export/ort"
	"eisft/export/tflite/litert"
	"eisft/internal/mpi"
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
	var hints []string
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	row := func(name, value string) { fmt.Fprintf(w, "%s\t%s\n", name, value) }
	row("eisft", version())
	row("go", fmt.Sprintf("%s %s/%s", strings.TrimPrefix(runtime.Version(), "go"), runtime.GOOS, runtime.GOARCH))
	row("cores", fmt.Sprintf("%d, %d used", runtime.NumCPU(), kernels.Threads()))
	if runtime.GOARCH == "amd64" {
		row("avx2", yesNo(cpu.X86.HasAVX2 && cpu.X86.HasFMA))
	}
	row("matrix products", kernels.Backend())
	row("measured", measured())
	if m, _, _ := kernels.Measured(); m == nil && kernels.LibraryIsFaster() && !strings.HasPrefix(kernels.Backend(), "OpenBLAS") {
		hints = append(hints, "Matrix products are faster with OpenBLAS: "+installOpenBLAS())
	}
	if found, err := onnxRuntime(); err == nil {
		row("onnx runtime", found)
	} else {
		row("onnx runtime", "none")
		hints = append(hints, fmt.Sprintf("Exported graphs cannot be run: %v", err))
	}
	if version, err := litert.Version(); err == nil { // for --format tflite alone: no hint
		row("litert", version)
	} else {
		row("litert", "none")
	}
	switch version, err := mpi.Version(); {
	case err == nil:
		row("mpi", version)
	case errors.Is(err, mpi.ErrNone): // for several processes alone: no hint
		row("mpi", "none")
	default:
		row("mpi", "none")
		hints = append(hints, fmt.Sprintf("Several processes cannot train together: %v", err))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, h := range hints {
		fmt.Fprintf(c.App.Writer, "\n%s\n", h)
	}
	return nil
}

// measured says what the choice of what computes matrix products rests on.
func measured() string {
	m, file, why := kernels.Measured()
	if m == nil {
		return "nothing: " + why
	}
	return fmt.Sprintf("%s %.0f GFLOP/s, %s %.0f, on one core (kept in %s; delete it to measure again)", m.Builtin, m.BuiltinRate, m.Library, m.LibraryRate, file)
}

// onnxRuntime returns the version and place of the library.
func onnxRuntime() (string, error) {
	path, err := ort.Library()
	if err != nil {
		return "", err
	}
	version, err := ort.Version()
	return fmt.Sprintf("%s (%s)", version, path), err
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
