// Package modeltest opens the golden blocks and compares tensors with them.
package modeltest

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"eisft/internal/testfiles"
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

// Edges are the goldens of the block, and what sets each apart.
var Edges = []string{
	"elu-scalar", "elu-vector-map-delta", "hedgehog-query-write", "hedgehog-mass", "elu-slot-map-write",
	"retain", "retain-memory", "retain-delta-mass", "slot-layers", "slot-layers-memory",
	"absolute-retain-memory", "absolute-query-write", "soft", "soft-memory",
}

// OpenEdge opens a golden of the block.
func OpenEdge(t testing.TB, name string) *Edge {
	t.Helper()
	f, err := hf.OpenFile(testfiles.Golden(t, "edge/"+name+".safetensors"))
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

// Tokens draws n ids, the same each time.
func Tokens(m *model.Model, n int) []int32 {
	random := rand.New(rand.NewPCG(5, 6))
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = random.Int32N(int32(m.Base.Embed.Out))
	}
	return ids
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

// Keep returns the share of kept tokens above which the golden's losses have a penalty, and
// its weight; 1 and 0 if they have none.
func (e *Edge) Keep(t testing.TB) (keep, weight float64) {
	t.Helper()
	if e.Metadata["keep"] == "" {
		return 1, 0
	}
	for key, v := range map[string]*float64{"keep": &keep, "keep_weight": &weight} {
		var err error
		if *v, err = strconv.ParseFloat(e.Metadata[key], 64); err != nil {
			t.Fatalf("golden metadata %s: %v", key, err)
		}
	}
	return keep, weight
}

// prefixed gives the golden's base under its checkpoint names.
type prefixed struct{ *hf.File }

func (p prefixed) Tensor(name string) (hf.Tensor, error) { return p.File.Tensor("base." + name) }

func edgeConfig() *hf.Config {
	return &hf.Config{
		VocabSize: 64, HiddenSize: 32, NumHiddenLayers: 2, NumAttentionHeads: 4, NumKeyValueHeads: 2, HeadDim: 8,
		IntermediateSize: 48, HiddenAct: "silu", RMSNormEps: 1e-5, Rope: hf.Rope{Type: "default", Theta: 10000}, QueryPreAttnScale: 1 / math.Sqrt(8), EmbeddingScale: 1, TieWordEmbeddings: true,
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
	if meta["positions"] != "" {
		s.Positions = model.Positions(meta["positions"])
	}
	if meta["df"] != "" {
		s.FeatureDim = number("df")
	}
	if layers := meta["slot_layers"]; layers != "" {
		if err := json.Unmarshal([]byte(layers), &s.SlotLayers); err != nil {
			t.Fatalf("golden metadata slot_layers: %v", err)
		}
	}
	if meta["retain"] != "" {
		s.Slots = number("retain")
		if meta["both"] != "True" {
			s.Memory = model.MemoryNone
		}
	}
	return s
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
