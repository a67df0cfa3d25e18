package graph

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"eisft/internal/floatcache"
	"eisft/model"
)

// TestKeptBase: a text whose reading by the base is kept has the loss and gradients that it
// has without, takes the bytes that are said, and is not read again: with another content of
// the file the loss is another. Another base, or another text, finds nothing.
func TestKeptBase(t *testing.T) {
	r := rand.New(rand.NewPCG(71, 72))
	m := familyModel(t, "qwen3", specs()["slot-hedgehog-linear-slots"])
	ids := randomIDs(m, 60)
	o := TransferOptions{Penalty: Penalty{Keep: 0.1, KeepWeight: 2}, Weight: 0.7}
	transfer := func(e *Engine, ids []int32) (float64, *model.Params) {
		grads := m.Params.Zero()
		got, err := e.Transfer(t.Context(), ids, nil, o, grads)
		if err != nil {
			t.Fatal(err)
		}
		return sumOf(got.Errors), grads
	}
	logits := func(e *Engine, ids []int32) (float64, *model.Params) {
		grads := m.Params.Zero()
		got, err := e.TransferLogits(t.Context(), ids, nil, o, grads)
		if err != nil {
			t.Fatal(err)
		}
		return got.Loss, grads
	}
	for name, tc := range map[string]struct {
		do    func(e *Engine, ids []int32) (float64, *model.Params)
		bytes int64
	}{"attention": {transfer, TransferKept(m, len(ids))}, "logits": {logits, LogitsKept(m, len(ids))}} {
		dir := t.TempDir()
		c, err := floatcache.OnDisk(dir, 1<<30, func(err error) { t.Error(err) })
		if err != nil {
			t.Fatal(err)
		}
		e := NewEngine(m, nil)
		want, wantGrads := tc.do(e, ids)
		e.KeepBase(c, "base")
		for range 2 {
			got, grads := tc.do(e, ids)
			if got != want {
				t.Errorf("%s: the loss is %v, want %v", name, got, want)
			}
			for i, p := range grads.List() {
				if !slices.Equal(p.Data, wantGrads.List()[i].Data) {
					t.Errorf("%s: the gradient of %s is another", name, p.Name)
				}
			}
		}
		files, err := os.ReadDir(dir)
		if err != nil || len(files) != 1 {
			t.Fatalf("%s: %d files, %v; want 1", name, len(files), err)
		}
		path := filepath.Join(dir, files[0].Name())
		content, err := os.ReadFile(path)
		if err != nil || int64(len(content)) != tc.bytes {
			t.Errorf("%s: a file of %d bytes, %v; want %d", name, len(content), err, tc.bytes)
		}
		for i := range content {
			content[i] = byte(r.IntN(60))
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, _ := tc.do(e, ids); got == want {
			t.Errorf("%s: the base reads again what is kept", name)
		}
		e.KeepBase(c, "another")
		if got, _ := tc.do(e, ids); got != want {
			t.Errorf("%s: another base finds what is kept of this one", name)
		}
		other := slices.Clone(ids)
		other[len(other)-1]++
		got, _ := tc.do(e, other)
		e.KeepBase(nil, "")
		if want, _ := tc.do(e, other); got != want {
			t.Errorf("%s: another text finds what is kept of this one: %v, want %v", name, got, want)
		}
	}
}

func sumOf(x []float64) (sum float64) {
	for _, v := range x {
		sum += v
	}
	return sum
}
