package model_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"eisft/model"
	"eisft/model/hf"
	"eisft/model/modeltest"
)

// TestAttentionScale reads a text with a base that multiplies q·k by another number than
// 1/√d and has no norm over its queries: what it says is what the base says whose queries
// are that much longer, and not what it says without.
func TestAttentionScale(t *testing.T) {
	dir := ourFamily(t, "phi3")
	usual := openFamily(t, dir, func(w model.Tensors) model.Tensors { return w })
	factor := 3.0
	other, err := hf.LoadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	other.QueryPreAttnScale *= factor
	scaled, err := model.NewBase(other, openCheckpoint(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	longer := openFamily(t, dir, func(w model.Tensors) model.Tensors {
		return longerQueries{w, usual.Dims.Heads * usual.Dims.HeadDim, float32(factor)}
	})
	ids := make([]int32, 40)
	for i := range ids {
		ids[i] = int32(7 * i % 96)
	}
	logits := func(b *model.Base) []float32 {
		m, err := model.New(b, model.FullAttention(16), nil)
		if err != nil {
			t.Fatal(err)
		}
		var out []float32
		err = m.NewStream(model.StreamOptions{}).Feed(t.Context(), ids, 0, func(_ int, hidden []float32) error {
			part := make([]float32, len(hidden)/b.Dims.Hidden*b.Head.Out)
			m.Logits(part, hidden)
			out = append(out, part...)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	want := logits(longer)
	modeltest.Near(t, "logits", logits(scaled), want, 1e-4)
	if r := modeltest.Relative(logits(usual), want, 1e-6); r < 0.01 {
		t.Errorf("the scale changes the logits by %.2g of them; it has no effect", r)
	}
	if usual.Identity() == scaled.Identity() {
		t.Error("bases with different scales have the same identity")
	}
}

// openCheckpoint opens the weights of a folder.
func openCheckpoint(t testing.TB, dir string) *hf.Checkpoint {
	t.Helper()
	ck, err := hf.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ck.Close() })
	return ck
}

// longerQueries is a checkpoint whose queries, the first rows of each fused projection,
// are multiplied by a factor.
type longerQueries struct {
	model.Tensors
	rows   int
	factor float32
}

func (l longerQueries) Tensor(name string) (hf.Tensor, error) {
	t, err := l.Tensors.Tensor(name)
	if err != nil || !strings.HasSuffix(name, ".qkv_proj.weight") {
		return t, err
	}
	values, err := t.Float32()
	if err != nil {
		return t, err
	}
	t.DType, t.Data = hf.DTypeF32, nil
	for i, v := range values {
		if i < l.rows*t.Shape[1] {
			v *= l.factor
		}
		t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(v))
	}
	return t, nil
}

// TestAttentionFormula compares the fused attention with softmax(s·q·k)·v in float64.
func TestAttentionFormula(t *testing.T) {
	const past, rows, scale = 5, 3, 0.3
	d := model.Dims{Heads: 4, KVHeads: 2, HeadDim: 8}
	r := rand.New(rand.NewPCG(1, 2))
	draw := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		return x
	}
	q, k, v := draw(rows*32), draw((past+rows)*16), draw((past+rows)*16)
	a := model.Attention{Dims: d, Scale: scale, PastK: k[:past*16], PastV: v[:past*16], Past: past, Cos: []float32{1, 1, 1}, Sin: []float32{0, 0, 0}}
	got, want := make([]float32, len(q)), make([]float32, len(q))
	a.Forward(got, nil, model.NewTokens{Q: q, K: k[past*16:], V: v[past*16:], Rows: rows})
	for at := range rows * d.Heads {
		row, kv := at/d.Heads, at%d.Heads/2
		sum, out := 0.0, make([]float64, d.HeadDim)
		for j := range past + row + 1 {
			dot := 0.0
			for i := range d.HeadDim {
				dot += float64(q[at*8+i]) * float64(k[(j*2+kv)*8+i])
			}
			p := math.Exp(scale * dot)
			sum += p
			for i := range out {
				out[i] += p * float64(v[(j*2+kv)*8+i])
			}
		}
		for i, x := range out {
			want[at*8+i] = float32(x / sum)
		}
	}
	modeltest.Near(t, "attention", got, want, 1e-5)
}
