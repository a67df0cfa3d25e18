package export

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"

	"eisft/export/half"
	"eisft/export/host"
	"eisft/export/ir"
	"eisft/export/manifest"
	"eisft/export/ort"
	"eisft/internal/scratch"
	"eisft/model"
	"eisft/model/kernels"
	"eisft/quant"
)

// generated is how many tokens are generated after the prompt of a comparison where the
// prompt graph gives the logits of all tokens, and generatedAlone where it does not.
const generated, generatedAlone = 8, 96

// Verify runs every shape and precision of an exported folder in its runtime, ONNX Runtime or
// LiteRT, over text that the quantized model was calibrated on, or tokens drawn at random
// (with a fixed seed) where there is none, and compares all logits that the graphs give with
// those of the Go model: three segments, or as many as it takes for slots and
// memory to be in use, then a part of a segment, then tokens one by one, all continuing
// with the float model's choice. q is what the folder's quantized graphs were made
// from, nil if it has none.
func Verify(ctx context.Context, dir string, m *model.Model, q *quant.Quantized) ([]manifest.Verification, error) {
	info, err := manifest.Read(dir)
	if err != nil {
		return nil, err
	}
	compared, err := withTable(m, dir, info.Embeddings)
	if err != nil {
		return nil, err
	}
	var figures []manifest.Verification
	for _, s := range info.Shapes {
		found, err := verifyShape(ctx, dir, info, s, compared, q)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		figures = append(figures, found...)
	}
	return figures, nil
}

// verifyShape compares the graphs of one precision after the other, so that memory holds those of
// one.
func verifyShape(ctx context.Context, dir string, info *manifest.Manifest, s manifest.Shape, m *model.Model, q *quant.Quantized) ([]manifest.Verification, error) {
	fitted, err := inShape(m, s)
	if err != nil {
		return nil, err
	}
	c := &comparison{dir: dir, info: info, model: fitted, quantized: q, float: fitted.NewStream(model.StreamOptions{})}
	if err := c.read(ctx, s); err != nil {
		return nil, err
	}
	var figures []manifest.Verification
	for _, precision := range info.Precisions() {
		p, err := c.pair(s.Name, precision)
		if err == nil {
			err = p.run(ctx, c)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", precision, err)
		}
		figures = append(figures, p.figures())
	}
	return figures, nil
}

// inShape returns the model with its block in the sizes of an exported shape, which must be
// those that an export of this model has: parameters alone do not show another window.
func inShape(m *model.Model, s manifest.Shape) (*model.Model, error) {
	const advice = "the folder belongs to another run: name that one with --run, or export again"
	fitted, err := Size{s.Tokens, s.Cache}.Of(m)
	if err != nil {
		return nil, fmt.Errorf("%w; %s", err, advice)
	}
	if have, want := s.Sizes(), fitted.Spec.Sizes(); have != want {
		return nil, fmt.Errorf("shape %s has %d sinks, %d slots, a window of %d and segments of %d, but the model's block gives it %d, %d, %d and %d; %s",
			s.Name, have.Sink, have.Slots, have.Window, have.Segment, want.Sink, want.Slots, want.Window, want.Segment, advice)
	}
	return fitted, nil
}

// comparison is one shape, and what the float model makes of its text.
type comparison struct {
	dir       string
	info      *manifest.Manifest
	model     *model.Model
	quantized *quant.Quantized
	float     *model.Stream
	calls     []call
}

// call is a stretch of the text, and its hidden states [n,D].
type call struct {
	ids    []int32
	states []float32
}

// pair is the graphs of one precision and the Go model that they should equal.
type pair struct {
	manifest.Verification
	lite     bool                 // in LiteRT
	start    func() *model.Stream // another one like stream
	stream   *model.Stream
	twin     *model.Stream // the stream with noise before rounding; nil of float graphs
	exported driven
	halved   *driven // the graphs with floats rounded to float16; nil of float16 graphs and in LiteRT
	lost     string  // what float16 lost first
	// Differences between stream and twin, of logits and of codes.
	twinSum, twinMax, twinCodes float64

	options, twinOptions model.StreamOptions
	faked                *model.Model
	scheme               quant.Scheme
}

// driven are graphs on their way, and how their logits differ from the Go model's.
type driven struct {
	*host.Stream
	loaded          *host.Model
	sum, count      float64 // of the differences; of logits
	largest         float64
	compared, equal int // rows
}

// drive loads graphs.
func drive(dir string, o host.Options) (*driven, error) {
	loaded, err := host.Open(dir, o)
	if err != nil {
		return nil, err
	}
	st, err := loaded.NewStream()
	if err != nil {
		return nil, errors.Join(err, loaded.Close())
	}
	return &driven{Stream: st, loaded: loaded}, nil
}

func (d *driven) close() error {
	if d == nil {
		return nil
	}
	return errors.Join(d.Close(), d.loaded.Close())
}

