package export

import (
	"context"
	"errors"
	"fmt"
	"math"
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
const generated, generatedAlone = 8, 64

// Verify runs every shape and precision of an exported folder in its runtime, ONNX Runtime or
// LiteRT, over a text that fills slots and memory, and then token by token over what the Go model
// writes, and compares all logits that the graphs give with those of the Go model. The text is
// one that the quantized model was calibrated on, or tokens drawn at random (with a fixed seed)
// where there is none. q is what the folder's quantized graphs were made from, nil if it has none.
func Verify(ctx context.Context, dir string, m *model.Model, q *quant.Quantized) ([]manifest.Verification, error) {
	info, err := manifest.Read(dir)
	if err != nil {
		return nil, err
	}
	from, err := newSources(dir, info, m, q)
	if err != nil {
		return nil, err
	}
	return verify(ctx, dir, info, from)
}

// verify compares the graphs of one precision after the other, so that memory holds those of one.
func verify(ctx context.Context, dir string, info *manifest.Manifest, from *sources) ([]manifest.Verification, error) {
	var figures []manifest.Verification
	for _, s := range info.Shapes {
		read := map[*source]*reading{}
		for _, precision := range info.Precisions() {
			v, err := verifyPrecision(ctx, dir, info, s, precision, from, read)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", s.Name, precision, err)
			}
			figures = append(figures, v)
		}
	}
	return figures, nil
}

