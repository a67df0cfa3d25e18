package quant

import (
	"errors"
	"fmt"

	"eisft/model"
	"eisft/quant/encoding"
)

// errAbsolute tells why a block has no integer attention.
var errAbsolute = errors.New("integer attention needs positions: compact, since with absolute ones the cache holds keys after rotary embedding, which a scheme encodes before it; quantize as w8a16-mixed or with weights alone")

// EncodePoints chooses the encodings of all points, the first half of [Quantize]: the result
// has no weights yet. format, if not nil, may give a point another format than the
// scheme's. The point of what masks and tables hold has no statistics.
func EncodePoints(m *model.Model, s Scheme, r Range, seen *Statistics, format func(point string, f encoding.Format) encoding.Format) (*Quantized, error) {
	if s.IntegerAttention() && m.Spec.Positions == model.PositionsAbsolute {
		return nil, fmt.Errorf("scheme %s: %w", s.Name, errAbsolute)
	}
	q := &Quantized{Scheme: s, Range: r, Base: m.Base.Identity(), Calibration: seen.Calibration, Text: seen.Text}
	for _, p := range points(m) {
		f := p.format(s)
		if f.None() {
			continue
		}
		if format != nil {
			f = format(p.name, f)
		}
		q.Points = append(q.Points, encodePoint(p, f, r, seen.observers[p.name]))
	}
	if p := q.Point(MaskPoint); p != nil {
		q.encodeMask(p, m.Spec.GateByMass(), s.Attention)
	}
	return q, nil
}

// encodePoint chooses the encoding of a point of which o was seen, nil of what is given. The
// mask's is for encodeMask to choose.
func encodePoint(p point, f encoding.Format, r Range, o *Observer) *Point {
	out := &Point{Name: p.name}
	switch p.kind {
	case mask:
		return out
	case table:
		out.Encoding = f.Tensor(-p.values[0], p.values[0])
	case constant:
		lo, hi := p.values[0], p.values[0]
		for _, v := range p.values {
			lo, hi = min(lo, v), max(hi, v)
		}
		out.Encoding, out.Min, out.Max = f.Tensor(lo, hi), lo, hi
		out.Codes = make([]int32, len(p.values))
		encoding.Codes(out.Encoding, out.Codes, p.values)
		return out
	case shares, unit:
		out.Encoding = f.Unit()
	case scores:
		out.Encoding = f.Tensor(o.LeastMax-maskedBelow, o.Max+scoresAbove)
	case residual, embedding:
		// The largest numbers of a residual stream are a few channels of a few tokens, which
		// all layers after them depend on (arXiv 2402.17762): none may be clipped.
		out.Encoding = RangeMinMax.encode(o, f)
	default:
		out.Encoding = r.encode(o, f)
	}
	if o != nil {
		out.see(o)
	}
	return out
}

// see adds what calibration saw of a point.
func (p *Point) see(o *Observer) {
	p.Min, p.Max = o.Min, o.Max
	p.ClipRate, p.SQNR = o.clipped(p.Encoding), sqnr(o.noise(p.Encoding))
}

// maskedBelow is how far below the smallest maximum of a softmax that was seen the scores'
// encoding ends. What is 12 below a row's maximum is 0 in 16-bit probabilities (exp(-12) is
// 6e-6, half a step 8e-6), so that what lies lower may as well saturate; and the masked
// places of a graph, which are all at this end, have together no share that float32 would
// resolve: 10,000 of them 4e-7 of it.
const maskedBelow = 24

// scoresAbove is room for scores above all that were seen: one that saturates takes its
// query's attention away, and the room costs a tenth of the resolution.
const scoresAbove = 4

// logTokens is more than the logarithm of all tokens that a memory will ever take up, which
// the mask's last column holds for a gate by mass.
const logTokens = 24

// encodeMask encodes the masks, once the scores are: see MaskValue.
func (q *Quantized) encodeMask(p *Point, byMass bool, f encoding.Format) {
	p.Min = q.MaskValue()
	if byMass {
		p.Max = logTokens
	}
	p.Encoding = f.Tensor(p.Min, p.Max)
}

// MaskValue is what masks hold where there is nothing to see, in graphs with integer
// attention: added to any score it is below the least code, in every layer. It is as close
// to zero as that allows, since the mask's codes must resolve the memory's column, too.
// Without integer attention it is 0.
func (q *Quantized) MaskValue() float32 {
	most := float32(0)
	for _, p := range q.Points {
		if isScores(p.Name) {
			lo, hi := p.Encoding.Limits()
			most = max(most, p.Encoding.Scales[0]*float32(hi-lo))
		}
	}
	if most == 0 {
		return 0
	}
	return -most * (1 + 1e-3) // the mask is rounded, too
}
