package quant

import (
	"context"
	"errors"
	"math"
	"slices"

	"eisft/eval"
)

// AblationStep is what a recipe makes up to one of its methods.
type AblationStep struct {
	What       string        `json:"what"` // "rtn", "+ rotate"
	Perplexity eval.Estimate `json:"perplexity"`
	// Increase is the relative increase over the float model's perplexity, Gain what the
	// method took from that of the step before: above 0, it helped. Both are paired.
	Increase eval.Estimate `json:"increase"`
	Gain     eval.Estimate `json:"gain"`
}

// Ablation says what each method of a recipe gained over those before it.
type Ablation struct {
	Tokens int            `json:"tokens"` // of held-out text
	Rows   int            `json:"rows"`   // conversations
	Steps  []AblationStep `json:"steps"`
}

// variant is a recipe up to one of its methods.
type variant struct {
	what   string
	recipe Recipe
}

// variants lists what a recipe is made of: rounding to nearest, and its methods one after
// the other. The last one is the recipe itself.
func (r *Recipe) variants() []variant {
	at := *r
	at.Transforms, at.Weights, at.Reconstruct, at.Mixed, at.Sensitivity = nil, RoundNearest, Reconstruct{}, Mixed{}, 0
	if at.Cache == CacheAuto {
		at.Sensitivity = r.Sensitivity
	}
	list := []variant{{RoundNearest, at}}
	add := func(what string) { list = append(list, variant{"+ " + what, at}) }
	for i, t := range r.Transforms {
		at.Transforms = r.Transforms[:i+1]
		add(t)
	}
	if r.Weights != RoundNearest {
		at.Weights = r.Weights
		add(r.Weights)
	}
	if r.Reconstruct.Steps > 0 {
		at.Reconstruct = r.Reconstruct
		add("reconstruct")
	}
	if r.Mixed.on() {
		at.Mixed, at.Sensitivity = r.Mixed, r.Sensitivity
		add("mixed precision")
	}
	list[len(list)-1].recipe = *r
	return list
}

// ablate carries out the recipe's parts and measures the text's perplexity of each. t
// are the losses of the float model and of what the whole recipe made.
func (j *Job) ablate(ctx context.Context, h *heldOut, t textLosses) (*Ablation, error) {
	list := j.Recipe.variants()
	losses := make([][]eval.TextLoss, len(list))
	losses[len(list)-1] = t.After
	for i, v := range list[:len(list)-1] {
		var err error
		if losses[i], err = j.variantLoss(ctx, v, h); err != nil {
			return nil, err
		}
	}
	weights := column(t.Before, func(l eval.TextLoss) float64 { return float64(l.Tokens) })
	float := column(t.Before, nll)
	a := &Ablation{Rows: len(weights)}
	for _, w := range weights {
		a.Tokens += int(w)
	}
	before := float
	for i, v := range list {
		after := column(losses[i], nll)
		mean, base, last := eval.Mean(after, weights), eval.Mean(float, weights), eval.Mean(before, weights)
		step := AblationStep{
			What:       v.what,
			Perplexity: eval.EstimateOf(len(weights), func(u []int) float64 { return math.Exp(mean(u)) }),
			Increase:   eval.EstimateOf(len(weights), func(u []int) float64 { return math.Expm1(mean(u) - base(u)) }),
		}
		if i > 0 {
			step.Gain = eval.EstimateOf(len(weights), func(u []int) float64 {
				return math.Exp(last(u)-base(u)) - math.Exp(mean(u)-base(u))
			})
		}
		a.Steps, before = append(a.Steps, step), after
	}
	return a, nil
}

// variantLoss carries a variant out and measures the text's loss.
func (j *Job) variantLoss(ctx context.Context, v variant, h *heldOut) (_ []eval.TextLoss, err error) {
	made, err := j.make(ctx, &v.recipe, v.what)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, made.close()) }()
	faked, wrap, err := Apply(j.Model, made.q)
	if err != nil {
		return nil, err
	}
	return j.textLoss(ctx, v.what+": perplexity", faked, wrap, h)
}

func nll(l eval.TextLoss) float64 { return l.NLL }

// column lists a figure of every text.
func column(losses []eval.TextLoss, figure func(eval.TextLoss) float64) []float64 {
	return slices.Collect(func(yield func(float64) bool) {
		for _, l := range losses {
			if !yield(figure(l)) {
				return
			}
		}
	})
}