// verifyPrecision compares the graphs of a shape and precision. read is what was read for others of
// the shape.
func verifyPrecision(ctx context.Context, dir string, info *manifest.Manifest, s manifest.Shape, precision string, from *sources, read map[*source]*reading) (v manifest.Verification, err error) {
	p := &pair{dir: dir, lite: info.InTFLite(precision)}
	p.Shape, p.Precision = s.Name, precision
	if p.Runtime, err = runtimeOf(p.lite); err != nil {
		return v, err
	}
	of, err := from.of(s, precision)
	if err != nil {
		return v, err
	}
	if read[of] == nil {
		chosen := generatedAlone
		for _, o := range info.Of(s.Name, precision)[manifest.PromptGraph].Outputs {
			if o.Role == "logits" && o.Shape[1] == s.Segment {
				chosen = generated
			}
		}
		if read[of], err = from.compared(ctx, of, chosen); err != nil {
			return v, err
		}
	}
	p.reading = read[of]
	err = p.run(ctx)
	return p.figures(), err
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

// pair is the graphs of one precision and what the Go model that they should equal has read.
type pair struct {
	manifest.Verification
	*reading
	dir      string
	lite     bool // in LiteRT
	exported driven
	halved   *driven // the graphs with floats rounded to float16; nil of float16 graphs and in LiteRT
	lost     string  // what float16 lost first
	// Differences between the Go model and its twin, of logits and of codes.
	twinSum, twinMax, twinCodes float64
	block                       []float32      // logits of a few tokens
	stood                       *host.Standing // where the graphs stood before the last whole segments; see resumed
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
	if p.scheme != nil {
		allowed := slackIn(p.lite, *p.scheme)
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

// run compares the graphs over the text, then those that are rounded to float16, and then at
// each of the runtime's levels. None is loaded beside another.
func (p *pair) run(ctx context.Context) error {
	o := host.Options{Shape: p.Shape, Precision: p.Precision, Lean: true}
	err := p.exported.over(p.dir, o, func() error {
		if p.scheme != nil && !p.cacheInFloat() {
			if err := p.compareCodes(ctx); err != nil {
				return err
			}
		}
		if err := p.compareLogits(ctx); err != nil {
			return err
		}
		p.Read, p.Written, p.Slots = p.exported.Seen(), p.exported.Written(), p.exported.Slots()
		return nil
	})
	if err != nil || p.lite {
		return err
	}
	if p.Precision != manifest.Float16 {
		if err := p.halve(ctx, o); err != nil {
			return err
		}
	}
	return p.levels(ctx)
}

// halve compares the graphs with every float rounded to float16. Where that changes tokens, it
// reads the beginning of the text once more, past the first commit, for the first number that
// float16 loses: to take the largest magnitude of every value costs as much as all that is no
// product.
func (p *pair) halve(ctx context.Context, o host.Options) error {
	d := &driven{}
	p.halved = d
	err := p.rounded(d, o, func() error {
		if p.stood != nil {
			err := p.begin(ctx, d, d.Segment(), func(token int, logits []float32) error {
				d.rows(logits, p.row(token))
				return nil
			})
			if err == nil {
				err = d.GoOn(p.stood)
			}
			if err != nil {
				return err
			}
		}
		return p.feed(ctx, d, p.resumed(), func([]float32, int) {})
	})
	if err != nil || p.figures().KeepsTokens() || p.nearTies() {
		return err
	}
	o.Ran = p.watch
	watched := &driven{}
	return p.rounded(watched, o, func() error {
		return p.begin(ctx, watched, watchedSegments*watched.Segment(), func(int, []float32) error {
			if p.lost != "" {
				return errEnough
			}
			return nil
		})
	})
}

// resumed is the call from which on graphs that are rounded read again, behind the first segment: the
// last whole segment, its commit, which adds to a memory that holds something, and what follows. Up to
// there they take over what the graphs keep, rounded as they read it. 0: all is read.
func (p *pair) resumed() int {
	whole := 0
	for read := 0; read < p.begun(); whole++ {
		read += p.calls[whole]
	}
	return max(0, whole-2)
}

// nearTies tells whether the tokens that float16 changed were chosen by less than it may change: then
// there is nothing that it has lost.
func (p *pair) nearTies() bool { return p.halved.largest <= halfShares.of(p.LogitRange).Max }

// watchedSegments are enough for a commit, and for reading what it left.
const watchedSegments = 2

// rounded does something with graphs whose floats are rounded.
func (p *pair) rounded(d *driven, o host.Options, do func() error) error {
	watched := o.Ran != nil
	var weights half.Weights
	o.Alter = func(m *ir.Model) error {
		if gone := half.Vanishing(m); watched && len(gone) > 0 && p.lost == "" {
			p.lost = filepath.Base(m.Path) + ": constant " + gone[0]
		}
		return weights.Round(m, watched)
	}
	err := d.over(p.dir, o, func() error {
		if err := weights.Close(); err != nil { // the sessions have mapped what they need
			return err
		}
		return do()
	})
	return errors.Join(err, weights.Close())
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

// compareLogits reads the text with the graphs and compares their logits with those of the Go model
// and its twin.
func (p *pair) compareLogits(ctx context.Context) error {
	return p.feed(ctx, &p.exported, 0, func(want []float32, token int) {
		for _, v := range want {
			p.LogitRange = max(p.LogitRange, math.Abs(float64(v)))
		}
		if p.scheme == nil {
			return
		}
		got := scratch.Borrow(len(want))
		defer scratch.Release(got)
		p.twinLogits(got, token)
		total, largest := difference(got, want)
		p.twinSum += total
		p.twinMax = max(p.twinMax, largest)
	})
}

// feed reads the text, call by call from one on, and compares the logits that there are with those of the Go
// model. seen is called with the latter, a few rows at a time, and the first one's token.
func (p *pair) feed(ctx context.Context, d *driven, from int, seen func(want []float32, token int)) (err error) {
	vocab, read := d.Vocabulary(), 0
	for i, n := range p.calls {
		if i < from {
			read += n
			continue
		}
		if d == &p.exported && i == p.resumed() && i > 0 && !p.lite {
			if p.stood, err = d.Standing(); err != nil {
				return err
			}
		}
		err := d.Feed(ctx, p.ids[read:read+n], func(first int, got []float32) error {
			for at, rows := 0, len(got)/vocab; at < rows; at += rowsAtOnce {
				n := min(rowsAtOnce, rows-at)
				want := p.want(read+first+at, n)
				d.rows(got[at*vocab:(at+n)*vocab], want)
				seen(want, read+first+at)
			}
			return nil
		})
		if err != nil {
			return err
		}
		read += n
	}
	return nil
}

// want returns the Go model's logits of n tokens from one on.
func (p *pair) want(token, n int) []float32 {
	if n == 1 {
		return p.row(token)
	}
	if p.block == nil {
		p.block = make([]float32, rowsAtOnce*p.model.Base.Head.Out)
	}
	want := p.block[:n*p.model.Base.Head.Out]
	p.logits(want, token)
	return want
}

// errEnough ends a reading.
var errEnough = errors.New("enough was read")

// begin reads the beginning of the text with graphs, segment by segment and at most so many tokens,
// and calls each after every one with its last token and that token's logits. More is announced than
// is read where need be, so that it is not held.
func (p *pair) begin(ctx context.Context, d *driven, most int, each func(token int, logits []float32) error) error {
	vocab := d.Vocabulary()
	err := d.Feed(ctx, p.ids[:max(p.calls[0], min(most, p.begun()))], func(first int, logits []float32) error {
		token := first + len(logits)/vocab - 1
		if err := each(token, logits[len(logits)-vocab:]); err != nil {
			return err
		}
		if token+1+d.Segment() > most {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return err
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
