package model_test

import (
	"testing"

	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/hf"
	"eisft/model/modeltest"
)

// TestVariantsCount: what only some families have, one thing at a time, changes the logits
// and the identity of a base.
func TestVariantsCount(t *testing.T) {
	for name, c := range map[string]struct {
		family string
		change func(*hf.Config)
	}{
		"attention's cap": {"gemma2", func(c *hf.Config) { c.AttentionSoftcap = 2 }},
		"no cap":          {"gemma2", func(c *hf.Config) { c.AttentionSoftcap = 0 }},
		"logits' cap":     {"gemma2", func(c *hf.Config) { c.FinalLogitSoftcap = 4 }},
		"no logits' cap":  {"gemma2", func(c *hf.Config) { c.FinalLogitSoftcap = 0 }},
		"residual scale":  {"granite", func(c *hf.Config) { c.ResidualScale = 0.3 }},
		"logit scale":     {"granite", func(c *hf.Config) { c.LogitScale = 5 }},
		"embeddings":      {"granite", func(c *hf.Config) { c.EmbeddingScale = 11 }},
		"rotary":          {"smollm3", func(c *hf.Config) { c.NoRope = nil }},
		"other layers":    {"smollm3", func(c *hf.Config) { c.NoRope = []bool{false, false, true, false} }},
	} {
		t.Run(name, func(t *testing.T) {
			dir := testfiles.Base(t, c.family)
			config, err := hf.LoadConfig(dir)
			if err != nil {
				t.Fatal(err)
			}
			as := openFamily(t, dir, func(w model.Tensors) model.Tensors { return w })
			c.change(config)
			changed, err := model.NewBase(config, openCheckpoint(t, dir))
			if err != nil {
				t.Fatal(err)
			}
			logits := func(b *model.Base) []float32 {
				m, err := model.New(b, model.FullAttention(16), nil)
				if err != nil {
					t.Fatal(err)
				}
				ids := make([]int32, 40)
				for i := range ids {
					ids[i] = int32(7 * i % b.Embed.Out)
				}
				var hidden []float32
				st := m.NewStream(model.StreamOptions{})
				err = st.Feed(t.Context(), ids, 0, func(_ int, h []float32) error {
					hidden = append(hidden, h...)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				streamed, of := make([]float32, 40*b.Head.Out), make([]float32, 40*b.Head.Out)
				st.Logits(streamed, hidden)
				m.Logits(of, hidden)
				modeltest.Near(t, "logits of the model and of the stream", of, streamed, 0)
				return streamed
			}
			if r := modeltest.Relative(logits(changed), logits(as), 1e-6); r < 1e-3 {
				t.Errorf("the logits change by %.2g of them", r)
			}
			if changed.Identity() == as.Identity() {
				t.Error("the identity is the same")
			}
		})
	}
}

// overwriting clears what the maps of a layer read, when the last of them has read it, as
// what decorates a backend may.
type overwriting struct {
	model.Ops[[]float32]
	layers []*model.Layer
}

func (o overwriting) Linear(m *model.Linear, x []float32) []float32 {
	y := o.Ops.Linear(m, x)
	for _, l := range o.layers {
		if m == l.V || m == l.Up {
			clear(x)
		}
	}
	return y
}

// TestMapsReadTheirOwn: without norms before them, too, what maps read is not the residual
// stream itself.
func TestMapsReadTheirOwn(t *testing.T) {
	for _, family := range []string{"llama", "olmo2"} {
		b := openFamily(t, testfiles.Base(t, family), func(w model.Tensors) model.Tensors { return w })
		m, err := model.New(b, model.FullAttention(16), nil)
		if err != nil {
			t.Fatal(err)
		}
		ids := make([]int32, 40)
		wrap := func(o model.Ops[[]float32], _ int) model.Ops[[]float32] { return overwriting{o, b.Layers} }
		want := logitsAfter(t, m, m.NewStream(model.StreamOptions{}), ids)
		modeltest.Near(t, family, logitsAfter(t, m, m.NewStream(model.StreamOptions{Wrap: wrap}), ids), want, 0)
	}
}