// pair finds what the graphs of a precision should equal.
func (c *comparison) pair(shape, precision string) (*pair, error) {
	p := &pair{lite: c.info.InTFLite(precision), stream: c.float, start: func() *model.Stream { return c.model.NewStream(model.StreamOptions{}) }}
	p.Shape, p.Precision = shape, precision
	var err error
	if p.Runtime, err = runtimeOf(p.lite); err != nil || manifest.IsFloat(precision) {
		return p, err
	}
	q := c.quantized
	if q == nil {
		return nil, errors.New("the quantized model that the graphs were made from is needed to compare them; name its folder with --quant")
	}
	faked, wrap, err := quant.Apply(c.model, q)
	if err == nil {
		faked, err = withTable(faked, c.dir, c.info.EmbeddingsOf(precision))
	}
	if err != nil {
		return nil, err
	}
	p.scheme = q.Scheme
	p.faked, p.options.Wrap, p.twinOptions.Wrap = faked, wrap, quant.Wrap(faked, q, disturbance(q.Scheme))
	p.start = func() *model.Stream { return faked.NewStream(p.options) }
	p.stream, p.twin = p.start(), faked.NewStream(p.twinOptions)
	return p, nil
}

// watch looks out for what float16 loses.
func (p *pair) watch(graph string, outputs []ir.Port, tensor func(string) ort.Tensor) {
	if p.lost != "" {
		return
	}
	if lost := half.Worst(outputs, func(name string) float32 { return tensor(name).Data.([]float32)[0] }); lost != "" {
		p.lost = graph + ": " + lost
	}
}

func (p *pair) figures() manifest.Verification {
	e := &p.exported
	p.Compared, p.EqualTokens, p.MaxLogitError, p.MeanLogitError = e.compared, e.equal, e.largest, e.sum/e.count
	p.Tolerance = floatShares.of(p.LogitRange)
	if p.Precision == manifest.Float16 {
		p.Tolerance = halfShares.of(p.LogitRange)
	}
	if p.twin != nil {
		allowed := slackIn(p.lite, p.scheme)
		p.Tolerance = allowed.of(p.LogitRange)
		p.Tolerance.Max += twinFactor * p.twinMax
		p.Tolerance.Mean += twinFactor * p.twinSum / e.count
		p.Tolerance.Codes = allowed.codes + twinFactor*p.twinCodes
	}
	if h := p.halved; h != nil {
		p.RoundTrip = &manifest.RoundTrip{Compared: h.compared, EqualTokens: h.equal, MaxLogitError: h.largest, MeanLogitError: h.sum / h.count, Lost: p.lost}
		p.RoundTrip.Finite()
	}
	return p.Verification
}

// prompt takes the tokens of a comparison: enough whole segments to fill sinks, slots
// and window and push a segment out of them, at least three, and a half one. Text that is too
// short is read again. Only text shows how much rounding changes: on tokens at random, which a
// model was never trained to read nor calibrated on, its choices hang on a hair.
func prompt(m *model.Model, q *quant.Quantized) ([]int32, error) {
	s := m.Spec
	segments := max(3, (s.Sink+s.Slots+s.Window)/s.Segment+2)
	random := rand.New(rand.NewPCG(1, 2))
	ids := make([]int32, segments*s.Segment+(s.Segment+1)/2)
	for i := range ids {
		if q == nil || len(q.Text) == 0 {
			ids[i] = random.Int32N(int32(m.Base.Embed.Out))
			continue
		}
		ids[i] = q.Text[i%len(q.Text)]
		if int(ids[i]) >= m.Base.Embed.Out {
			return nil, fmt.Errorf("token %d of the quantized model's text is %d, but the vocabulary has %d; quantize again", i, ids[i], m.Base.Embed.Out)
		}
	}
	return ids, nil
}

// read feeds the float model the prompt, and then the tokens that it chooses.
func (c *comparison) read(ctx context.Context, s manifest.Shape) error {
	ids, err := prompt(c.model, c.quantized)
	if err != nil {
		return err
	}
	steps := generatedAlone
	for _, p := range c.info.Of(s.Name, c.info.Precisions()[0])[manifest.PromptGraph].Outputs {
		if p.Role == "logits" && p.Shape[1] == s.Segment {
			steps = generated
		}
	}
	next := make([]float32, c.model.Base.Head.Out)
	for range steps + 1 {
		states, err := read(ctx, c.float, ids)
		if err != nil {
			return err
		}
		c.calls = append(c.calls, call{ids, states})
		c.float.Logits(next, states[len(states)-c.model.Base.Dims.Hidden:])
		ids = []int32{int32(kernels.ArgMax(next))}
	}
	return nil
}

// run compares the graphs over the calls, then those that are rounded to float16, and then at
// each of the runtime's levels. None is loaded beside another.
func (p *pair) run(ctx context.Context, c *comparison) error {
	calls, twins, err := p.expected(ctx, c.calls)
	if err != nil {
		return err
	}
	o := host.Options{Shape: p.Shape, Precision: p.Precision, Lean: true}
	err = p.exported.over(c.dir, o, func() error {
		if p.twin != nil && !p.cacheInFloat() {
			if err := p.compareCodes(ctx, c.calls[0].ids); err != nil {
				return err
			}
		}
		for i, call := range calls {
			if err := p.feed(ctx, call, twins[i]); err != nil {
				return err
			}
		}
		p.Read, p.Written, p.Slots = p.exported.Seen(), p.exported.Written(), p.exported.Slots()
		return nil
	})
	if err != nil || p.lite {
		return err
	}
	if p.Precision != manifest.Float16 {
		if err := p.halve(ctx, c.dir, o, calls); err != nil {
			return err
		}
	}
	return p.levels(ctx, c.dir, calls[0].ids)
}

