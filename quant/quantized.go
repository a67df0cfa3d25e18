package quant

import (
	"context"
	"errors"
	"fmt"

	"eisft/model"
	"eisft/quant/encoding"
)

// Quantized is a quantized model: codes of its weights, and encodings of what
// flows between its frozen maps. All else stays as base and adapter have it.
type Quantized struct {
	Scheme      Scheme
	Range       Range
	Base        string // identity of the base, see [model.Base.Identity]
	Calibration Calibration
	// Text are token ids of the first samples that it was calibrated on, at most [TextTokens]: what
	// exported graphs are compared over. None in models of earlier versions.
	Text    []int32
	Weights []*Weight // in the order of the forward pass, the head last
	Points  []*Point
	// Folded are the transforms of the float model that was rounded, nil: there were none.
	Folded *Folded
	// Reconstructed says of each layer what its reconstruction has gained; nil without one.
	Reconstructed []Reconstructed

	shelf shelf // where the weights lie; no files where they are in memory
}

// Reconstructed is what the reconstruction of a layer has gained: the squared error of its
// output on held-out stretches, in parts of the float output's square, as it was rounded
// first and as it was fitted.
type Reconstructed struct {
	Layer   int     `json:"layer"`
	Held    int     `json:"held_out_tokens"`
	Rounded float64 `json:"rounded_error"`
	Fitted  float64 `json:"fitted_error"`
	// Kept is false where the fit had the greater error: the layer is as it was rounded first.
	Kept bool `json:"kept"`
}

// Point is a tensor of the forward pass: its encoding, and what calibration saw.
type Point struct {
	Name     string            `json:"name"`
	Encoding encoding.Encoding `json:"encoding"`
	Min      float32           `json:"min"`
	Max      float32           `json:"max"`
	ClipRate float64           `json:"clip_rate"` // share of the values beyond the codes
	SQNR     float64           `json:"sqnr_db"`   // estimated from the histogram
	// Codes are those of a constant of the base, which nothing was seen of.
	Codes []int32 `json:"codes,omitempty"`
}

// Quantize chooses the encoding of every point of the model from what
// calibration saw, and rounds its weights to the nearest codes.
func Quantize(m *model.Model, s Scheme, r Range, seen *Statistics) (*Quantized, error) {
	q, err := EncodePoints(m, s, r, seen, nil)
	if err != nil {
		return nil, err
	}
	recipe := &Recipe{Scheme: s.Name, Ranges: r, Weights: RoundNearest}
	return q, RoundWeights(context.Background(), m, q, RoundOptions{
		Recipe: recipe,
		Format: func(name string, head bool) encoding.Format { return recipe.mapFormat(s, name, head) },
	})
}

// Transforms names the transforms that are folded into the float model, in their order.
func (q *Quantized) Transforms() []string {
	var list []string
	if q.Folded != nil {
		for _, s := range q.Folded.Steps {
			list = append(list, s.Method)
		}
	}
	return list
}

// Weight returns the weights of a map: "model.layers.0.self_attn.q_proj" or
// HeadName. It is nil if there is none.
func (q *Quantized) Weight(name string) *Weight {
	for _, w := range q.Weights {
		if w.Name == name {
			return w
		}
	}
	return nil
}

// Point returns the point of that name (see [InputPoint] and its neighbours),
// nil if there is none.
func (q *Quantized) Point(name string) *Point {
	for _, p := range q.Points {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// Apply returns the model with the weights that q's codes stand for, and the
// decorator that rounds every point to its encoding: together, in streams with
// [model.StreamOptions].Wrap, they compute what the quantized graphs compute.
// Transforms that q was made with are folded in first: m is the untouched model. It fails if
// q was made for another model.
func Apply(m *model.Model, q *Quantized) (*model.Model, model.Wrap, error) {
	if err := q.fits(m); err != nil {
		return nil, nil, err
	}
	m, err := q.Float(m)
	if err != nil {
		return nil, nil, err
	}
	b := replaceFrozen(m.Base, func(name string, l *model.Linear) *model.Linear {
		return q.Weight(name).linear(m.Base, l)
	})
	faked, err := model.New(b, m.Spec, m.Params)
	if err != nil {
		return nil, nil, err
	}
	return faked, Wrap(faked, q, nil), nil
}

// Wrap returns the decorator that rounds every point of a model to its encoding; before,
// if not nil, may change a point's numbers before they are rounded, but not those that a
// host or the base gives. Cores call it side by side.
func Wrap(m *model.Model, q *Quantized, before func(x []float32)) model.Wrap {
	return q.taps(m, before).wrap
}

// taps are what [Wrap] visits.
func (q *Quantized) taps(m *model.Model, before func(x []float32)) *taps {
	encodings, given := map[string]encoding.Encoding{}, map[string]bool{EmbeddingPoint: true}
	for _, p := range q.Points {
		encodings[p.Name] = p.Encoding
	}
	for _, p := range givenPoints(m) {
		given[p.name] = true
	}
	return newTaps(m, q.Scheme.IntegerAttention(), false, func(point string, x []float32) {
		e, ok := encodings[point]
		if !ok {
			return
		}
		if before != nil && !given[point] {
			before(x)
		}
		e.Fake(x)
	})
}

// errOther advises where quantized weights and a model do not belong together.
var errOther = errors.New("the quantized files belong to another model; run eisft quantize for this one")

// fits checks that q has every weight and point of a model, and no other.
func (q *Quantized) fits(m *model.Model) error {
	b := m.Base
	if err := b.CheckIdentity(q.Base); err != nil {
		return fmt.Errorf("the quantized base was another one: %w: %w", err, errOther)
	}
	list := frozen(b)
	for _, f := range list {
		w := q.Weight(f.name)
		if w == nil {
			return fmt.Errorf("%s has no quantized weights: %w", f.name, errOther)
		}
		if w.Out != f.Out || w.In != f.In {
			return fmt.Errorf("%s is [%d,%d] quantized and [%d,%d] in the base: %w", f.name, w.Out, w.In, f.Out, f.In, errOther)
		}
	}
	encoded := 0
	for _, p := range points(m) {
		if p.format(q.Scheme).None() {
			continue
		}
		encoded++
		if q.Point(p.name) == nil {
			return fmt.Errorf("%s has no encoding: %w", p.name, errOther)
		}
	}
	if len(q.Weights) != len(list) || len(q.Points) != encoded {
		return fmt.Errorf("there are %d quantized weights and %d encodings, but the base has %d maps and %d points: %w", len(q.Weights), len(q.Points), len(list), encoded, errOther)
	}
	return nil
}

// frozenMap is a frozen map under the name that its weights are quantized under.
type frozenMap struct {
	*model.Linear
	name string
	head bool
}

// frozen lists the maps that are quantized.
func frozen(b *model.Base) []frozenMap {
	var list []frozenMap
	for _, l := range b.Layers {
		for _, m := range l.Maps() {
			list = append(list, frozenMap{Linear: m, name: m.Name})
		}
	}
	return append(list, frozenMap{b.Head, HeadName, true})
}

// replaceFrozen returns a base with f's maps in place of its own. An embedding
// table that is tied to the head stays what it is.
func replaceFrozen(b *model.Base, f func(name string, l *model.Linear) *model.Linear) *model.Base {
	c := *b
	c.Layers = make([]*model.Layer, len(b.Layers))
	for i, l := range b.Layers {
		c.Layers[i] = l.WithMaps(func(_ model.Role, m *model.Linear) *model.Linear { return f(m.Name, m) })
	}
	c.Head = f(HeadName, b.Head)
	return &c
}
