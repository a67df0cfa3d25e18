package export

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"eisft/export/host"
	"eisft/export/manifest"
	"eisft/export/ort"
	"eisft/internal/scratch"
	"eisft/model"
	"eisft/model/kernels"
	"eisft/quant"
)

// generated is how many tokens are generated after the prompt of a comparison.
const generated = 8

// Verify runs every shape and precision of an exported folder in ONNX Runtime over
// tokens drawn at random (with a fixed seed) and compares all logits that the graphs
// give with those of the Go model: three segments, or as many as it takes for slots and
// memory to be in use, then a part of a segment, then tokens one by one, all continuing
// with the float model's choice. q is what the folder's quantized graphs were made
// from, nil if it has none.
func Verify(ctx context.Context, dir string, m *model.Model, q *quant.Quantized) ([]manifest.Verification, error) {
	info, err := manifest.Read(dir)
	if err != nil {
		return nil, err
	}
	var figures []manifest.Verification
	for _, s := range info.Shapes {
		fitted, err := inShape(m, s)
		if err != nil {
			return nil, err
		}
		c := &comparison{float: fitted.NewStream(model.StreamOptions{}), model: fitted}
		for _, precision := range info.Precisions() {
			if err := c.add(dir, s.Name, precision, q); err != nil {
				return nil, errors.Join(fmt.Errorf("%s, %s: %w", s.Name, precision, err), c.close())
			}
		}
		err = errors.Join(c.run(ctx, prompt(fitted)), c.close())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		figures = append(figures, c.figures()...)
	}
	return figures, nil
}

// inShape returns the model with its block in the sizes of an exported shape, which must be
// those that an export of this model has: parameters alone do not show another window.
func inShape(m *model.Model, s manifest.Shape) (*model.Model, error) {
	const advice = "the folder belongs to another run: name that one with --run, or export again"
	spec, err := Size{s.Tokens, s.Cache}.Fit(m.Spec)
	if err != nil {
		return nil, fmt.Errorf("%w; %s", err, advice)
	}
	if have, want := s.Sizes(), spec.Sizes(); have != want {
		return nil, fmt.Errorf("shape %s has %d sinks, %d slots, a window of %d and segments of %d, but the model's block gives it %d, %d, %d and %d; %s",
			s.Name, have.Sink, have.Slots, have.Window, have.Segment, want.Sink, want.Slots, want.Window, want.Segment, advice)
	}
	return model.New(m.Base, spec, m.Params)
}

// comparison is one shape on its way through the Go model and the graphs of every
// precision.
type comparison struct {
	model *model.Model
	float *model.Stream
	pairs []*pair
}

// pair is the graphs of one precision and the Go model that they should equal.
type pair struct {
	manifest.Verification
	stream   *model.Stream
	twin     *model.Stream // the stream with noise before rounding; nil of float graphs
	loaded   *host.Model
	exported *host.Stream
	sum      float64 // of the differences between stream and graphs
	count    float64 // of logits
	// Differences between stream and twin.
	twinSum, twinMax float64
}

// add loads the graphs of a precision.
func (c *comparison) add(dir, shape, precision string, q *quant.Quantized) error {
	p := &pair{stream: c.float}
	p.Shape, p.Precision = shape, precision
	if precision != manifest.Float {
		if q == nil {
			return errors.New("the quantized model that the graphs were made from is needed to compare them; name its folder with --quant")
		}
		faked, wrap, err := quant.Apply(c.model, q)
		if err != nil {
			return err
		}
		p.stream = faked.NewStream(model.StreamOptions{Wrap: wrap})
		p.twin = faked.NewStream(model.StreamOptions{Wrap: quant.Wrap(faked, q, disturb)})
	}
	version, err := ort.Version()
	if err != nil {
		return err
	}
	p.Runtime = "ONNX Runtime " + version
	if p.loaded, err = host.Open(dir, host.Options{Shape: shape, Precision: precision}); err != nil {
		return err
	}
	c.pairs = append(c.pairs, p)
	p.exported, err = p.loaded.NewStream()
	return err
}

func (c *comparison) close() error {
	var errs []error
	for _, p := range c.pairs {
		if p.exported != nil {
			errs = append(errs, p.exported.Close())
		}
		errs = append(errs, p.loaded.Close())
	}
	return errors.Join(errs...)
}

