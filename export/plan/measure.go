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

// Measure takes this machine for a device, as ONNX Runtime uses it for exported graphs: products
// in float32, how fast weights are read, what other ops take, and a run of a graph beside.
func Measure(ctx context.Context) (*Device, error) {
	dir, err := os.MkdirTemp("", "eisft-plan-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // of the system's temporary folder
	return (&meter{ctx: ctx, dir: dir, clock: Elapsed, runs: measuredRuns}).device()
}

var began = time.Now()

// Elapsed is the clock on the wall, for MeasureSpeed.
func Elapsed() time.Duration { return time.Since(began) }

// device measures all that a device's file has.
func (m *meter) device() (*Device, error) {
	d := &Device{
		Name: "this machine in ONNX Runtime", ComputeShare: 1, BandwidthShare: 1,
		Memory:  int(max(model.AvailableMemory()/1e6, 1)),
		Sources: []Source{{"all", fmt.Sprintf("measured: the median of %d runs each of graphs of a few ops, %d threads", m.runs, runtime.NumCPU()), time.Now().Format(time.DateOnly)}},
	}
	const in, out, wide = 2048, 4096, 16384 // 32 MB of weights, and 128 MB, more than caches hold
	start := m.time(weighing(1, 16, 16))
	product, read := m.time(weighing(256, in, out)), m.time(weighing(1, in, wide))
	d.Start = 1e3 * start.seconds
	d.Rates.Float32 = 2 * product.products / product.seconds / 1e12
	d.Bandwidth = 4 * in * wide / read.seconds / 1e9
	d.Ops = m.ops(start.seconds)
	return d, m.err
}

// weighing is a product of rows [rows,in] with weights [in,out].
func weighing(rows, in, out int) func(*ir.Graph) *ir.Value {
	return func(g *ir.Graph) *ir.Value {
		return g.MatMul(g.Input("x", ir.Float32, rows, in), g.Const("w", []int{in, out}, random(in*out)))
	}
}

// ops measures what attention is made of: four heads of 64, in two groups, 256 tokens beside 2,048.
func (m *meter) ops(start float64) Ops {
	const groups, heads, tokens, size, places, chain = 2, 2, 256, 64, 2304, 100
	scores := func(g *ir.Graph) *ir.Value { return g.Input("scores", ir.Float32, groups, heads, tokens, places) }
	products := m.time(func(g *ir.Graph) *ir.Value {
		keys := g.Input("keys", ir.Float32, groups, 1, size, places)
		values := g.Input("values", ir.Float32, groups, 1, places, size)
		return g.MatMul(g.MatMul(g.Input("queries", ir.Float32, groups, heads, tokens, size), keys), values)
	})
	softmax := m.time(func(g *ir.Graph) *ir.Value { return g.Softmax(scores(g)) })
	moves := m.time(func(g *ir.Graph) *ir.Value { // mask, the memory's column, and without it
		masked := g.Add(scores(g), g.Input("mask", ir.Float32, 1, 1, tokens, places))
		return g.Slice(g.Concat(3, masked, g.Input("column", ir.Float32, groups, heads, tokens, 1)), 3, 0, places)
	})
	near := m.time(func(g *ir.Graph) *ir.Value { // of keys, one megabyte at a time
		x, y := g.Input("x", ir.Float32, groups, 1, size, places), g.Input("y", ir.Float32, groups, 1, size, places)
		for range chain / 10 {
			x = g.Sub(y, x)
		}
		return g.Concat(3, x, g.Input("new", ir.Float32, groups, 1, size, 1))
	})
	small := m.time(func(g *ir.Graph) *ir.Value {
		x, y := g.Input("x", ir.Float32, 1, size), g.Input("y", ir.Float32, 1, size)
		for range chain {
			x = g.Sub(y, x)
		}
		return x
	})
	return Ops{
		Products: 2 * products.products / products.seconds / 1e12,
		Softmax:  groups * heads * tokens * places / softmax.seconds / 1e9,
		Moved:    4 * moves.moved / moves.seconds / 1e9,
		Near:     4 * near.moved / near.seconds / 1e9,
		Each:     1e6 * max(small.seconds-start, 0) / chain,
	}
}

// measuredRuns is how often a graph is timed.
const measuredRuns = 15

// meter times graphs. The first error sticks.
type meter struct {
	ctx     context.Context
	dir     string
	clock   func() time.Duration
	threads int // of an op; 0: as many as the runtime takes
	runs    int
	err     error
}

// measured is the median time of a run, and what its ops multiply and move, in numbers.
type measured struct{ seconds, products, moved float64 }

// time runs a graph of random numbers.
func (m *meter) time(build func(*ir.Graph) *ir.Value) measured {
	if m.err != nil {
		return measured{}
	}
	g := ir.NewGraph("measure", ir.Options{})
	g.Output("measured", build(g))
	var of measured
	for _, n := range g.Live() {
		of.products += n.Products()
		of.moved += moved(n)
	}
	of.seconds, m.err = m.run(g)
	return of
}

// run returns the median time of a graph, in a session as that of package host.
func (m *meter) run(g *ir.Graph) (float64, error) {
	path := filepath.Join(m.dir, "measure.onnx")
	if err := g.WriteFile(path); err != nil {
		return 0, err
	}
	session, err := ort.Open(path, ort.Options{Threads: m.threads, Config: map[string]string{ort.AllowSpinning: "0"}})
	if err != nil {
		return 0, err
	}
	defer session.Close()
	binding, err := session.Bind(nil)
	if err != nil {
		return 0, err
	}
	defer binding.Close()
	for _, in := range session.Inputs() {
		x := binding.Tensor(in.Name).Data.([]float32)
		copy(x, random(len(x)))
	}
	times := make([]float64, m.runs)
	for i := range times {
		if err := m.ctx.Err(); err != nil {
			return 0, err
		}
		begun := m.clock()
		if err := binding.Run(); err != nil {
			return 0, err
		}
		times[i] = (m.clock() - begun).Seconds()
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

// random are numbers of a normal distribution, again and again.
func random(n int) []float32 {
	source := rand.New(rand.NewPCG(1, 1))
	x := make([]float32, n)
	for i := range min(n, 1<<12) {
		x[i] = float32(source.NormFloat64())
	}
	for at := 1 << 12; at < n; at *= 2 {
		copy(x[at:], x[:at])
	}
	return x
}

// Write writes the device into a file that LoadDevice reads.
func (d *Device) Write(path string) error {
	text, err := yaml.Marshal(d)
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path, text)
}
