package shapes_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"eisft/model"
	"eisft/model/hf"
	"eisft/model/modeltest"
	"eisft/model/shapes"
)

// blocks are small blocks of every kind of state.
func blocks() map[string]model.Spec {
	slots := model.Spec{Sink: 3, Slots: 5, Window: 10, Segment: 8, Positions: model.PositionsCompact, Memory: model.MemoryNone}
	memory := slots
	memory.Memory, memory.Feature, memory.Gate, memory.Map = model.MemoryLinear, model.FeatureHedgehog, model.GateSlot, true
	few := memory
	few.SlotLayers, few.Positions = []int{1}, model.PositionsAbsolute
	decaying := memory
	decaying.Retention = model.Retention{Form: model.RetentionMLP, Hidden: 3, Decay: true}
	write := memory
	write.Slots, write.WriteGate, write.Memory, write.Gate = 0, true, model.MemoryDelta, model.GateVector
	return map[string]model.Spec{
		"slots": slots, "memory": memory, "few slots": few, "decaying": decaying, "write gate": write, "window": model.WindowOnly(memory), "full": model.FullAttention(8),
	}
}

// tap counts the products of frozen maps.
type tap struct {
	model.Ops[[]float32]
	mu   *sync.Mutex
	maps *int64
}

func (t tap) Linear(l *model.Linear, x []float32) []float32 {
	t.mu.Lock()
	*t.maps += int64(len(x)) * int64(l.Out)
	t.mu.Unlock()
	return t.Ops.Linear(l, x)
}

// config is that of a base of two layers, of which the second sees 6 keys: D = 32, H = 4,
// K = 2, d = 8, 48 feed-forward, 64 logits.
func config() *hf.Config {
	rope := hf.Rope{Type: "default", Theta: 1e4}
	return &hf.Config{
		VocabSize: 64, HiddenSize: 32, NumHiddenLayers: 2, NumAttentionHeads: 4, NumKeyValueHeads: 2, HeadDim: 8, IntermediateSize: 48,
		HiddenAct: "silu", DType: "bfloat16", SlidingWindow: 6, LayerTypes: []hf.LayerType{hf.FullAttention, hf.SlidingAttention},
		Rope: rope, RopeLocal: rope, QueryPreAttnScale: 1 / math.Sqrt(8), EmbeddingScale: 1, TieWordEmbeddings: true,
	}
}

// sizes is a base without weights.
func sizes(t *testing.T, c *hf.Config) *model.Base {
	t.Helper()
	b, err := model.NewBase(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// tensors are weights in float32.
type tensors map[string]hf.Tensor

func (w tensors) Names() []string                       { return slices.Collect(maps.Keys(w)) }
func (w tensors) Tensor(name string) (hf.Tensor, error) { return w[name], nil }
func (w tensors) add(r *rand.Rand, name string, shape ...int) {
	n, t := 1, hf.Tensor{Name: name + ".weight", DType: hf.DTypeF32, Shape: shape}
	for _, dim := range shape {
		n *= dim
	}
	for range n {
		t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(float32(r.NormFloat64()/4)))
	}
	w[t.Name] = t
}

// random is a base with random weights.
func random(t *testing.T, c *hf.Config) *model.Base {
	t.Helper()
	bare, w, r := sizes(t, c), tensors{}, rand.New(rand.NewPCG(3, 4))
	w.add(r, bare.Embed.Name, bare.Embed.Out, bare.Embed.In)
	w.add(r, bare.Norm.Name, len(bare.Norm.Weight))
	for _, l := range bare.Layers {
		for _, m := range l.Maps() {
			w.add(r, m.Name, m.Out, m.In)
		}
		w.add(r, l.InputNorm.Name, len(l.InputNorm.Weight))
		w.add(r, l.PostAttentionNorm.Name, len(l.PostAttentionNorm.Weight))
	}
	b, err := model.NewBase(c, w)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestStoresWhatAStreamStores reads the same text in the same pieces with numbers and
// without: they store as many tokens in every layer, in as many bytes, and frozen maps
// take as many products.
func TestStoresWhatAStreamStores(t *testing.T) {
	base := random(t, config())
	for name, spec := range blocks() {
		for _, soft := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/soft=%v", name, soft), func(t *testing.T) {
				m, err := model.New(base, spec, nil)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, m, soft)
			})
		}
	}
}

func compare(t *testing.T, m *model.Model, soft bool) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	for _, noRouting := range []bool{false, true} {
		var mu sync.Mutex
		maps, counted := int64(0), int64(0)
		wrap := func(o model.Ops[[]float32], _ int) model.Ops[[]float32] { return tap{o, &mu, &maps} }
		real := m.NewStream(model.StreamOptions{Soft: soft, NoRouting: noRouting, Wrap: wrap})
		none := shapes.NewStream(m, shapes.Options{Soft: soft, NoRouting: noRouting})
		for real.Seen() < 90 {
			n := 1 + r.IntN(30)
			from := n * r.IntN(2) // all outputs or none
			if err := real.Feed(t.Context(), make([]int32, n), from, nil); err != nil {
				t.Fatal(err)
			}
			if err := none.Feed(n, from); err != nil {
				t.Fatal(err)
			}
			state, bytes := real.Clone().State, 0
			for i, l := range state.Layers {
				if got, want := none.Stored(i), l.K.Len(); got != want {
					t.Errorf("%d tokens are stored in layer %d after %d, want %d", got, i, real.Seen(), want)
				}
				bytes += l.K.Bytes() + l.V.Bytes() + 4*(len(l.Score)+len(l.Memory))
			}
			if got := none.Held().State; got != int64(bytes) {
				t.Errorf("the state takes %d bytes after %d tokens, want %d", got, real.Seen(), bytes)
			}
			if none.Evicted() != state.Evicted() {
				t.Errorf("evicted is %v after %d tokens, want %v", none.Evicted(), real.Seen(), state.Evicted())
			}
			if counted += none.Take().Total().Maps; counted != maps {
				t.Errorf("%d products of frozen maps after %d tokens, want %d", counted, real.Seen(), maps)
			}
		}
	}
}

