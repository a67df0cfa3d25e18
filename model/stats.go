package model

import "math"

// LayerStats says what a layer's block does with its memory and its slots.
type LayerStats struct {
	// Kept is the mean of σ(ρ), with decay of σ(ρ)^age at the text's end, over KV heads and
	// the tokens that left the window (all tokens in attention transfer): the share that is
	// kept.
	Kept float64 `json:"kept"`
	// Excess is what is kept beyond the capacity at the ends of segments, as a share of the
	// capacity and a mean over segments and KV heads.
	Excess float64 `json:"excess,omitzero"`
	// Gate is the share of the attention's mass that the memory gets, over heads
	// and the tokens of the segments that carry a graph: σ(logit), or the
	// softmax share of the memory's column.
	Gate Spread `json:"gate,omitzero"`
	// KeptHeads is Kept of each KV head, GateHeads the mean of Gate for each head.
	KeptHeads []float32 `json:"kept_heads,omitempty"`
	GateHeads []float32 `json:"gate_heads,omitempty"`
}

// ObserveGate adds the memory's shares [T, H·n], n values for each of H heads.
func (l *LayerStats) ObserveGate(shares []float32, heads, n int) {
	seen := LayerStats{Gate: SpreadOf(shares), GateHeads: make([]float32, heads)}
	for i, v := range shares {
		seen.GateHeads[i/n%heads] += v * float32(heads) / float32(len(shares))
	}
	l.MergeGate(seen)
}

// MergeGate adds what o says of the gate.
func (l *LayerStats) MergeGate(o LayerStats) {
	if l.Gate.Merge(o.Gate); o.Gate.N == 0 {
		return
	}
	if l.GateHeads == nil {
		l.GateHeads = make([]float32, len(o.GateHeads))
	}
	for h, v := range o.GateHeads {
		l.GateHeads[h] += (v - l.GateHeads[h]) * float32(o.Gate.N) / float32(l.Gate.N)
	}
}

// Spread sums up values. It is zero without any.
type Spread struct {
	Mean float64 `json:"mean"`
	Min  float64 `json:"min"`
	Max  float64 `json:"max"`
	N    int     `json:"n"`
}

// Merge adds the values of o.
func (s *Spread) Merge(o Spread) {
	switch {
	case o.N == 0:
	case s.N == 0:
		*s = o
	default:
		n := s.N + o.N
		s.Mean += (o.Mean - s.Mean) * float64(o.N) / float64(n)
		s.Min, s.Max, s.N = math.Min(s.Min, o.Min), math.Max(s.Max, o.Max), n
	}
}

// SpreadOf sums up some values.
func SpreadOf(values []float32) Spread {
	s := Spread{Min: math.Inf(1), Max: math.Inf(-1), N: len(values)}
	for _, v := range values {
		x := float64(v)
		s.Mean += x / float64(s.N)
		s.Min, s.Max = math.Min(s.Min, x), math.Max(s.Max, x)
	}
	return s
}
