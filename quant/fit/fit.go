// Package fit fits quantized layers to the float layers that they were rounded from, through
// the autodiff graph.
package fit

import (
	"context"
	"fmt"
	"io"
	"iter"
	"math"
	"math/rand/v2"
	"slices"

	"eisft/internal/progress"
	"eisft/model"
	"eisft/model/graph"
	"eisft/quant"
)

// Reconstruct returns what fits a layer, whose maps have just been rounded, to what the
// float model puts out there (BRECQ, arXiv 2102.05426, section 3.2, with a decoder layer as
// the block): the mean squared error of the hidden states behind the layer, of inputs that
// the quantized layers before it have made. What is fitted are for each weight which of two
// neighbouring codes it gets (AdaRound, arXiv 2004.10568) and a factor of each scale. Nil
// if the recipe asks for none.
//
// Gradients are those of one stretch of a text at a time: the keys, values and memory that
// the layer has of the tokens before it are constants, as they are in training, and those
// that the layer as it was rounded first has made. Their own error moves little by a fit,
// which keeps each weight within a step. What the fit is worth is measured without this
// simplification: the layer with its new codes is streamed over whole texts, and is taken
// if its error on stretches that no gradient has seen is lower than before.
//
// In memory are, at a time, seven times the layer's weights in float32, and what r.Tokens
// tokens take: two hidden states each, and for each segment of them what the layer stores.
// The same arguments give the same codes.
func Reconstruct(_ *model.Model, r *quant.Recipe, q *quant.Quantized, w io.Writer) func(context.Context, *quant.Layer) error {
	if r.Reconstruct.Steps == 0 || !r.Reconstruct.Rounding && !r.Reconstruct.Scales {
		return nil
	}
	return func(ctx context.Context, l *quant.Layer) error {
		f := &fitter{options: r.Reconstruct, layer: l, quantized: q, random: rand.New(rand.NewPCG(uint64(r.Seed), uint64(l.Index)))}
		line := progress.Start(w, progress.Task{What: fmt.Sprintf("reconstruct layer %d", l.Index), Unit: "steps", Total: f.options.Steps})
		defer line.End()
		found, err := f.run(ctx, line)
		if err != nil {
			return fmt.Errorf("reconstruct layer %d: %w", l.Index, err)
		}
		q.Reconstructed = append(q.Reconstructed, found)
		return nil
	}
}

// fitter fits one layer.
type fitter struct {
	options   quant.Reconstruct
	layer     *quant.Layer
	quantized *quant.Quantized
	random    *rand.Rand
	lessons   []lesson // that gradients are computed of
	held      map[place]bool
}

// place is where a stretch begins.
type place struct{ sequence, first int }

// lesson is a stretch and what the layer should put out for it [T,D].
type lesson struct {
	graph.Stretch
	wanted []float32
}

func (f *fitter) run(ctx context.Context, line *progress.Line) (quant.Reconstructed, error) {
	found := quant.Reconstructed{Layer: f.layer.Index}
	if err := f.choose(); err != nil {
		return found, err
	}
	first := f.layer.Weights
	before, err := f.measure(ctx, first, true)
	if err != nil {
		return found, err
	}
	if found.Held = before.tokens; before.seen == 0 || before.energy == 0 { // there is no error, or nothing to be wrong about
		return found, nil
	}
	fitted, err := f.fit(ctx, before.seen, line)
	if err != nil {
		return found, err
	}
	f.lessons = nil
	after, err := f.measure(ctx, fitted, false)
	if err != nil {
		return found, err
	}
	found.Rounded, found.Fitted = before.held/before.energy, after.held/before.energy
	if found.Kept = found.Fitted < found.Rounded; found.Kept {
		for role, w := range fitted {
			*first[role] = *w
		}
	}
	return found, nil
}

// heldShare is the part of the stretches that a fit is judged by.
const heldShare = 5

// choose settles which stretches the fit is judged by: one of five, at random.
func (f *fitter) choose() error {
	segment := f.layer.Model.Spec.Segment
	var whole []place
	for sequence, tokens := range f.sequences() {
		for first := 0; first+segment <= tokens; first += segment {
			whole = append(whole, place{sequence, first})
		}
	}
	if len(whole) < 2 {
		return fmt.Errorf("the calibration data have %d whole segments of %d tokens among the first %d; want at least 2, one to fit and one to judge the fit by: calibrate with more or longer samples, or raise reconstruct.tokens", len(whole), segment, f.options.Tokens)
	}
	f.random.Shuffle(len(whole), func(i, j int) { whole[i], whole[j] = whole[j], whole[i] })
	f.held = map[place]bool{}
	for _, p := range whole[:max(1, len(whole)/heldShare)] {
		f.held[p] = true
	}
	return nil
}

// sequences returns each sequence with the number of its tokens that are used.
func (f *fitter) sequences() iter.Seq2[int, int] {
	return func(yield func(sequence, tokens int) bool) {
		left := f.options.Tokens
		for i := range f.layer.Inputs.Sequences() {
			n := min(left, f.layer.Inputs.Len(i))
			if n == 0 || !yield(i, n) {
				return
			}
			left -= n
		}
	}
}

// measured are squared errors of the layer's output, and the square of what it should be.
type measured struct {
	seen         float64 // a token, of the stretches that gradients are computed of
	held, energy float64 // of those that the fit is judged by
	tokens       int     // of these
}

