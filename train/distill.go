package train

import (
	"context"
	"fmt"
	"slices"

	"eisft/data"
	"eisft/model"
	"eisft/model/graph"
	"eisft/train/config"
)

// distill runs a stage of kind distill.
func (t *trainer) distill(ctx context.Context, s config.Distill, at position) error {
	return t.optimize(ctx, s.Kind(), s.Optimizer, at, func(ctx context.Context, samples []data.Encoded, grads *model.Params) (step, error) {
		return t.distillStep(ctx, s, samples, grads)
	})
}

// answerImportance is how much more a token that predicts an answer, or is one,
// weighs in distillation (method, section 5).
const answerImportance = 20

// distillStep is attention transfer on the last tokens of each sample; the loss
// is the relative error of the attention's output, averaged over the layers.
func (t *trainer) distillStep(ctx context.Context, s config.Distill, samples []data.Encoded, grads *model.Params) (step, error) {
	var found step
	o := graph.TransferOptions{Keep: s.Keep, KeepWeight: s.KeepWeight, Weight: 1 / float64(len(samples))}
	for _, e := range samples {
		from := max(0, len(e.IDs)-s.Tokens)
		r, err := t.engine.Transfer(ctx, e.IDs[from:], importance(e.Loss, from), o, grads)
		if err != nil {
			return step{}, fmt.Errorf("%s: %w", e.Where, err)
		}
		for _, layer := range r.Errors {
			found.loss += layer / float64(len(r.Errors)*len(samples))
		}
		found.kept += r.Kept / float64(len(samples))
		found.addLayers(r.Layers, len(samples))
		found.tokens += len(e.IDs) - from
	}
	return found, nil
}

// importance weighs the tokens from `from` on: answers and what predicts them
// weigh more. A text without answers needs no weights.
func importance(loss []bool, from int) []float32 {
	if !slices.Contains(loss, true) {
		return nil
	}
	w := make([]float32, len(loss)-from)
	for i := range w {
		at := from + i
		w[i] = 1
		if loss[at] || at+1 < len(loss) && loss[at+1] {
			w[i] = answerImportance
		}
	}
	return w
}