// TestCounts holds the work of two stretches to that of base and block, written out. The
// block has d = f = 8, 3 sinks, 10 in the window, segments of 8, and 5 slots in the second
// layer.
func TestCounts(t *testing.T) {
	spec := blocks()["memory"]
	spec.SlotLayers, spec.Memory = []int{1}, model.MemoryDelta
	m, err := model.New(sizes(t, config()), spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	st := shapes.NewStream(m, shapes.Options{NoRouting: true, CacheBytes: 1})
	feed := func(n, from int) shapes.Count {
		t.Helper()
		if err := st.Feed(n, from); err != nil {
			t.Fatal(err)
		}
		return st.Take()
	}
	feed(16, 0) // 3 sinks and 10 in the window: 3 tokens have left it

	// 8 tokens, the output of the last 2 wanted. The first layer stores 13, the second 3 more.
	const maps, memory, features = 32*(32+16+16+32) + 3*32*48, 2 * 16 * 9, 8 * 8
	weights := int64(2*maps + 4*(4*features+2*features+4*features+4*8)) // bfloat16, and the block's in float32
	got := feed(8, 6)
	st.Logits(2)
	head := st.Take().Head
	if want := (shapes.Work{Head: 2 * 32 * 64, Weights: 2 * 32 * 64}); head != want {
		t.Errorf("head: %+v, want %+v", head, want)
	}
	read := func(n int64) int64 { return n * 4 * (features + 8*8 + 16*9 + 8) }
	write := func(n int64) int64 { return n * 2 * (features + 2*16*9) }
	first := shapes.Work{
		Maps: 8 * maps, Attention: 2 * 32 * (8*13 + 36), MemoryRead: read(8), MemoryWrite: write(8),
		Weights: weights, State: 13*32 + 4*memory + 4*memory + 8*32,
	}
	second := shapes.Work{
		Maps: 2*maps + 6*32*(32+16+16), Attention: 2 * 32 * 2 * 6, MemoryRead: read(2), MemoryWrite: write(6), Scores: 8 * 32 * 2,
		Weights: weights + 4*32*2, State: 4*memory + 4*memory + 6*32, // of what is stored its queries see nothing
	}
	for i, want := range []shapes.Work{first, second} {
		if got.Layers[i] != want {
			t.Errorf("layer %d:\n got %+v\nwant %+v", i, got.Layers[i], want)
		}
	}
	// Layer 0 holds 3 sinks and 10 of the window, layer 1 also 5 slots and scores.
	held := st.Held()
	if want := int64((13+18)*32 + 18*2*4 + 2*4*memory); held.State != want {
		t.Errorf("the state takes %d bytes, want %d", held.State, want)
	}
	if want := int64((21+24)*32 + 24*2*4 + 2*4*memory); held.MostState != want {
		t.Errorf("the state took %d bytes, want %d", held.MostState, want)
	}
	// Most in the second stretch: of 8 tokens nine values of the model's width, keys, values
	// and three of the feed-forward layer's.
	if want := int64(4 * 8 * (9*32 + 2*16 + 3*48)); held.MostActivations != want {
		t.Errorf("activations took %d bytes, want %d", held.MostActivations, want)
	}
}

// TestWithoutWeights: a base of sizes alone takes what the base itself takes.
func TestWithoutWeights(t *testing.T) {
	dir := filepath.Join("..", "demo")
	m := modeltest.Open(t, dir, modeltest.DefaultBlock(t))
	c, err := hf.LoadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	bare, err := model.New(sizes(t, c), m.Spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	var counts [2]shapes.Work
	for i, m := range []*model.Model{m, bare} {
		st := shapes.NewStream(m, shapes.Options{})
		if err := st.Feed(1500, 1400); err != nil {
			t.Fatal(err)
		}
		st.Logits(100)
		counts[i] = st.Take().Total()
	}
	if counts[0] != counts[1] || counts[0].Weights == 0 {
		t.Errorf("got %+v, want %+v", counts[1], counts[0])
	}
}

// TestOutOfReach: positions are checked as for any stream.
func TestOutOfReach(t *testing.T) {
	c := config()
	c.Rope = hf.Rope{Type: "dynamic", Theta: 1e4, Factor: 2, OriginalMaxPositionEmbeddings: 20}
	m, err := model.New(sizes(t, c), model.FullAttention(8), nil)
	if err != nil {
		t.Fatal(err)
	}
	err = shapes.NewStream(m, shapes.Options{}).Feed(21, 0)
	if want := "position 20 is out of reach"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}
