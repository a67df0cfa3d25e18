package quant

import (
	"fmt"
	"math"

	"eisft/internal/enum"
	"eisft/internal/scratch"
	"eisft/quant/encoding"
)

// Map is a frozen map whose weights are to be rounded, or some consecutive rows of it: no
// rule lets one output of a map know of another.
type Map struct {
	Name    string    // "model.layers.0.self_attn.q_proj"
	Matrix  []float32 // [Out,In]
	Out, In int
	Format  encoding.Format
	Hessian *Hessian // of its inputs as they are quantized; nil where the rule does not want it
}

// rounding is a rule that chooses scales and codes of a map's weights.
type rounding struct {
	// wants says what it wants to see of a map's inputs; nil: nothing.
	wants func(r *Recipe, f encoding.Format) want
	// scales chooses the scales.
	scales func(r *Recipe, m *Map) (encoding.Encoding, error)
	// prepare turns the Hessian into what codes wants of it, in place; nil: nothing.
	prepare func(r *Recipe, h *Hessian) (*factor, error)
	// codes chooses the codes; nil: the nearest ones.
	codes func(m *Map, e encoding.Encoding, f *factor) []int8
}

// RoundNearest takes the whole range of a channel or block, and the nearest codes.
const RoundNearest = "rtn"

// roundings are all rules. Those with more to them than a line stand in a file of their own.
var roundings = enum.NewTable[string, rounding]("weights").
	With(RoundNearest, rounding{scales: spanned}).
	With(RoundMSEClip, rounding{scales: mseClip}).
	With(RoundSeqMSE, rounding{scales: seqMSE, wants: seqMSEWants}).
	With(RoundGPTQ, rounding{scales: gptqScales, wants: gptqWants, prepare: gptqFactor, codes: gptqCodes})

// scaleRules are the rules that choose scales, for those that choose codes.
var scaleRules = enum.NewTable[string, func(*Recipe, *Map) (encoding.Encoding, error)]("gptq.scales").
	With(RoundNearest, spanned).
	With(RoundMSEClip, mseClip).
	With(RoundSeqMSE, seqMSE)

// spanned is the rule of [RoundNearest].
func spanned(_ *Recipe, m *Map) (encoding.Encoding, error) { return m.spanned() }

// RoundingNames lists the rules for weights.
func RoundingNames() []string { return roundings.Names() }

// nearest rounds to the nearest codes under the scales that span each channel or block.
func (m *Map) nearest() (*Weight, error) {
	e, err := m.spanned()
	if err != nil {
		return nil, err
	}
	return &Weight{Name: m.Name, Out: m.Out, In: m.In, Encoding: e, Codes: m.nearestCodes(e)}, nil
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

// nearestCodes returns the nearest codes of an encoding.
func (m *Map) nearestCodes(e encoding.Encoding) []int8 {
	codes := make([]int8, m.Out*m.In)
	encoding.Codes(e, codes, m.Matrix, m.Out, m.In)
	return codes
}

// measure writes the error that differences d [Out,In] from the weights make, for each scale
// of an encoding.
type measure func(sum []float64, d []float32, e encoding.Encoding)

// defaultCandidates is how many scales are tried for each channel or block.
const defaultCandidates = 30

// clip returns, for each channel or block, the scale with the least error among equal parts
// of the one that spans it, n of them: s, s(n-1)/n, …, s/n (n 0: [defaultCandidates]). Of
// equal errors, that of the largest scale holds, so that where nothing is known it is the
// spanning one. Low-power scales are rounded to multiples of their channel's, which the
// largest of them decides, and each is then the multiple with the least error.
func (m *Map) clip(n int, of measure) (encoding.Encoding, error) {
	if n == 0 {
		n = defaultCandidates
	}
	plain := *m
	plain.Format.LowPower = false
	e, err := plain.spanned()
	if err == nil && m.Format.ZeroPoint {
		err = fmt.Errorf("%s.weight: scales of weights with a zero point are not searched for; take %s", m.Name, RoundNearest)
	}
	if err != nil {
		return e, err
	}
	s := newSearch(m, e, of)
	defer s.end()
	for i := n; i > 0; i-- {
		s.try(func(k int) float32 { return max(e.Scales[k]*(float32(i)/float32(n)), 0x1p-126) })
	}
	if !m.Format.LowPower {
		return s.best, nil
	}
	if err := m.Format.CheckRows(m.In); err != nil {
		return e, fmt.Errorf("%s.weight: %w", m.Name, err)
	}
	low := s.best.WholeMultiples(m.Out, m.Matrix)
	s.restart(low)
	for i := int32(encoding.MaxMultiple); i > 0; i-- {
		s.try(func(k int) float32 { return low.Channel(k) * float32(i) })
	}
	return s.best, nil
}

// search looks for the scales with the least error, each for itself.
type search struct {
	m           *Map
	of          measure
	best, tried encoding.Encoding
	least, sum  []float64
	rounded     []float32 // of the tried scales; then what they differ by
}

func newSearch(m *Map, e encoding.Encoding, of measure) *search {
	s := &search{m: m, of: of, rounded: scratch.Borrow(len(m.Matrix)), sum: make([]float64, len(e.Scales)), least: make([]float64, len(e.Scales))}
	s.restart(e)
	return s
}

func (s *search) end() { scratch.Release(s.rounded) }

// restart begins anew with scales of another encoding.
func (s *search) restart(e encoding.Encoding) {
	s.best, s.tried = e, e
	s.best.Scales = append([]float32{}, e.Scales...)
	s.tried.Scales = append([]float32{}, e.Scales...)
	for i := range s.least {
		s.least[i] = math.Inf(1)
	}
}

// try measures other scales and keeps those that are better.
func (s *search) try(scale func(k int) float32) {
	for k := range s.tried.Scales {
		s.tried.Scales[k] = scale(k)
	}
	copy(s.rounded, s.m.Matrix)
	s.tried.Fake(s.rounded, s.m.Out, s.m.In)
	subtract(s.rounded, s.m.Matrix)
	s.of(s.sum, s.rounded, s.tried)
	for k, v := range s.sum {
		if v < s.least[k] {
			s.least[k], s.best.Scales[k] = v, s.tried.Scales[k]
		}
	}
}
