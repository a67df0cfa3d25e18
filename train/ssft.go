package train

import (
	"context"
	"fmt"

	"eisft/data"
	"eisft/model"
	"eisft/model/graph"
	"eisft/train/config"
)

// ssft runs a stage of kind s-sft.
func (t *trainer) ssft(ctx context.Context, s config.SSFT, at position) error {
	return t.optimize(ctx, s.Kind(), s.Optimizer, at, func(ctx context.Context, samples []data.Encoded, grads *model.Params) (step, error) {
		return t.ssftStep(ctx, s, samples, grads)
	})
}

// ssftStep is S-SFT: the loss is the cross-entropy of answer tokens, normalised
// by their number over the whole batch (method, section 5).
func (t *trainer) ssftStep(ctx context.Context, s config.SSFT, samples []data.Encoded, grads *model.Params) (step, error) {
	var found step
	for _, e := range samples {
		found.answerTokens += graph.AnswerTokens(e.Loss)
	}
	if found.answerTokens == 0 {
		return step{}, fmt.Errorf("%s: no sample of the batch has an answer to learn from", samples[0].Where)
	}
	o := graph.Options{
		Soft: s.Choice == config.ChoiceSoft, Keep: s.Keep, KeepWeight: s.KeepWeight,
		TokenWeight: 1 / float64(found.answerTokens), SampleWeight: 1 / float64(len(samples)),
	}
	for _, e := range samples {
		r, err := t.engine.Backward(ctx, graph.Sample{IDs: e.IDs, Loss: e.Loss}, o, grads)
		if err != nil {
			return step{}, fmt.Errorf("%s: %w", e.Where, err)
		}
		found.loss += r.Loss
		found.kept += r.Kept / float64(len(samples))
		found.addLayers(r.Layers, len(samples))
		found.tokens += len(e.IDs)
	}
	return found, nil
}
