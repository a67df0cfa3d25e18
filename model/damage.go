package model

import (
	"errors"
	"fmt"
	"sync"
)

// ErrNotNumbers is wrapped by errors about logits that are not numbers.
var ErrNotNumbers = errors.New("the model's logits are not numbers")

// NotNumbers is the error about logits that are not numbers, with the tensor that makes
// them so. It reads all weights.
func (m *Model) NotNumbers() error {
	if err := m.Damage(); err != nil {
		return fmt.Errorf("%w: %w", ErrNotNumbers, err)
	}
	return fmt.Errorf("%w, though all weights are: they are too large for float32 on this input", ErrNotNumbers)
}

// Damage names the first tensor of the base or of the block that holds NaN or an
// infinity, with its file where it is known; nil if there is none. It reads all weights.
func (m *Model) Damage() error {
	maps, norms := []*Linear{m.Base.Embed, m.Base.Head}, []*Norm{m.Base.Norm}
	for _, l := range m.Base.Layers {
		for _, w := range l.Maps() {
			maps = append(maps, w)
		}
		for _, n := range l.Norms() {
			norms = append(norms, n)
		}
	}
	for _, n := range norms {
		if i := firstNotNumber(n.Weight); i >= 0 {
			return fmt.Errorf("tensor %s.weight holds %g at index %d; the checkpoint is damaged: download it again", n.Name, n.Weight[i], i)
		}
	}
	for _, w := range maps {
		if err := w.damage(); err != nil {
			return err
		}
	}
	for _, p := range m.Params.List() {
		if i := firstNotNumber(p.Data); i >= 0 {
			return fmt.Errorf("the block's tensor %s holds %g at index %d: the adapter (%s) is damaged, or its training has diverged", p.Name, p.Data[i], i, AdapterWeights)
		}
	}
	return nil
}

// damage names the map's first row that holds something else than numbers.
func (l *Linear) damage() error {
	row, value := l.Out, float32(0)
	var m sync.Mutex
	l.Blocks(func(lo, _ int, w []float32) {
		i := firstNotNumber(w)
		if i < 0 {
			return
		}
		m.Lock()
		defer m.Unlock()
		if at := lo + i/l.In; at < row {
			row, value = at, w[i]
		}
	})
	if row == l.Out {
		return nil
	}
	where := ""
	if l.file != "" {
		where = l.file + ": "
	}
	return fmt.Errorf("%stensor %s.weight holds %g in row %d; the checkpoint is damaged: download it again", where, l.Name, value, row)
}

func numbers(x []float32) bool { return firstNotNumber(x) < 0 }

// firstNotNumber returns the index of the first NaN or infinity, -1 if there is none.
func firstNotNumber(x []float32) int {
	for i, v := range x {
		if v-v != 0 {
			return i
		}
	}
	return -1
}
