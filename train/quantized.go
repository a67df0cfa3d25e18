package train

import (
	"errors"
	"fmt"

	"eisft/model"
	"eisft/model/graph"
)

// Quantized is a base whose weights are those that codes stand for: what is trained beside
// it makes up for what rounding has changed. The identity of its model's base is that of
// the float base, so that the adapter belongs to that.
type Quantized struct {
	Model    *model.Model
	Rounding *graph.Rounding // of the activations
	SHA256   string          // of what the folder holds
}

// quantized returns the model to train: that of the quantized base, if the configuration
// names one.
func (t *trainer) quantized() (*model.Model, error) {
	section := &t.config.Model.Quantized
	if section.Folder == "" {
		return t.Model, nil
	}
	if t.options.Quantized == nil {
		return nil, errors.New("model.quantized: this program trains beside float weights alone; leave the section out")
	}
	q, err := t.options.Quantized(t.Model, section.Folder)
	if err != nil {
		return nil, fmt.Errorf("model.quantized: %w", err)
	}
	if section.SHA256 != "" && section.SHA256 != q.SHA256 {
		return nil, fmt.Errorf("model.quantized: %s has changed: its sha256 was %.12s and is %.12s; put back what was there, or leave sha256 out and start a new run", section.Folder, section.SHA256, q.SHA256)
	}
	section.SHA256 = q.SHA256
	t.Run.Config.Model.Quantized.SHA256 = q.SHA256
	t.inputs["model.quantized"] = q.SHA256
	if !section.WeightsOnly {
		t.rounding = q.Rounding
	}
	return q.Model, nil
}

// streams is how texts are read where nothing is recorded.
func (t *trainer) streams() model.StreamOptions {
	if t.rounding == nil {
		return model.StreamOptions{}
	}
	return model.StreamOptions{Wrap: t.rounding.Wrap}
}
