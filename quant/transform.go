package quant

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"eisft/internal/enum"
	"eisft/model"
	"eisft/model/kernels"
)

// transform is a way to rewrite the float model into one that computes the same and rounds
// better. All of it is folded into weights: graphs get no op more.
type transform struct {
	// channels says whether it wants statistics of channels with the settings of a recipe.
	channels func(r *Recipe) bool
	// find chooses scales or rotations for a model; notes say what was left out and why.
	find func(ctx context.Context, t *task) (s *Step, notes []string, err error)
}

// task is what a transform works on.
type task struct {
	model  *model.Model
	recipe *Recipe
	seen   *Channels // nil if it was not wanted
}

// transforms are all transforms, a file each.
var transforms = enum.NewTable[string, transform]("transform").
	With("smoothquant", smoothQuant).
	With("awq", awq).
	With("rotate", rotate)

// TransformNames lists the transforms.
func TransformNames() []string { return transforms.Names() }

// WantsChannels says whether a recipe's transforms want statistics of channels.
func WantsChannels(r *Recipe) (bool, error) {
	wants := false
	for _, name := range r.Transforms {
		t, err := transforms.Find(name)
		if err != nil {
			return false, err
		}
		wants = wants || t.channels(r)
	}
	return wants, nil
}

// Step is one transform as it was carried out: what the float model follows from.
type Step struct {
	Method string
	// Scales [channels] divide points, by their names: see seams. A step that scales has
	// those of all that can be scaled.
	Scales map[string][]float32
	// Residual [D,D] is R1, nil: the residual stream stays as it is.
	Residual []float32
	// Values [K,d,d] are R2 of each layer, nil: values stay as they are.
	Values [][]float32
}

// Folded says how the float model that was rounded follows from base and adapter: not its
// tensors, but the scales and rotations that they are computed from, so that it follows
// from an adapter that was trained later, too, and takes little room.
type Folded struct {
	Steps []Step
	Notes []string // what was left out, and why
	made  *model.Base
}

// Transform carries out a recipe's transforms, in their order, on the float model. It
// returns a model that computes the same, and what it follows from (nil, if there are no
// transforms). seen are statistics of m, nil if no transform wants them. Base and adapter
// stay as they are. What a later transform sees of the channels is computed from what was
// seen of m.
func Transform(ctx context.Context, m *model.Model, r *Recipe, seen *Channels) (*model.Model, *Folded, error) {
	if len(r.Transforms) == 0 {
		return m, nil, nil
	}
	for i, name := range r.Transforms {
		t, err := transforms.Find(name)
		if err != nil {
			return nil, nil, err
		}
		if slices.Contains(r.Transforms[:i], name) {
			return nil, nil, fmt.Errorf("transform %s is there twice; name each once, in the order in which they are to be carried out", name)
		}
		if seen == nil && t.channels(r) {
			return nil, nil, fmt.Errorf("transform %s needs statistics of channels; collect them from calibration samples first", name)
		}
	}
	f := &Folded{}
	for i, name := range r.Transforms {
		t := transforms.Get(name)
		step, notes, err := t.find(ctx, &task{m, r, seen})
		if err != nil {
			return nil, nil, fmt.Errorf("transform %s: %w", name, err)
		}
		step.Method = name
		if seen != nil {
			seen = seen.after(m.Base, step)
		}
		if m, err = step.apply(m); err != nil {
			return nil, nil, fmt.Errorf("transform %s: %w", name, err)
		}
		f.Steps, f.made = append(f.Steps, *step), m.Base
		for _, n := range notes {
			f.Notes = append(f.Notes, name+": "+n)
		}
		if name == "rotate" && step.Residual != nil && i > 0 {
			f.Notes = append(f.Notes, "rotate: R1 takes the weights of the norms into the maps behind them, and with them what was scaled there before; put rotate first")
		}
	}
	return m, f, nil
}

