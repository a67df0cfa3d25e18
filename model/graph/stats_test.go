package graph

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"eisft/model"
)

// shareProbe finds the memory's share of each output without the formula of any
// gate: it is by how much the output rises when all values of the read do by one.
type shareProbe struct {
	model.Ops[[]float32]
	dims   model.Dims
	shares *[]float32
}

func (p *shareProbe) raised(read []float32) []float32 {
	out := slices.Clone(read)
	for i := range out {
		if i%(p.dims.HeadDim+1) < p.dims.HeadDim {
			out[i]++
		}
	}
	return out
}

func (p *shareProbe) note(low, high []float32) {
	for i := range low {
		*p.shares = append(*p.shares, high[i]-low[i])
	}
}

func (p *shareProbe) Attend(l *model.Layer, q, k, v []float32, c *model.Column[[]float32]) []float32 {
	out := p.Ops.Attend(l, q, k, v, c)
	if c != nil {
		p.note(out, p.Ops.Attend(l, q, k, v, &model.Column[[]float32]{Logit: c.Logit, Read: p.raised(c.Read)}))
	}
	return out
}

func (p *shareProbe) Mix(l *model.Layer, logit, read, local []float32) []float32 {
	high := p.Ops.Mix(l, logit, p.raised(read), slices.Clone(local)) // Mix may write to local
	out := p.Ops.Mix(l, logit, read, local)
	p.note(out, high)
	return out
}

// TestLayerStats compares the statistics of a pass, whose graph begins where the
// memory does, with those of the same stream.
func TestLayerStats(t *testing.T) {
	for name, s := range specs() {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(11, 12))
			m := testModel(t, s, r)
			sample := Sample{IDs: make([]int32, 30), Loss: make([]bool, 30)}
			for i := range sample.IDs {
				sample.IDs[i], sample.Loss[i] = int32(r.IntN(11)), i > 5 && i%2 == 0
			}
			o := Options{Soft: true, Penalty: Penalty{Keep: 1}, TokenWeight: 1, SampleWeight: 1}
			got, err := NewEngine(m, nil).Backward(t.Context(), sample, o, m.Params.Zero())
			if err != nil {
				t.Fatal(err)
			}
			var shares []float32
			wrap := func(ops model.Ops[[]float32], _ int) model.Ops[[]float32] {
				return &shareProbe{Ops: ops, dims: m.Base.Dims, shares: &shares}
			}
			st := m.NewStream(model.StreamOptions{Soft: true, NoRouting: true, Wrap: wrap})
			if err := st.Feed(t.Context(), sample.IDs, 0, nil); err != nil {
				t.Fatal(err)
			}
			wantGate(t, got.Layers[0].Gate, shares)
			wantHeads(t, "gate", got.Layers[0].GateHeads, shareOfHeads(shares, m.Base.Dims), 1e-4)
			if s.Slots > 0 {
				heads := kept(st.State, m)
				wantHeads(t, "kept", got.Layers[0].KeptHeads, heads, 1e-6)
				if want := (heads[0] + heads[1]) / 2; math.Abs(got.Layers[0].Kept-want) > 1e-6 {
					t.Errorf("kept %.6f, want %.6f", got.Layers[0].Kept, want)
				}
			}
		})
	}
}

func wantGate(t *testing.T, got model.Spread, shares []float32) {
	t.Helper()
	if len(shares) == 0 {
		if got != (model.Spread{}) {
			t.Errorf("gate %+v of a block without memory", got)
		}
		return
	}
	mean := 0.0
	for _, v := range shares {
		mean += float64(v) / float64(len(shares))
	}
	want := model.Spread{Mean: mean, Min: float64(slices.Min(shares)), Max: float64(slices.Max(shares))}
	for _, x := range [][2]float64{{got.Mean, want.Mean}, {got.Min, want.Min}, {got.Max, want.Max}} {
		if math.Abs(x[0]-x[1]) > 1e-4 {
			t.Errorf("gate %+v, want %+v", got, want)
			return
		}
	}
}

// shareOfHeads is the mean share of each head's outputs [T, H·d].
func shareOfHeads(shares []float32, d model.Dims) []float64 {
	if len(shares) == 0 {
		return nil
	}
	means := make([]float64, d.Heads)
	for i, v := range shares {
		means[i/d.HeadDim%d.Heads] += float64(v) * float64(d.Heads) / float64(len(shares))
	}
	return means
}

func wantHeads(t *testing.T, what string, got []float32, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s of %d heads, want %d", what, len(got), len(want))
		return
	}
	for h, v := range got {
		if math.Abs(float64(v)-want[h]) > tolerance {
			t.Errorf("%s of heads %v, want %v", what, got, want)
			return
		}
	}
}

// kept is the mean of σ(ρ), with decay of σ(ρ)^age, of layer 0's soft slots, for each KV head.
func kept(s *model.State, m *model.Model) []float64 {
	p, d := s.Parts(0), m.Base.Dims
	means := make([]float64, d.KVHeads)
	for row := p.Sinks; row < p.Sinks+p.Slots; row++ {
		for g := range d.KVHeads {
			age := 1
			if m.Spec.Retention.Decay {
				age = s.Seen() - row // soft slots and sinks are all that was before the window
			}
			means[g] += math.Pow(1/(1+math.Exp(-float64(s.Layers[0].Score[row*d.KVHeads+g]))), float64(age)) / float64(p.Slots)
		}
	}
	return means
}