// measure streams all sequences through the layer with the given codes. keep takes the
// stretches that are not held out as lessons.
func (f *fitter) measure(ctx context.Context, weights map[model.Role]*quant.Weight, keep bool) (measured, error) {
	var found measured
	engine := graph.NewEngine(f.alone(weights))
	d, seen := f.layer.Model.Base.Dims.Hidden, 0
	for sequence, tokens := range f.sequences() {
		wanted := make([]float32, tokens*d)
		if err := f.layer.Outputs.Read(wanted, sequence, 0); err != nil {
			return found, err
		}
		ids := make([]int32, tokens)
		for i := range ids {
			ids[i] = int32(i)
		}
		list, err := engine.Stretches(ctx, ids, 0, func(x []float32, ids []int32) error {
			return f.layer.Inputs.Read(x, sequence, int(ids[0]))
		})
		if err != nil {
			return found, err
		}
		for _, s := range list {
			want := wanted[s.First*d : s.First*d+len(s.Input)]
			distance := squared(s.Output, want)
			switch n := len(s.Input) / d; {
			case f.held[place{sequence, s.First}]:
				found.held, found.energy, found.tokens = found.held+distance, found.energy+squared(want, nil), found.tokens+n
			case n == f.layer.Model.Spec.Segment:
				found.seen, seen = found.seen+distance, seen+n
				if keep {
					s.Output = nil
					f.lessons = append(f.lessons, lesson{s, slices.Clone(want)})
				}
			}
		}
	}
	found.seen /= float64(seen)
	return found, nil
}

// alone returns a model of the layer alone, and what rounds its activations. Maps without
// weights are the float ones.
func (f *fitter) alone(weights map[model.Role]*quant.Weight) (*model.Model, *graph.Rounding) {
	m, i := f.layer.Model, f.layer.Index
	layer := m.Base.Layers[i].WithMaps(func(role model.Role, l *model.Linear) *model.Linear {
		if w := weights[role]; w != nil {
			return model.NewLinear(l.Name, l.In, l.Out, w.Dequantize(), l.Bias)
		}
		return l
	})
	layer.Index = 0
	base := *m.Base
	base.Layers = []*model.Layer{layer}
	longest := 0
	for s := range f.layer.Inputs.Sequences() {
		longest = max(longest, f.layer.Inputs.Len(s))
	}
	base.Embed = model.NewLinear(base.Embed.Name, base.Embed.In, longest, nil, nil) // ids are rows
	one := &model.Model{Base: &base, Spec: m.Spec.Alone(i), Params: m.Params.Alone(i)}
	return one, Rounding(one, f.quantized)
}

// squared is ‖x-y‖², or ‖x‖² without y.
func squared(x, y []float32) (sum float64) {
	for i, v := range x {
		e := float64(v)
		if y != nil {
			e -= float64(y[i])
		}
		sum += e * e
	}
	return sum
}

// The schedule of the regularizer: none for the first fifth of the steps, and then a power
// that falls from 20 to 2, as AdaRound's authors have it. Its weight is that of the loss,
// whose sum over all weights' parts is the error that the layer begins with.
const (
	freeSteps             = 0.2
	pullWeight            = 1
	firstPower, lastPower = 20, 2
)

// fit takes the steps and returns the layer's weights with the codes that have come out.
// start is the squared error a token that the layer begins with.
func (f *fitter) fit(ctx context.Context, start float64, line *progress.Line) (map[model.Role]*quant.Weight, error) {
	all, matrices, grads, count := map[model.Role]*soft{}, map[model.Role][]float32{}, map[model.Role][]float32{}, 0
	layer := f.layer.Model.Base.Layers[f.layer.Index]
	for role, l := range layer.Maps() {
		s := newSoft(f.layer.Weights[role], slices.Clone(l.Weight()), f.options)
		all[role], matrices[role], grads[role] = s, s.matrix, s.grad
		count += len(s.grad)
	}
	engine := graph.NewEngine(f.alone(nil))
	batch := min(max(1, f.options.Batch), len(f.lessons))
	// Each weight's part of the loss is about 1, so that the optimizer's epsilon is small.
	tokens := batch * f.layer.Model.Spec.Segment
	weight := float64(count) / (start * float64(tokens))
	var order []int
	for step := range f.options.Steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for _, s := range all {
			s.compute()
			clear(s.grad)
		}
		loss := 0.0
		for range batch {
			if len(order) == 0 {
				order = f.random.Perm(len(f.lessons))
			}
			t := &f.lessons[order[0]]
			order = order[1:]
			part, err := engine.Fit(0, &t.Stretch, t.wanted, float32(weight), matrices, grads)
			if err != nil {
				return nil, err
			}
			loss += part
		}
		done := float64(step) / float64(f.options.Steps)
		pulled, power := float32(0), 0
		if done >= freeSteps {
			pulled, power = pullWeight, int(math.Round(lastPower+(firstPower-lastPower)*(1-(done-freeSteps)/(1-freeSteps))))
		}
		for _, s := range all {
			s.backward(pulled, power)
			s.step(step+1, f.options)
		}
		line.Add(1)
		line.Figures("error %.3f of that of rounding", loss/float64(count))
	}
	fitted := map[model.Role]*quant.Weight{}
	for role, s := range all {
		fitted[role] = s.hard()
	}
	return fitted, nil
}