// apply carries a step out.
func (s *Step) apply(m *model.Model) (*model.Model, error) {
	f := newFolding(m)
	if s.Scales != nil {
		for _, place := range seams(m.Base) {
			f.scale(place, s.Scales[place.point])
		}
	}
	if s.Residual != nil {
		if err := f.turnStream(s.Residual); err != nil {
			return nil, err
		}
	}
	for i, r := range s.Values {
		if err := f.turnValues(i, r); err != nil {
			return nil, err
		}
	}
	return f.model()
}

// MovesEmbedding says whether the embedding table of the float model is another one than
// the base's.
func (f *Folded) MovesEmbedding() bool {
	return f != nil && slices.ContainsFunc(f.Steps, func(s Step) bool { return s.Residual != nil })
}

// Float returns the float model that q was rounded from: m, with the transforms of q folded
// in. m is the untouched base with an adapter. What Transform has made is not transformed
// once more.
func (q *Quantized) Float(m *model.Model) (*model.Model, error) {
	if q.Folded == nil || m.Base == q.Folded.made {
		return m, nil
	}
	for i := range q.Folded.Steps {
		s := &q.Folded.Steps[i]
		err := s.fits(m)
		if err == nil {
			m, err = s.apply(m)
		}
		if err != nil {
			return nil, fmt.Errorf("%s, step %d (%s): %w", FoldedFile, i, s.Method, err)
		}
	}
	return m, nil
}

// fits checks that a step has what a model needs, and no more.
func (s *Step) fits(m *model.Model) error {
	if s.Scales != nil {
		left := map[string]bool{}
		for point := range s.Scales {
			left[point] = true
		}
		for _, place := range seams(m.Base) {
			delete(left, place.point)
			if err := checkScales(place, s.Scales[place.point]); err != nil {
				return err
			}
		}
		for point := range left {
			return fmt.Errorf("there are scales of %s, which the base has no place for: %w", point, errOther)
		}
	}
	d := m.Base.Dims
	if s.Residual != nil {
		if err := checkRotation("residual", s.Residual, 1, d.Hidden); err != nil {
			return err
		}
	}
	if s.Values != nil && len(s.Values) != len(m.Base.Layers) {
		return fmt.Errorf("there are rotations of the values of %d layers, the base has %d: %w", len(s.Values), len(m.Base.Layers), errOther)
	}
	for i, r := range s.Values {
		if err := checkRotation(fmt.Sprintf("values.%d", i), r, d.KVHeads, d.HeadDim); err != nil {
			return err
		}
	}
	return nil
}

func checkScales(place seam, scales []float32) error {
	if scales == nil {
		return fmt.Errorf("the scales of %s are missing: %w", place.point, errOther)
	}
	if len(scales) != place.channels() {
		return fmt.Errorf("there are %d scales of %s, which has %d channels: %w", len(scales), place.point, place.channels(), errOther)
	}
	if i := slices.IndexFunc(scales, func(v float32) bool { return !(v > 0) || v-v != 0 }); i >= 0 {
		return fmt.Errorf("scale %d of %s is %g; it must be above 0: the file is damaged, run eisft quantize again", i, place.point, scales[i])
	}
	return nil
}

// checkRotation reports n matrices [d,d] that are not orthogonal.
func checkRotation(what string, r []float32, n, d int) error {
	if len(r) != n*d*d {
		return fmt.Errorf("rotation %s has %d numbers, want %d matrices of %d×%d: %w", what, len(r), n, d, d, errOther)
	}
	product := make([]float32, d*d)
	for q := range slices.Chunk(r, d*d) {
		kernels.Gemm(false, true, d, d, d, 1, q, d, q, d, 0, product, d)
		for i, v := range product {
			want := 0.0
			if i/d == i%d {
				want = 1
			}
			if !(math.Abs(float64(v)-want) < 1e-3) {
				return fmt.Errorf("rotation %s is not orthogonal: rows %d and %d have the product %g, want %g; the file is damaged, run eisft quantize again", what, i/d, i%d, v, want)
			}
		}
	}
	return nil
}

// few names the first ones of a long list.
func few(names []string) string {
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}
