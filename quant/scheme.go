// Package quant turns a trained model into one of whole numbers: it calibrates
// on streamed samples, chooses scales, quantizes the frozen weights, and
// evaluates what comes out under fake quantization, which computes in float32
// exactly what ONNX's QuantizeLinear and DequantizeLinear do.
//
// Quantized are the frozen maps and what flows between them. Norms, gates,
// retention, and the memory with its parameters stay float32 in every scheme: a
// trained gate is lost by coarse rounding. The embedding table stays as the
// checkpoint has it.
package quant

import "eisft/internal/enum"

// Scheme says how many bits every kind of tensor gets. All are signed and
// symmetric: weights have one scale for each output channel, activations and
// the KV cache one for the whole tensor.
type Scheme struct {
	Name       string `json:"name"`
	Weight     int    `json:"weight_bits"`
	Head       int    `json:"head_bits"` // of lm_head's weights
	Activation int    `json:"activation_bits"`
	Cache      int    `json:"cache_bits"` // of keys and values as the cache holds them
}

// schemes are all schemes.
var schemes = enum.NewTable[string, Scheme]("scheme").
	With("w8a16", Scheme{Name: "w8a16", Weight: 8, Head: 8, Activation: 16, Cache: 8})

// SchemeNames lists the schemes.
func SchemeNames() []string { return schemes.Names() }

// ParseScheme returns the scheme of that name.
func ParseScheme(name string) (Scheme, error) { return schemes.Find(name) }
