package train

import (
	"eisft/internal/tensorboard"
	"eisft/train/runs"
)

// events writes what metrics.jsonl says as curves for TensorBoard, by stage; without a
// writer it does nothing.
type events struct{ *tensorboard.Writer }

// openEvents begins an event file of the steps behind a position, if the configuration wants
// one.
func (t *trainer) openEvents(at position) (err error) {
	if !t.config.TensorBoard {
		return nil
	}
	return t.write(func() error {
		t.events.Writer, err = tensorboard.Create(t.Dir, t.globalStep(at.Stage, at.Step)+1)
		return err
	})
}

func (e events) step(step int, m runs.Metrics) error {
	values := []tensorboard.Scalar{
		{Tag: m.Kind + "/loss", Value: m.Loss},
		{Tag: m.Kind + "/kept", Value: m.Kept},
		{Tag: m.Kind + "/grad_norm", Value: m.GradNorm},
		{Tag: m.Kind + "/lr_scale", Value: m.Rate},
		{Tag: m.Kind + "/tokens_per_second", Value: float64(m.Tokens) / max(m.Seconds, 1e-9)},
	}
	if m.Pruned != nil {
		values = values[:1]
	}
	return e.Add(step, values...)
}

func (e events) before(step int, kind string, loss float64) error {
	return e.Add(step, tensorboard.Scalar{Tag: kind + "/validation_loss", Value: loss})
}

func (e events) validation(step int, kind string, v *runs.Validation) error {
	return e.Add(step, tensorboard.Scalar{Tag: kind + "/validation_loss", Value: v.Loss}, tensorboard.Scalar{Tag: kind + "/validation_best", Value: v.Best})
}
