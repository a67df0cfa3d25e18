package plan

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/goccy/go-yaml"

	"eisft/export/ir"
	"eisft/export/ort"
	"eisft/internal/atomicfile"
	"eisft/model"
)

// Measure takes this machine for a device, as ONNX Runtime uses it: products in float32, how
// fast weights are read, and what a run of a graph takes beside.
func Measure(ctx context.Context) (*Device, error) {
	dir, err := os.MkdirTemp("", "eisft-plan-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // of the system's temporary folder
	const rows, in, out = 256, 2048, 4096    // 32 MB of weights, more than caches hold
	product, err := timeProduct(ctx, dir, rows, in, out)
	if err != nil {
		return nil, err
	}
	read, err := timeProduct(ctx, dir, 1, in, out)
	if err != nil {
		return nil, err
	}
	start, err := timeProduct(ctx, dir, 1, 16, 16)
	if err != nil {
		return nil, err
	}
	return &Device{
		Name: "this machine in ONNX Runtime", ComputeShare: 1, BandwidthShare: 1,
		Rates:     Rates{Float32: 2 * rows * in * out / product.Seconds() / 1e12},
		Bandwidth: 4 * in * out / read.Seconds() / 1e9,
		Memory:    int(max(model.AvailableMemory()/1e6, 1)),
		Start:     1e3 * start.Seconds(),
		Sources:   []Source{{"all", fmt.Sprintf("measured: the median of %d runs of one product, %d threads", measuredRuns, runtime.NumCPU()), time.Now().Format(time.DateOnly)}},
	}, nil
}

// measuredRuns is how often a product is timed.
const measuredRuns = 15

// timeProduct returns the median time of a graph that is one product of random numbers.
func timeProduct(ctx context.Context, dir string, rows, in, out int) (time.Duration, error) {
	random := rand.New(rand.NewPCG(1, 1))
	numbers := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(random.NormFloat64())
		}
		return x
	}
	g := ir.NewGraph("product", ir.Options{})
	x := g.Input("x", ir.Float32, 1, rows, in)
	g.Output("y", g.MatMul(x, g.Const("w", []int{in, out}, numbers(in*out))))
	path := filepath.Join(dir, fmt.Sprintf("%dx%dx%d.onnx", rows, in, out))
	if err := g.WriteFile(path); err != nil {
		return 0, err
	}
	session, err := ort.Open(path, ort.Options{})
	if err != nil {
		return 0, err
	}
	defer session.Close()
	binding, err := session.Bind(nil)
	if err != nil {
		return 0, err
	}
	defer binding.Close()
	copy(binding.Tensor("x").Data.([]float32), numbers(rows*in))
	times := make([]time.Duration, measuredRuns)
	for i := range times {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		begun := time.Now()
		if err := binding.Run(); err != nil {
			return 0, err
		}
		times[i] = time.Since(begun)
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

// Write writes the device into a file that LoadDevice reads.
func (d *Device) Write(path string) error {
	text, err := yaml.Marshal(d)
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path, text)
}
