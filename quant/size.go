package quant

import (
	"eisft/model"
	"eisft/quant/encoding"
)

// formatBytes is what a matrix takes in a format, with its scales and zero points: [Weight.Bytes]
// before there is one.
func formatBytes(f encoding.Format, out, in int) int {
	scales := out
	if f.Block > 0 {
		scales = out * in / f.Block
	}
	n := (out*in*f.Bits + 7) / 8
	if f.ZeroPoint {
		n += (scales*f.Bits + 7) / 8
	}
	if f.LowPower {
		return n + 4*out + (scales+1)/2
	}
	return n + 4*scales
}

// plannedSize counts the bytes of a model with its adapter, float and in the formats that
// its maps would have. Embeddings are in the checkpoint's type both times, norms, biases
// and the adapter in float32.
func plannedSize(m *model.Model, format func(name string, head bool) encoding.Format) Change[int] {
	c := floatSize(m)
	for _, f := range frozen(m.Base) {
		c.After += formatBytes(format(f.name, f.head), f.Out, f.In)
	}
	return c
}

// size counts the bytes of a model before and after.
func size(m *model.Model, q *Quantized) Change[int] {
	c := floatSize(m)
	for _, w := range q.Weights {
		c.After += w.Bytes()
	}
	return c
}

// floatSize counts the bytes of a model, and of what of it is not quantized.
func floatSize(m *model.Model) Change[int] {
	b := m.Base
	rest := b.Embed.Bytes() + 4*m.Params.Count()
	for _, n := range b.Norms() {
		rest += 4 * n.Parameters()
	}
	for _, l := range b.Layers {
		for _, n := range l.Norms() {
			rest += 4 * n.Parameters()
		}
	}
	c := Change[int]{Before: rest, After: rest}
	for _, f := range frozen(b) {
		c.After += 4 * len(f.Bias)
		if f.Linear != b.Embed {
			c.Before += f.Bytes() + 4*len(f.Bias)
		}
	}
	return c
}
