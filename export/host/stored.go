package host

import (
	"eisft/export/manifest"
	"eisft/quant/encoding"
)

// Stored returns a layer's stored keys and values [n,K·d], one token after the other, as the
// numbers that their codes stand for.
func (st *Stream) Stored(layer int) (keys, values []float32) {
	n := st.sequence.Parts(layer).Stored()
	l, ports := &st.layers[layer], st.step.graph.Inputs
	return l.keys.numbers(ports, "key", layer, n), l.values.numbers(ports, "value", layer, n)
}

// numbers returns the first n tokens, heads side by side.
func (t tokens) numbers(ports []manifest.Port, role string, layer, n int) []float32 {
	var x []float32
	p, _ := find(ports, role, layer)
	switch codes := t.data.(type) {
	case []float32:
		x = codes
	case []int8:
		x = dequantized(p.Encoding, codes, p.Shape)
	case []uint8:
		x = dequantized(p.Encoding, codes, p.Shape)
	case []int16:
		x = dequantized(p.Encoding, codes, p.Shape)
	case []uint16:
		x = dequantized(p.Encoding, codes, p.Shape)
	}
	heads := len(x) / (t.n * t.d)
	out := make([]float32, n*heads*t.d)
	for g := range heads {
		for j := range n {
			for i := range t.d {
				at := (g*t.n+j)*t.d + i
				if t.transposed {
					at = (g*t.d+i)*t.n + j
				}
				out[(j*heads+g)*t.d+i] = x[at]
			}
		}
	}
	return out
}

func dequantized[T encoding.Codable](e *encoding.Encoding, codes []T, shape []int) []float32 {
	x := make([]float32, len(codes))
	encoding.Dequantize(*e, x, codes, shape...)
	return x
}
