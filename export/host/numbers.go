package host

import "eisft/quant/encoding"

// numbers are the numbers of an input that the host writes. Where the graph reads codes,
// they lie beside the tensor, and encode writes them there.
type numbers struct {
	floats   []float32
	codes    any // the tensor's data; nil where the numbers are the tensor
	encoding encoding.Encoding
}

// encode writes the numbers as the manifest says that the port holds them.
func (n numbers) encode() {
	switch codes := n.codes.(type) {
	case []int8:
		encoding.Codes(n.encoding, codes, n.floats)
	case []uint8:
		encoding.Codes(n.encoding, codes, n.floats)
	case []int16:
		encoding.Codes(n.encoding, codes, n.floats)
	case []uint16:
		encoding.Codes(n.encoding, codes, n.floats)
	}
}
