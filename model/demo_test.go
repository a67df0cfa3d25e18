package model_test

import (
	"testing"

	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/hf"
	"eisft/model/kernels"
	"eisft/model/modeltest"
)

// openGolden opens a safetensors file of the goldens and returns a reader of its
// tensors as floats or ids.
func openGolden(t testing.TB, path string) (floats func(string) []float32, ids func(string) []int32) {
	t.Helper()
	return openTensors(t, testfiles.Golden(t, path))
}

// openTensors is openGolden for any safetensors file.
func openTensors(t testing.TB, path string) (floats func(string) []float32, ids func(string) []int32) {
	t.Helper()
	f, err := hf.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	tensor := func(name string) hf.Tensor {
		x, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	return func(name string) []float32 {
			v, err := tensor(name).Float32()
			if err != nil {
				t.Fatal(err)
			}
			return v
		}, func(name string) []int32 {
			long, err := tensor(name).Int64()
			if err != nil {
				t.Fatal(err)
			}
			out := make([]int32, len(long))
			for i, v := range long {
				out[i] = int32(v)
			}
			return out
		}
}

func openFull(t testing.TB, dir string) *model.Model {
	t.Helper()
	return modeltest.Open(t, dir, model.FullAttention(256))
}

// TestDemoGolden compares the demo base with the reference's float32 forward
// pass: the last 64 rows of logits of a prompt, and its greedy answer.
func TestDemoGolden(t *testing.T) {
	floats, ids := openGolden(t, "demo/golden.safetensors")
	m := openFull(t, "demo")
	prompt, vocab := ids("input_ids"), m.Base.Head.Out
	var logits []float32
	st := m.NewStream(model.StreamOptions{})
	err := st.Feed(t.Context(), prompt, 0, func(_ int, hidden []float32) error {
		out := make([]float32, len(hidden)/m.Base.Dims.Hidden*vocab)
		m.Logits(out, hidden)
		logits = append(logits, out...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	modeltest.Near(t, "logits", logits[len(logits)-64*vocab:], floats("logits_last64"), 2e-3)
	next := logits[len(logits)-vocab:]
	for i, want := range ids("greedy") {
		got := int32(kernels.ArgMax(next))
		if got != want {
			t.Fatalf("greedy token %d is %d, want %d", i, got, want)
		}
		err := st.Feed(t.Context(), []int32{got}, 0, func(_ int, hidden []float32) error {
			m.Logits(next, hidden)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
