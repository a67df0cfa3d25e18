package host

import (
	"github.com/x448/float16"

	"eisft/quant/encoding"
)

// numbers are the numbers of a tensor as the host works with them. Where the graph has
// float16 or codes, these lie beside them.
type numbers struct {
	floats   []float32
	stored   any               // the tensor's data; nil where the numbers are the tensor
	encoding encoding.Encoding // of codes
}

// store writes the numbers into the tensor as the manifest says that the port holds them.
func (n numbers) store() {
	switch to := n.stored.(type) {
	case []float16.Float16:
		for i, v := range n.floats {
			to[i] = float16.Fromfloat32(v)
		}
	case []int8:
		encoding.Codes(n.encoding, to, n.floats)
	case []uint8:
		encoding.Codes(n.encoding, to, n.floats)
	case []int16:
		encoding.Codes(n.encoding, to, n.floats)
	case []uint16:
		encoding.Codes(n.encoding, to, n.floats)
	}
}

// read takes the numbers from the tensor.
func (n numbers) read() {
	if from, ok := n.stored.([]float16.Float16); ok {
		for i, v := range from {
			n.floats[i] = v.Float32()
		}
	}
}
