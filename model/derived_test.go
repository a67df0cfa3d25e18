package model_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model"
)

// derivedBase is a base whose maps are all derived, each from the one that it takes the
// place of, with the rows that were computed counted.
func derivedBase(t testing.TB, b *model.Base) (*model.Base, *atomic.Int64) {
	t.Helper()
	count := &atomic.Int64{}
	derive := func(l *model.Linear) *model.Linear {
		return b.Derive(l.Name, l.In, l.Out, l.Bias, func(dst []float32, lo, hi int) {
			count.Add(int64(hi - lo))
			l.Rows(dst, lo, hi)
		})
	}
	c := *b
	c.Embed, c.Head = derive(b.Embed), derive(b.Head)
	c.Layers = slices.Clone(b.Layers)
	for i, l := range b.Layers {
		c.Layers[i] = l.WithMaps(func(_ model.Role, m *model.Linear) *model.Linear { return derive(m) })
	}
	return &c, count
}

// TestDerived: derived maps compute what their source does, with copies and without; without,
// their weights are computed once and lie in no file that has a name.
func TestDerived(t *testing.T) {
	for _, copies := range []int64{math.MaxInt64, 0} {
		dir := t.TempDir()
		t.Setenv("TMPDIR", dir)
		b := openFamily(t, testfiles.Base(t, "llama"), func(w model.Tensors) model.Tensors { return w })
		b.CopyWeights(copies)
		d, count := derivedBase(t, b)
		ids := make([]int32, 40)
		for i := range ids {
			ids[i] = int32(i % b.Embed.Out)
		}
		read := func(b *model.Base) []float32 {
			m, err := model.New(b, model.FullAttention(16), nil)
			if err != nil {
				t.Fatal(err)
			}
			logits, err := m.NewStream(model.StreamOptions{}).Read(t.Context(), ids, nil)
			if err != nil {
				t.Fatal(err)
			}
			return logits
		}
		want := read(b)
		if got := read(d); !slices.Equal(got, want) {
			t.Errorf("copies of %d bytes: derived maps compute something else", copies)
		}
		first := count.Load()
		read(d)
		if again := count.Load() - first; again != int64(len(ids)) { // the embedding's rows
			t.Errorf("copies of %d bytes: %d rows were computed again, want %d", copies, again, len(ids))
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("copies of %d bytes: %d files are left (%v)", copies, len(entries), err)
		}
		for _, l := range []*model.Linear{d.Embed, d.Head, d.Layers[0].Down} {
			if !slices.Equal(l.Weight(), b.Layers[0].Down.Weight()) && l == d.Layers[0].Down {
				t.Errorf("%s: other weights", l.Name)
			}
			if l.Bytes() != 4*l.In*l.Out {
				t.Errorf("%s: %d bytes", l.Name, l.Bytes())
			}
		}
	}
}

// TestDerivedWithoutRoom: where no temporary file can be written, weights are computed on
// each use.
func TestDerivedWithoutRoom(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "gone"))
	b := openFamily(t, testfiles.Base(t, "llama"), func(w model.Tensors) model.Tensors { return w })
	b.CopyWeights(0)
	d, count := derivedBase(t, b)
	x, y, want := make([]float32, 3*b.Head.In), make([]float32, 3*b.Head.Out), make([]float32, 3*b.Head.Out)
	for i := range x {
		x[i] = float32(i%7) - 3
	}
	for range 2 {
		before := count.Load()
		d.Head.Apply(y, x)
		b.Head.Apply(want, x)
		if !slices.Equal(y, want) || count.Load()-before < int64(b.Head.Out) {
			t.Errorf("%d rows were computed; the products are right: %t", count.Load()-before, slices.Equal(y, want))
		}
	}
}
