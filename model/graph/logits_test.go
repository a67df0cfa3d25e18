package graph

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"eisft/model"
	"eisft/model/modeltest"
)

// TestLogitGradients compares loss and gradients of distilled logits with what two streams
// say comes next, of one layer: with more, the stored states would move, too.
func TestLogitGradients(t *testing.T) {
	for name, s := range specs() {
		if name != "slots" && name != "slots-mlp-decay" && name != "slot-hedgehog-linear-slots-decay" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(51, 52))
			m := testModel(t, s, r)
			ids, importance := make([]int32, 28), make([]float32, 28) // the last segment is not full
			for i := range ids {
				ids[i], importance[i] = int32(r.IntN(11)), 0.5+r.Float32()
			}
			o := TransferOptions{Penalty: Penalty{Keep: 0.1, KeepWeight: 2, Capacity: 1, CapacityWeight: 0.4}, Weight: 0.7}
			grads, e := m.Params.Zero(), NewEngine(m, nil)
			got, err := e.TransferLogits(t.Context(), ids, importance, o, grads)
			if err != nil {
				t.Fatal(err)
			}
			const first = 10 // the segment from here on is the first that does not see all
			if want := o.Weight * streamedDivergence(t, m, ids, importance, first); math.Abs(got.Loss-want) > 1e-5 || want < 1e-3 || got.Tokens != len(ids)-first {
				t.Errorf("loss %.6f over %d tokens, want %.6f over %d", got.Loss, got.Tokens, want, len(ids)-first)
			}
			g := modeltest.Gradients{Value: func() float64 {
				p, err := e.TransferLogits(t.Context(), ids, importance, o, m.Params.Zero()) // for the penalty
				if err != nil {
					t.Fatal(err)
				}
				penalty := o.KeepWeight*math.Max(0, p.Kept-o.Keep) + o.CapacityWeight*p.Layers[0].Excess
				return o.Weight * (streamedDivergence(t, m, ids, importance, first) + penalty)
			}}
			g.CheckParams(t, m.Params, grads)
		})
	}
}

// streamedDivergence is the weighted mean of KL(base‖block) over the tokens from the
// first-th on.
func streamedDivergence(t *testing.T, m *model.Model, ids []int32, importance []float32, first int) float64 {
	t.Helper()
	full, err := model.New(m.Base, model.FullAttention(m.Spec.Segment), nil)
	if err != nil {
		t.Fatal(err)
	}
	logits := func(st *model.Stream) (rows [][]float64) {
		err := st.Feed(t.Context(), ids, first, func(_ int, hidden []float32) error {
			n, v := len(hidden)/m.Base.Dims.Hidden, m.Base.Head.Out
			out := make([]float32, n*v)
			m.Logits(out, hidden)
			for i := range n {
				row, sum := make([]float64, v), 0.0
				for _, x := range out[i*v : (i+1)*v] {
					sum += math.Exp(float64(x))
				}
				for j, x := range out[i*v : (i+1)*v] {
					row[j] = float64(x) - math.Log(sum)
				}
				rows = append(rows, row)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	base, block := logits(full.NewStream(model.StreamOptions{})), logits(m.NewStream(model.StreamOptions{Soft: true, NoRouting: true}))
	sum, weights := 0.0, 0.0
	for i, row := range base {
		w := float64(importance[first+i])
		weights += w
		for j, log := range row {
			sum += w * math.Exp(log) * (log - block[i][j])
		}
	}
	return sum / weights
}

func TestTransferLogitsRefuses(t *testing.T) {
	m := testModel(t, specs()["slots"], rand.New(rand.NewPCG(1, 2)))
	_, err := NewEngine(m, nil).TransferLogits(t.Context(), make([]int32, 10), nil, TransferOptions{Weight: 1}, m.Params.Zero())
	if want := "the text has 10 tokens; a distillation of logits needs more than 10"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}
