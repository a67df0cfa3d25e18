package quant

import (
	"context"
	"io"
	"iter"

	"eisft/data"
	"eisft/model"
	"eisft/quant/encoding"
)

// RoundOptions say how [RoundWeights] rounds a model's maps.
type RoundOptions struct {
	Recipe *Recipe // its Weights, SeqMSE and GPTQ
	// Samples gives the calibration samples, from the first one each time. It is not called
	// where the rule wants no Hessian and there is no Refine.
	Samples  func() iter.Seq2[data.Encoded, error]
	Progress io.Writer // receives progress lines (nil: none), usually os.Stderr
	// Format gives the format of a map's weights.
	Format func(name string, head bool) encoding.Format
	// Refine, if not nil, may change a layer's weights after they were rounded.
	Refine func(ctx context.Context, l *Layer) error
	// Partial is a folder in which finished layers are kept until all are finished, so that
	// a run that was stopped goes on where it was; "": none.
	Partial string
}

// Layer is a layer whose maps have just been rounded, and what it reads and should put out.
type Layer struct {
	Index   int
	Model   *model.Model           // the float model
	Weights map[model.Role]*Weight // to be changed in place
	// Inputs are the hidden states before the layer [n,D] as the layers before it make them
	// when they are quantized, Outputs those after it in the float model, where all layers
	// before it are float, too: what is fitted to them makes up for earlier layers' errors.
	Inputs, Outputs *States
}

// RoundWeights chooses codes and scales of all maps of a float model and fills q.Weights;
// q has the encodings of its points. A rule that wants no Hessian goes from map to map.
// Others, and Refine, go layer by layer, each on inputs that the quantized layers before it
// have made of the samples; within a layer, on what its maps before have made, too.
func RoundWeights(ctx context.Context, m *model.Model, q *Quantized, o RoundOptions) error {
	rule, err := roundings.Find(o.Recipe.Weights)
	if err != nil {
		return err
	}
	q.Weights = nil
	for _, f := range frozen(m.Base) {
		if err := ctx.Err(); err != nil {
			return err
		}
		w, err := rule.round(o.Recipe, &Map{Name: f.name, Matrix: f.Weight(), Out: f.Out, In: f.In, Format: o.Format(f.name, f.head)})
		if err != nil {
			return err
		}
		q.Weights = append(q.Weights, w)
	}
	if o.Refine != nil {
		return refineLayers(ctx, m, q, o)
	}
	return nil
}
