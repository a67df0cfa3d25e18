// Package quant quantizes a trained model after training: it calibrates
// on streamed samples, chooses scales, quantizes the frozen weights, and
// evaluates what comes out under fake quantization, which computes in float32
// exactly what ONNX's QuantizeLinear and DequantizeLinear do.
//
// Quantized are the frozen maps and what flows between them. Norms, gates,
// retention, and the memory with its parameters stay float32 in every scheme: a
// trained gate is lost by coarse rounding. The embedding table stays in float, too.
//
// Before it is rounded, the float model may be transformed into one that computes the same
// and rounds better: see [Transform].
package quant

import (
	"fmt"

	"eisft/internal/enum"
	"eisft/quant/encoding"
)

// Scheme says how every kind of tensor is encoded. Weights have a scale for each
// output channel, or for each block of it, and codes of 4 or 8 signed bits;
// activations and the KV cache have one for the whole tensor, or stay in float.
type Scheme struct {
	Name       string          `json:"name"`
	Weight     encoding.Format `json:"weight"`
	Head       encoding.Format `json:"head"` // lm_head's weights
	Activation encoding.Format `json:"activation"`
	Cache      encoding.Format `json:"cache"` // keys and values as the cache holds them
}

// schemes are all schemes.
var schemes = enum.NewTable[string, Scheme]("scheme").
	With("w8a16", Scheme{
		Name: "w8a16", Weight: encoding.Format{Bits: 8}, Head: encoding.Format{Bits: 8},
		Activation: encoding.Format{Bits: 16}, Cache: encoding.Format{Bits: 8},
	})

// SchemeNames lists the schemes.
func SchemeNames() []string { return schemes.Names() }

// ParseScheme returns the scheme of that name.
func ParseScheme(name string) (Scheme, error) { return schemes.Find(name) }

// String says in words what a scheme does with each kind of tensor.
func (s Scheme) String() string {
	return fmt.Sprintf("%s: weights %s, head %s, activations %s, cache %s", s.Name, s.Weight, s.Head, s.Activation, s.Cache)
}
