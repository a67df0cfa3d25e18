package quant

import (
	"fmt"

	"eisft/internal/enum"
	"eisft/quant/encoding"
)

// Map is a frozen map whose weights are to be rounded, or some consecutive rows of it: no
// rule lets one output of a map know of another.
type Map struct {
	Name    string    // "model.layers.0.self_attn.q_proj"
	Matrix  []float32 // [Out,In]
	Out, In int
	Format  encoding.Format
	// Hessian is XᵀX [In,In] of the map's inputs X [tokens,In] as they are quantized; nil
	// where the rule does not want it. Of a rule that wants blocks alone, only the blocks
	// on the diagonal that have a scale are there, and all else is 0.
	Hessian []float32
}

// want is what of a Hessian a rule looks at.
type want int

const (
	wantNone   want = iota
	wantBlocks      // what one scale serves
	wantAll
)

// rounding is a rule that chooses scales and codes of a map's weights.
type rounding struct {
	wants want
	round func(r *Recipe, m *Map) (*Weight, error)
}

// RoundNearest takes the whole range of a channel or block, and the nearest codes.
const RoundNearest = "rtn"

// roundings are all rules. What a rule's file is called says its name.
var roundings = enum.NewTable[string, rounding]("weights").
	With(RoundNearest, rounding{round: func(_ *Recipe, m *Map) (*Weight, error) { return m.nearest() }})

// RoundingNames lists the rules for weights.
func RoundingNames() []string { return roundings.Names() }

// nearest rounds to the nearest codes under the scales that span each channel or block.
func (m *Map) nearest() (*Weight, error) {
	e, err := m.spanned()
	if err != nil {
		return nil, err
	}
	return m.coded(e), nil
}

// spanned returns the encoding whose codes span the weights of each channel or block.
func (m *Map) spanned() (encoding.Encoding, error) {
	if f := m.Format; f.Unsigned || f.Bits != 4 && f.Bits != 8 {
		return encoding.Encoding{}, fmt.Errorf("%s.weight: no weights are quantized to %s; want 4 or 8 signed bits", m.Name, f)
	}
	e, err := m.Format.Rows(m.Matrix, m.Out, m.In)
	if err != nil {
		return e, fmt.Errorf("%s.weight: %w", m.Name, err)
	}
	return e, nil
}

// coded returns the weights as the nearest codes of an encoding.
func (m *Map) coded(e encoding.Encoding) *Weight {
	w := &Weight{Name: m.Name, Out: m.Out, In: m.In, Encoding: e, Codes: make([]int8, m.Out*m.In)}
	encoding.Codes(e, w.Codes, m.Matrix, m.Out, m.In)
	return w
}
