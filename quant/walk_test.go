package quant

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"

	"eisft/data"
	"eisft/internal/ranks"
	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/modeltest"
	"eisft/quant/encoding"
)

// w4 is a scheme of 4-bit weights in the given format.
func w4(f encoding.Format) Scheme {
	s := schemes.Get("w8a16")
	s.Weight = f
	return s
}

// again gives the same samples each time.
func again(samples ...data.Encoded) func() iter.Seq2[data.Encoded, error] {
	return func() iter.Seq2[data.Encoded, error] { return each(samples...) }
}

// formatOf is what a scheme says of a map.
func formatOf(s Scheme) func(name string, head bool) encoding.Format {
	return func(name string, head bool) encoding.Format { return (&Recipe{}).mapFormat(s, name, head) }
}

// points returns a quantized model with the encodings of its points alone.
func pointsOf(t testing.TB, m *model.Model, s Scheme, samples ...data.Encoded) *Quantized {
	t.Helper()
	seen, err := Calibrate(t.Context(), m, each(samples...))
	if err != nil {
		t.Fatal(err)
	}
	q, err := Quantize(m, s, RangeMinMax, seen)
	if err != nil {
		t.Fatal(err)
	}
	q.Weights = nil
	return q
}

// randomSamples are sequences of random tokens of the given lengths.
func randomSamples(vocab int, lengths ...int) []data.Encoded {
	random := rand.New(rand.NewPCG(3, 4))
	var list []data.Encoded
	for i, n := range lengths {
		s := data.Encoded{Where: fmt.Sprintf("sample %d", i), IDs: make([]int32, n)}
		for j := range s.IDs {
			s.IDs[j] = int32(random.IntN(vocab))
		}
		list = append(list, s)
	}
	return list
}

// walked are models of every kind of block and of every family: small ones, whose states
// fill up within two hundred tokens.
func walked(t *testing.T) map[string]*model.Model {
	list := map[string]*model.Model{}
	for _, name := range modeltest.Edges {
		list["block "+name] = modeltest.OpenEdge(t, name).Model
	}
	families, err := os.ReadDir(testfiles.Golden(t, "hf"))
	if err != nil || len(families) < 20 {
		t.Fatalf("%d families (%v)", len(families), err)
	}
	s := modeltest.DefaultBlock(t)
	s.Sink, s.Window, s.Segment, s.Slots = 2, 8, 16, 8
	for _, f := range families {
		list["family "+f.Name()] = modeltest.Open(t, testfiles.Base(t, f.Name()), s)
	}
	held := list["block retain-memory"]
	long := held.Spec
	long.Window = 4096
	if list["held"], err = model.New(held.Base, long, nil); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestWalk: what each map is shown while the model is rounded layer by layer is what it reads
// in the quantized model that comes out, bit by bit, in a stream over all layers.
func TestWalk(t *testing.T) {
	for name, m := range walked(t) {
		t.Run(name, func(t *testing.T) {
			samples := randomSamples(m.Base.Embed.Out, 150, 97)
			scheme := w4(encoding.Format{Bits: 4})
			if m.Spec.Positions == model.PositionsAbsolute { // for which there is no integer attention
				mixed := schemes.Get("w8a16-mixed")
				mixed.Weight, scheme = scheme.Weight, mixed
			}
			q := pointsOf(t, m, scheme, samples...)
			shown := map[string][]float32{}
			r := &rounder{model: m, q: q, options: RoundOptions{Group: ranks.Alone{}, Recipe: &Recipe{}, Samples: again(samples...), Format: formatOf(q.Scheme)}}
			r.rule = rounding{
				wants: func(*Recipe, encoding.Format) want { return wantAll },
				scales: func(_ *Recipe, m *Map) (encoding.Encoding, error) {
					shown[m.Name] = slices.Clone(m.Hessian.Values)
					return m.spanned()
				},
			}
			if err := r.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			q.Weights = r.done
			faked, wrap, err := Apply(m, q)
			if err != nil {
				t.Fatal(err)
			}
			want := hessiansOf(t, faked, wrap, samples...)
			if len(shown) != len(want) {
				t.Errorf("%d maps were shown their inputs, want %d", len(shown), len(want))
			}
			for name, h := range want {
				if !slices.Equal(shown[name], h.Values) {
					t.Errorf("%s was shown other inputs than it reads: %g, want %g", name, shown[name][:3], h.Values[:3])
				}
			}
		})
	}
}

// hessiansOf reads samples with a quantized model and returns the Hessian of each map.
func hessiansOf(t *testing.T, m *model.Model, w model.Wrap, samples ...data.Encoded) map[string]*Hessian {
	t.Helper()
	out := map[string]*Hessian{}
	for _, s := range samples {
		rows, mutex := map[string][]float32{}, sync.Mutex{}
		seen := 0
		st := m.NewStream(model.StreamOptions{Wrap: func(o model.Ops[[]float32], first int) model.Ops[[]float32] {
			return w(&inputs{o, func(l *model.Linear, x []float32) {
				mutex.Lock()
				defer mutex.Unlock()
				name, at := l.Name, first-seen
				if l == m.Base.Head {
					name, at = HeadName, 0
				}
				if rows[name] == nil {
					rows[name] = make([]float32, m.Spec.Segment*l.In)
				}
				copy(rows[name][at*l.In:], x)
			}}, first)
		}})
		err := st.Feed(t.Context(), s.IDs, 0, func(_ int, hidden []float32) error {
			st.Logits(make([]float32, len(hidden)/m.Base.Head.In*m.Base.Head.Out), hidden)
			for name, x := range rows {
				in := len(x) / m.Spec.Segment
				if out[name] == nil {
					out[name] = testHessian(in, 0)
				}
				out[name].add(x[:(st.Seen()-seen)*in])
			}
			seen = st.Seen()
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, h := range out {
		if err := h.finish(name); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// inputs shows what maps read.
type inputs struct {
	model.Ops[[]float32]
	take func(l *model.Linear, x []float32)
}

// See implements [model.Seer].
func (i *inputs) See(l *model.Layer) model.Sight { return i.Ops.(model.Seer).See(l) }

func (i *inputs) Linear(l *model.Linear, x []float32) []float32 {
	i.take(l, x)
	return i.Ops.Linear(l, x)
}