func (c *comparison) figures() []manifest.Verification {
	var list []manifest.Verification
	for _, p := range c.pairs {
		p.MeanLogitError = p.sum / p.count
		p.Tolerance = floatShares.of(p.LogitRange)
		if p.twin != nil {
			p.Tolerance = quantizedShares.of(p.LogitRange)
			p.Tolerance.Max += twinFactor * p.twinMax
			p.Tolerance.Mean += twinFactor * p.twinSum / p.count
		}
		list = append(list, p.Verification)
	}
	return list
}

// prompt draws the tokens of a comparison: enough whole segments to fill sinks, slots
// and window and push a segment out of them, at least three, and a half one.
func prompt(m *model.Model) []int32 {
	s := m.Spec
	segments := max(3, (s.Sink+s.Slots+s.Window)/s.Segment+2)
	random := rand.New(rand.NewPCG(1, 2))
	ids := make([]int32, segments*s.Segment+(s.Segment+1)/2)
	for i := range ids {
		ids[i] = random.Int32N(int32(m.Base.Embed.Out))
	}
	return ids
}

// run feeds the prompt and then the tokens that the float model chooses.
func (c *comparison) run(ctx context.Context, ids []int32) error {
	next := make([]float32, c.model.Base.Head.Out)
	for range generated + 1 {
		states, err := read(ctx, c.float, ids)
		if err != nil {
			return err
		}
		for _, p := range c.pairs {
			if err := p.feed(ctx, ids, states); err != nil {
				return err
			}
		}
		c.float.Logits(next, states[len(states)-c.model.Base.Dims.Hidden:])
		ids = []int32{int32(kernels.ArgMax(next))}
	}
	return nil
}

// read feeds ids to a stream and returns the hidden states [n,D].
func read(ctx context.Context, st *model.Stream, ids []int32) ([]float32, error) {
	var states []float32
	err := st.Feed(ctx, ids, 0, func(_ int, hidden []float32) error {
		states = append(states, hidden...)
		return nil
	})
	return states, err
}

// feed reads ids with both sides of the pair and compares their logits. floatStates are
// the hidden states that the float model has for ids.
func (p *pair) feed(ctx context.Context, ids []int32, floatStates []float32) error {
	states, twins := floatStates, []float32(nil)
	if p.twin != nil {
		var err error
		if states, err = read(ctx, p.stream, ids); err != nil {
			return err
		}
		if twins, err = read(ctx, p.twin, ids); err != nil {
			return err
		}
	}
	hidden := len(states) / len(ids)
	err := p.exported.Feed(ctx, ids, func(first int, got []float32) error {
		vocab := p.exported.Vocabulary()
		for at, rows := 0, len(got)/vocab; at < rows; at += rowsAtOnce {
			n := min(rowsAtOnce, rows-at)
			from, to := (first+at)*hidden, (first+at+n)*hidden
			want := scratch.Borrow(n * vocab)
			p.stream.Logits(want, states[from:to])
			p.rows(got[at*vocab:(at+n)*vocab], want)
			if p.twin != nil {
				p.twinRows(twins[from:to], want)
			}
			scratch.Release(want)
		}
		return nil
	})
	p.Read, p.Written, p.Slots = p.exported.Seen(), p.exported.Written(), p.exported.Slots()
	return err
}

// rowsAtOnce bounds the logits held at once: 64 rows of a vocabulary of 150,000 are
// 38 MB.
const rowsAtOnce = 64

// rows compares the logits of a few tokens with those of the Go model.
func (p *pair) rows(got, want []float32) {
	for _, v := range want {
		p.LogitRange = max(p.LogitRange, math.Abs(float64(v)))
	}
	total, largest := difference(got, want)
	p.sum += total
	p.count += float64(len(got))
	if !(largest <= p.MaxLogitError) { // a NaN is the largest
		p.MaxLogitError = largest
	}
	vocab := p.exported.Vocabulary()
	for at := 0; at < len(got); at += vocab {
		p.Compared++
		if kernels.ArgMax(got[at:at+vocab]) == kernels.ArgMax(want[at:at+vocab]) {
			p.EqualTokens++
		}
	}
}

// twinRows compares the logits of the twin.
func (p *pair) twinRows(states, want []float32) {
	got := scratch.Borrow(len(want))
	defer scratch.Release(got)
	p.twin.Logits(got, states)
	total, largest := difference(got, want)
	p.twinSum += total
	p.twinMax = max(p.twinMax, largest)
}

// difference returns the sum and the largest of |x-y|.
func difference(x, y []float32) (total, largest float64) {
	for i, v := range x {
		d := math.Abs(float64(v - y[i]))
		total += d
		if !(d <= largest) {
			largest = d
		}
	}
	return total, largest
}
