package train

import (
	"context"
	"fmt"

	"eisft/data"
	"eisft/model"
	"eisft/model/graph"
	"eisft/train/config"
)

// penalty is that of a configuration.
func penalty(k config.KeepPenalty) graph.Penalty {
	return graph.Penalty{Keep: k.Keep, KeepWeight: k.KeepWeight, Capacity: k.Capacity, CapacityWeight: k.CapacityWeight}
}

// ssft runs a stage of kind s-sft: the loss is the cross-entropy of answer tokens,
// normalised by their number over the whole batch (docs/method.md, section 5).
func (t *trainer) ssft(ctx context.Context, s config.SSFT, at position) error {
	return t.optimize(ctx, s.Kind(), s.Optimizer, at, t.ssftGradients(s))
}

func (t *trainer) ssftGradients(s config.SSFT) batchGradients {
	return func(batch []data.Encoded, lossOnly bool) (sampleGradients, error) {
		answers := 0
		for _, e := range batch {
			answers += graph.AnswerTokens(e.Loss)
		}
		if answers == 0 {
			return nil, fmt.Errorf("%s: no sample of the batch has an answer to learn from", batch[0].Where)
		}
		o := graph.Options{
			Soft: s.Choice == config.ChoiceSoft, Penalty: penalty(s.KeepPenalty),
			TokenWeight: 1 / float64(answers), SampleWeight: 1 / float64(len(batch)), LossOnly: lossOnly,
		}
		return func(ctx context.Context, e data.Encoded, grads *model.Params) (figures, error) {
			r, err := t.engine.Backward(ctx, graph.Sample{IDs: e.IDs, Loss: e.Loss}, o, grads)
			return figures{Loss: r.Loss, Kept: r.Kept, AnswerTokens: graph.AnswerTokens(e.Loss), Tokens: len(e.IDs), Layers: r.Layers}, err
		}, nil
	}
}

// ssftOutlook: with soft slots nothing that was read is out of sight.
func (t *trainer) ssftOutlook(s config.SSFT) outlook {
	o := t.stepsOutlook(s.Optimizer, t.ssftGradients(s))
	o.reads = func(n int) int { return n }
	o.sees = func(n int) int {
		if s.Choice == config.ChoiceSoft && t.config.Block.Slots > 0 || t.config.Block.Positions == model.PositionsAbsolute {
			return n
		}
		return min(n, t.config.Block.Capacity())
	}
	return o
}
