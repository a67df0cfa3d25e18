// Package modeltest opens the golden blocks and compares tensors with them.
package modeltest

import (
	"fmt"
	"math"
	"strconv"
	"testing"

	"eisft/internal/sharedtest"
	"eisft/model"
	"eisft/model/hf"
)

// DefaultBlock is the preset that a configuration starts from.
func DefaultBlock(t testing.TB) model.Spec {
	t.Helper()
	s, err := model.Preset("eisft")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Open opens a base with an untrained block.
func Open(t testing.TB, dir string, s model.Spec) *model.Model {
	t.Helper()
	b, err := model.LoadBase(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.New(b, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Edge is a golden of the EdgeInfinite block: a two-layer base with random
// weights, a block's parameters, and what the reference computes with them.
type Edge struct {
	*hf.File
	Model *model.Model
	IDs   []int32
}

// goldenNames maps our parameter names to the reference's.
var goldenNames = map[string]string{
	"retention.weight": "rg.weight", "retention.bias": "rg.bias",
	"memory.feature_q": "wq", "memory.feature_k": "wk", "memory.map": "map",
	"gate.bias": "b", "gate.query": "u",
	"write.weight": "wg.weight", "write.bias": "wg.bias",
}

// OpenEdge opens ../shared/golden/edge/NAME.safetensors, or skips the test.
func OpenEdge(t testing.TB, name string) *Edge {
	t.Helper()
	f, err := hf.OpenFile(sharedtest.Path(t, "golden/edge/"+name+".safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	e := &Edge{File: f}
	b, err := model.NewBase(edgeConfig(), prefixed{f})
	if err != nil {
		t.Fatal(err)
	}
	if e.Model, err = model.New(b, edgeSpec(t, f.Metadata), nil); err != nil {
		t.Fatal(err)
	}
	for _, p := range e.Model.Params.List() {
		copy(p.Data, e.Floats(t, "param."+GoldenName(t, p)))
	}
	ids, err := f.Tensor("input_ids")
	if err != nil {
		t.Fatal(err)
	}
	long, err := ids.Int64()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range long {
		e.IDs = append(e.IDs, int32(id))
	}
	return e
}

// GoldenName returns the reference's name of a parameter, "0.rg.weight".
func GoldenName(t testing.TB, p *model.Param) string {
	t.Helper()
	for ours, theirs := range goldenNames {
		var layer int
		if n, err := fmt.Sscanf(p.Name, "layers.%d."+ours, &layer); n == 1 && err == nil && p.Name == fmt.Sprintf("layers.%d.%s", layer, ours) {
			return fmt.Sprintf("%d.%s", layer, theirs)
		}
	}
	t.Fatalf("parameter %s has no golden name", p.Name)
	return ""
}

// Floats returns a tensor of the golden.
func (e *Edge) Floats(t testing.TB, name string) []float32 {
	t.Helper()
	x, err := e.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	v, err := x.Float32()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// prefixed gives the golden's base under its checkpoint names.
type prefixed struct{ *hf.File }

func (p prefixed) Tensor(name string) (hf.Tensor, error) { return p.File.Tensor("base." + name) }

func edgeConfig() *hf.Config {
	return &hf.Config{
		VocabSize: 64, HiddenSize: 32, NumHiddenLayers: 2, NumAttentionHeads: 4, NumKeyValueHeads: 2, HeadDim: 8,
		IntermediateSize: 48, HiddenAct: "silu", RMSNormEps: 1e-5, Rope: hf.Rope{Type: "default", Theta: 10000}, EmbeddingScale: 1, TieWordEmbeddings: true,
	}
}

func edgeSpec(t testing.TB, meta map[string]string) model.Spec {
	t.Helper()
	number := func(key string) int {
		n, err := strconv.Atoi(meta[key])
		if err != nil {
			t.Fatalf("golden metadata %s: %v", key, err)
		}
		return n
	}
	s := model.Spec{
		Sink: number("sink"), Window: number("window"), Segment: number("segment"), Positions: model.PositionsCompact,
		Memory: model.Update(meta["update"]), Feature: model.Feature(meta["feature"]), Gate: model.Gate(meta["gate"]),
		Map: meta["map"] == "True", WriteGate: meta["write"] == "True",
	}
	if meta["retain"] != "" {
		s.Slots = number("retain")
		if meta["both"] != "True" {
			s.Memory = model.MemoryNone
		}
	}
	return s
}

// AlignTies puts slots with equal scores into the golden's order. In layer 0
// the same token at two places has the same key, value and score; which of the
// two stays is free, but decides its place. Method, section 4, keeps the
// earlier one, the reference's top-k whichever its selection leaves in front.
func (e *Edge) AlignTies(t testing.TB, s *model.State, segment int) {
	t.Helper()
	d, m := e.Model.Base.Dims, e.Model
	for i := range s.Layers {
		name := fmt.Sprintf("slots.score.%d.%d", i, segment)
		if !e.Has(name) {
			continue
		}
		want, l, p := e.Floats(t, name), &s.Layers[i], s.Parts(i)
		for g := range d.KVHeads {
			for r := range p.Slots {
				e.swapIn(l, d, p.Sinks, g, r, p.Slots, want[g*p.Slots+r])
			}
		}
		cos, sin := m.Base.Layers[i].Rotary.Range(0, p.Stored())
		model.RotateRows(l.Rotated, l.K, p.Stored(), d.KVHeads, d.HeadDim, cos, sin, false)
	}
}

// swapIn brings KV head g's next slot with the wanted score to slot r.
func (e *Edge) swapIn(l *model.LayerState, d model.Dims, sinks, g, r, slots int, want float32) {
	for j := r; j < slots; j++ {
		a, b := (sinks+r)*d.KVHeads+g, (sinks+j)*d.KVHeads+g
		if math.Abs(float64(l.Score[b]-want)) > 1e-5 {
			continue
		}
		for ; b > a; b -= d.KVHeads { // the others keep their order
			c := b - d.KVHeads
			l.Score[b], l.Score[c] = l.Score[c], l.Score[b]
			l.Token[b], l.Token[c] = l.Token[c], l.Token[b]
			for k := range d.HeadDim {
				x, y := b*d.HeadDim+k, c*d.HeadDim+k
				l.K[x], l.K[y] = l.K[y], l.K[x]
				l.V[x], l.V[y] = l.V[y], l.V[x]
			}
		}
		return
	}
}

// Near fails the test if got and want differ by more than tol anywhere.
func Near(t testing.TB, what string, got, want []float32, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", what, len(got), len(want))
		return
	}
	worst, at := 0.0, 0
	for i := range got {
		if d := math.Abs(float64(got[i]) - float64(want[i])); d > worst || math.IsNaN(d) {
			worst, at = d, i
			if math.IsNaN(d) {
				break
			}
		}
	}
	if worst > tol || math.IsNaN(worst) {
		t.Errorf("%s: value %d is %g, want %g: off by %.2g, allowed %.2g", what, at, got[at], want[at], worst, tol)
	}
}

// Relative returns ‖got-want‖ / max(‖want‖, floor).
func Relative(got, want []float32, floor float64) float64 {
	diff, norm := 0.0, 0.0
	for i := range want {
		d := float64(got[i]) - float64(want[i])
		diff += d * d
		norm += float64(want[i]) * float64(want[i])
	}
	return math.Sqrt(diff) / math.Max(math.Sqrt(norm), floor)
}
