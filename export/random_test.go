package export_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"eisft/export"
	"eisft/export/exporttest"
	"eisft/export/lower"
	"eisft/export/ort"
	"eisft/export/ort/orttest"
	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/hf"
	"eisft/model/kernels"
)

// TestRandomCombinations compares the driven graphs with the Go model for blocks, bases
// and shapes drawn at random: what one switch does, others must not undo.
func TestRandomCombinations(t *testing.T) { randomCombinations(t, 0, 10) }

// TestSlowRandomCombinations: for more of them.
func TestSlowRandomCombinations(t *testing.T) {
	testfiles.Slow(t)
	randomCombinations(t, 10, 40)
}

// randomCombinations draws by seeds of [from, to).
func randomCombinations(t *testing.T, from, to uint64) {
	orttest.Require(t)
	export.VerifyAt(t, ort.Basic)
	for seed := from; seed < to; seed++ {
		r := rand.New(rand.NewPCG(seed, 1))
		spec := randomBlock(r)
		m := exporttest.Model(t, spec, func(c *hf.Config) {
			randomBase(r, c)
			randomVariant(rand.New(rand.NewPCG(seed, 7)), c)
			randomNorms(rand.New(rand.NewPCG(seed, 5)), c)
		})
		soften(m)
		tokens := pick(r, spec.Segment, spec.Segment, 1+r.IntN(7))
		o := options()
		o.Inputs = pick(r, lower.InputEmbeds, lower.InputIDs)
		o.Sizes = []export.Size{{Tokens: tokens, Cache: spec.Sink + spec.Window + spec.Slots + tokens + r.IntN(4)}}
		what := fmt.Sprintf("seed %d: %+v, %v, %+v", seed, spec, o.Sizes, m.Base.Config)
		info, report, err := export.Export(t.Context(), m, filepath.Join(t.TempDir(), "out"), o)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		for _, f := range report.Findings {
			t.Errorf("%s: %s", what, f)
		}
		if v := info.Verification[0]; v.MaxLogitError > 1e-4 || v.EqualTokens != v.Compared || v.Compared != v.Read {
			t.Errorf("%s: %+v", what, v)
		}
	}
}

// soften makes random feature maps less steep: steeper ones hardly touch, and of few
// tokens ε outweighs them.
func soften(m *model.Model) {
	for _, p := range m.Params.List() {
		if strings.Contains(p.Name, "memory.feature_") {
			kernels.Scale(0.3, p.Data)
		}
	}
}

func pick[T any](r *rand.Rand, x ...T) T { return x[r.IntN(len(x))] }

// randomBlock draws sizes and every switch of the block.
func randomBlock(r *rand.Rand) model.Spec {
	s := model.Spec{
		Sink: r.IntN(4), Window: r.IntN(9), Segment: 1 + r.IntN(7), Slots: pick(r, 0, 1+r.IntN(8), 1+r.IntN(8)),
		Positions: pick(r, model.PositionsCompact, model.PositionsAbsolute),
		Memory:    pick(r, model.MemoryNone, model.MemoryLinear, model.MemoryDelta),
	}
	if s.Slots > 0 {
		s.SlotLayers = pick(r, nil, nil, []int{r.IntN(2)})
	}
	if s.HasMemory() {
		s.Feature = pick(r, model.Features()...)
		s.FeatureDim = pick(r, 0, 1+r.IntN(9))
		s.Gate = pick(r, model.Gates()...)
		s.Map, s.WriteGate = pick(r, true, false), s.Slots == 0 && pick(r, true, false)
	}
	return s
}

// randomBase changes what the attention depends on.
func randomBase(r *rand.Rand, c *hf.Config) {
	if pick(r, true, false) {
		kinds := []hf.LayerType{hf.FullAttention, hf.SlidingAttention}
		c.SlidingWindow, c.LayerTypes = 1+r.IntN(12), []hf.LayerType{pick(r, kinds...), pick(r, kinds...)}
		c.RopeLocal = pick(r, c.Rope, hf.Rope{Type: "default", Theta: 50, PartialRotaryFactor: 0.5})
	}
	c.NumKeyValueHeads = pick(r, 1, 2, 4)
	c.QKNorm, c.PostNorms = pick(r, true, false), pick(r, true, false)
	c.TieWordEmbeddings, c.AttentionBias = pick(r, true, false), pick(r, true, false)
	c.QueryPreAttnScale = pick(r, c.QueryPreAttnScale, 0.1, 0.6)
}

// randomNorms changes what norms compute and where they are.
func randomNorms(r *rand.Rand, c *hf.Config) {
	c.LayerNorm, c.EmbeddingNorm = pick(r, true, false), pick(r, true, false)
	c.QKNormAfterRotary = c.QKNorm && !c.QKNormWhole && pick(r, true, false)
}

// randomVariant draws what only some families have.
func randomVariant(r *rand.Rand, c *hf.Config) {
	c.AttentionSoftcap, c.FinalLogitSoftcap = pick(r, 0, 0, 1.5), pick(r, 0, 0, 3.)
	c.ResidualScale, c.LogitScale = pick(r, 0, 0, 0.4), pick(r, 0, 0, 6.)
	c.NoRope = pick(r, nil, nil, []bool{pick(r, true, false), pick(r, true, false)})
	c.QKNormWhole, c.NoInputNorms = c.QKNorm && pick(r, true, false), c.PostNorms && pick(r, true, false)
}
