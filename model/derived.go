package model

import (
	"runtime"
	"sync"
	"sync/atomic"

	"eisft/internal/scratch"
	"eisft/model/hf"
)

// derivation is where the weights of a map come from that follow from other maps'.
type derivation struct {
	rows func(dst []float32, lo, hi int)
	once sync.Once
	kept atomic.Pointer[hf.Tensor] // what keep has stored
}

// Derive returns a map of the base whose weights are computed when they are used: rows
// writes rows [lo,hi) of W [out,in], and may be called by several cores at once. Copies of
// W are kept as the base keeps them. Where it keeps none, W is computed once, when the map
// is first applied to rows of hidden states, and lies in a temporary file (in the folder
// that os.TempDir names) that is mapped and has no name any more: it takes no more memory
// than a checkpoint does. If that file cannot be written, W is computed on each use.
func (b *Base) Derive(name string, in, out int, bias []float32, rows func(dst []float32, lo, hi int)) *Linear {
	return &Linear{Name: name, In: in, Out: out, Bias: bias, copies: b.copies, derived: &derivation{rows: rows}}
}

// read writes rows [lo,hi).
func (d *derivation) read(dst []float32, lo, hi int) {
	t := d.kept.Load()
	if t == nil {
		d.rows(dst, lo, hi)
		return
	}
	_ = t.Rows(lo, hi).ReadFloat32(dst) // type and size are those of keep: it never fails
	runtime.KeepAlive(t)
}

// keep stores W of l in a temporary file, the first time; of a map that is not derived (nil)
// there is nothing to keep.
func (d *derivation) keep(l *Linear) {
	if d == nil {
		return
	}
	d.once.Do(func() {
		const atOnce = 1 << 20 // numbers
		n := max(1, atOnce/l.In)
		w := scratch.Borrow(min(n, l.Out) * l.In)
		defer scratch.Release(w)
		t, err := hf.TemporaryF32(l.Name+".weight", []int{l.Out, l.In}, func(write func([]float32) error) error {
			for lo := 0; lo < l.Out; lo += n {
				hi := min(lo+n, l.Out)
				d.rows(w[:(hi-lo)*l.In], lo, hi)
				if err := write(w[:(hi-lo)*l.In]); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			d.kept.Store(t)
		}
	})
}