// halve compares the graphs with every float rounded to float16. Where that changes tokens, it
// reads the beginning of the text once more, past the first commit, for the first number that
// float16 loses: to take the largest magnitude of every value costs as much as all that is no
// product.
func (p *pair) halve(ctx context.Context, dir string, o host.Options, calls []call) error {
	if err := p.rounded(ctx, dir, o, calls, false); err != nil {
		return err
	}
	if p.figures().KeepsTokens() {
		return nil
	}
	halved := p.halved
	o.Ran = p.watch
	begin := calls[0]
	width := len(begin.states) / len(begin.ids)
	n := min(len(begin.ids), watchedSegments*p.exported.Segment())
	begin.ids, begin.states = begin.ids[:n], begin.states[:n*width]
	err := p.rounded(ctx, dir, o, []call{begin}, true)
	p.halved = halved
	return err
}

// watchedSegments are enough for a commit, and for reading what it wrote.
const watchedSegments = 3

// rounded reads the calls with graphs whose floats are rounded.
func (p *pair) rounded(ctx context.Context, dir string, o host.Options, calls []call, watched bool) error {
	var weights half.Weights
	o.Alter = func(m *ir.Model) error {
		if gone := half.Vanishing(m); watched && len(gone) > 0 && p.lost == "" {
			p.lost = filepath.Base(m.Path) + ": constant " + gone[0]
		}
		return weights.Round(m, watched)
	}
	p.halved = &driven{}
	err := p.halved.over(dir, o, func() error {
		if err := weights.Close(); err != nil { // the sessions have mapped what they need
			return err
		}
		for _, call := range calls {
			if err := p.halved.feed(ctx, p.stream, call, func([]float32, int, int) {}); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, weights.Close())
}

// expected are the calls with the states that the graphs should have, and those of the twin.
func (p *pair) expected(ctx context.Context, calls []call) (own []call, twins [][]float32, err error) {
	if p.twin == nil {
		return calls, make([][]float32, len(calls)), nil
	}
	for _, c := range calls {
		states, err := read(ctx, p.stream, c.ids)
		if err != nil {
			return nil, nil, err
		}
		twin, err := read(ctx, p.twin, c.ids)
		if err != nil {
			return nil, nil, err
		}
		own, twins = append(own, call{c.ids, states}), append(twins, twin)
	}
	return own, twins, nil
}

// over loads graphs, does something with them, and gives them back.
func (d *driven) over(dir string, o host.Options, do func() error) error {
	rest()
	loaded, err := drive(dir, o)
	if err != nil {
		return err
	}
	d.Stream, d.loaded = loaded.Stream, loaded.loaded
	return errors.Join(do(), d.close())
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

// feed reads a call with the graphs and compares their logits with those of the Go model and its
// twin.
func (p *pair) feed(ctx context.Context, c call, twins []float32) error {
	hidden := len(c.states) / len(c.ids)
	return p.exported.feed(ctx, p.stream, c, func(want []float32, from, to int) {
		for _, v := range want {
			p.LogitRange = max(p.LogitRange, math.Abs(float64(v)))
		}
		if p.twin != nil {
			p.twinRows(twins[from*hidden:to*hidden], want)
		}
	})
}

// feed reads a call and compares the logits that there are with those that a stream of the Go
// model makes of its states. seen is called with the latter, a few rows at a time.
func (d *driven) feed(ctx context.Context, stream *model.Stream, c call, seen func(want []float32, from, to int)) error {
	hidden, vocab := len(c.states)/len(c.ids), d.Vocabulary()
	return d.Feed(ctx, c.ids, func(first int, got []float32) error {
		for at, rows := 0, len(got)/vocab; at < rows; at += rowsAtOnce {
			n := min(rowsAtOnce, rows-at)
			want := scratch.Borrow(n * vocab)
			stream.Logits(want, c.states[(first+at)*hidden:(first+at+n)*hidden])
			d.rows(got[at*vocab:(at+n)*vocab], want)
			seen(want, first+at, first+at+n)
			scratch.Release(want)
		}
		return nil
	})
}

// rowsAtOnce bounds the logits held at once: 64 rows of a vocabulary of 150,000 are
// 38 MB.
const rowsAtOnce = 64

// rows compares the logits of a few tokens with those of the Go model.
func (d *driven) rows(got, want []float32) {
	total, largest := difference(got, want)
	d.sum += total
	d.count += float64(len(got))
	if !(largest <= d.largest) { // a NaN is the largest
		d.largest = largest
	}
	vocab := d.Vocabulary()
	for at := 0; at < len(got); at += vocab {
		d.compared++
		if kernels.ArgMax(got[at:at+vocab]) == kernels.ArgMax(want[at:at+vocab]) {
			d.equal++
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
