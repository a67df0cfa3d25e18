package quant

import (
	"context"
	"fmt"
	"math/rand/v2"

	"eisft/internal/enum"
	"eisft/model"
	"eisft/quant/encoding"
)

// Rotation is how a rotation is chosen.
type Rotation string

// The rotations.
const (
	RotationHadamard Rotation = "hadamard" // a random one, see randomRotation
	RotationLearned  Rotation = "learned"  // goes on from that: see learner
	RotationNone     Rotation = "none"
)

// rotate turns the residual stream (R1) and the values of each KV head (R2) by orthogonal
// matrices that are folded into weights: what is large in few channels is spread over all
// (QuaRot, arXiv 2404.00456; SpinQuant, 2405.16406). Rotations that would need an op in the
// graph (SpinQuant's R3 and R4) are left out.
var rotate = transform{
	channels: func(r *Recipe) bool {
		return Rotation(r.Rotate.R1) == RotationLearned || Rotation(r.Rotate.R2) == RotationLearned
	},
	find: func(ctx context.Context, t *task) (*Step, []string, error) {
		r1, err := parseRotation("rotate.r1", t.recipe.Rotate.R1)
		if err != nil {
			return nil, nil, err
		}
		r2, err := parseRotation("rotate.r2", t.recipe.Rotate.R2)
		if err != nil {
			return nil, nil, err
		}
		if r1 == RotationNone && r2 == RotationNone {
			return nil, nil, fmt.Errorf("rotate.r1 and rotate.r2 are both none: there is nothing to rotate; leave rotate out of the transforms")
		}
		t1 := &turning{task: t, step: &Step{}, random: rand.New(rand.NewPCG(uint64(t.recipe.Seed), 0x707461746f72))}
		if r1 != RotationNone {
			if err := t1.stream(ctx, r1); err != nil {
				return nil, nil, err
			}
		}
		if r2 != RotationNone {
			if err := t1.values(ctx, r2); err != nil {
				return nil, nil, err
			}
		}
		return t1.step, t1.notes, nil
	},
}

// parseRotation reads a key of the recipe; left out, it is hadamard.
func parseRotation(key, word string) (Rotation, error) {
	if word == "" {
		return RotationHadamard, nil
	}
	return Rotation(word), enum.Check(key, Rotation(word), RotationHadamard, RotationLearned, RotationNone)
}

// turning is one call of rotate.
type turning struct {
	*task
	step   *Step
	notes  []string
	random *rand.Rand
}

func (t *turning) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

// learnSteps is how many steps are learned if a recipe does not say.
const learnSteps = 100

func (t *turning) learner() (*learner, error) {
	weights, head, activation, err := formats(t.recipe)
	steps := t.recipe.Rotate.Steps
	if steps == 0 {
		steps = learnSteps
	}
	if err == nil && (steps < 1 || steps > 100000) {
		err = fmt.Errorf("rotate.steps is %d; want the number of steps of learning, 1 to 100000", steps)
	}
	return &learner{steps: steps, random: t.random, weights: noiseShare(weights), head: noiseShare(head), activation: noiseShare(activation)}, err
}

// formats are those of a recipe's scheme: of layers' maps, the head and activations.
func formats(r *Recipe) (weights, head, activation encoding.Format, err error) {
	s, err := ParseScheme(r.Scheme)
	return s.Weight, s.Head, s.Activation, err
}

// stream chooses R1.
func (t *turning) stream(ctx context.Context, kind Rotation) error {
	b := t.model.Base
	if err := turnable(b); err != nil {
		return err
	}
	q, how := randomRotation(b.Dims.Hidden, t.random)
	t.step.Residual = q
	if kind != RotationLearned {
		t.note("R1 is a %s", how)
		return nil
	}
	l, err := t.learner()
	if err != nil {
		return err
	}
	p := &streamProblem{base: b, seen: t.seen, learner: l}
	learned, before, after, err := l.learn(ctx, p, q, b.Dims.Hidden)
	if err != nil {
		return err
	}
	t.note("R1: rounding noise %.4g of the signal with a %s, %.4g after %d steps of learning", before, how, after, l.steps)
	if !(after < before) {
		t.note("R1: learning gained nothing, the %s stays", how)
		return nil
	}
	t.step.Residual = learned
	return nil
}

// values chooses R2.
func (t *turning) values(ctx context.Context, kind Rotation) error {
	if t.model.Spec.HasMemory() && t.model.Spec.Gate == model.GateVector {
		return errVectorGate
	}
	m, l, err := t.model, (*learner)(nil), error(nil)
	if kind == RotationLearned {
		if l, err = t.learner(); err != nil {
			return err
		}
		if m, err = t.step.apply(m); err != nil { // R1 mixes the rows of o_proj and the columns of v_proj
			return err
		}
	}
	b := m.Base
	d := b.Dims.HeadDim
	how, gained, before, after := "", 0, 0.0, 0.0
	for _, layer := range b.Layers {
		var all, output []float32
		if kind == RotationLearned {
			output = layer.O.Weight()
		}
		for kv := range b.Dims.KVHeads {
			var q []float32
			q, how = randomRotation(d, t.random)
			if kind == RotationLearned {
				p := valueProblem(l, layer, b.Dims, kv, output, t.seen.points[in(layer.O.Name)].Rows)
				learned, was, is, err := l.learn(ctx, p, q, d)
				if err != nil {
					return err
				}
				if is < was {
					q, gained = learned, gained+1
				}
				before, after = before+was, after+min(was, is)
			}
			all = append(all, q...)
		}
		t.step.Values = append(t.step.Values, all)
	}
	if n := float64(len(b.Layers) * b.Dims.KVHeads); kind == RotationLearned {
		t.note("R2: mean rounding noise %.4g of the signal with a %s, %.4g after %d steps of learning, which gained something for %d of %.0f KV heads", before/n, how, after/n, l.steps, gained, n)
		return nil
	}
	t.note("R2 is a %s for each KV head", how)
	return nil
}
