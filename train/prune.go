package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/dustin/go-humanize/english"

	"eisft/data"
	"eisft/eval"
	"eisft/internal/progress"
	"eisft/internal/ranks"
	"eisft/model"
	"eisft/train/config"
	"eisft/train/runs"
)

// prune runs a stage of kind prune, which has one step.
func (t *trainer) prune(ctx context.Context, s config.Prune, at position) error {
	if at.Step == s.NumSteps() {
		return nil
	}
	started := time.Now()
	p, err := t.findSlots(ctx, s)
	if errors.Is(err, errRankStopped) {
		return t.stop(at)
	}
	if err != nil && !ranks.Told(err) {
		err = fmt.Errorf("stage %d (%s): %w", at.Stage+1, s.Kind(), err)
	}
	if err != nil {
		return err
	}
	if f := p.found; f.None <= f.All && t.options.Warn != nil {
		t.options.Warn(fmt.Sprintf("stage %d (%s): the loss is %.4f with slots and %.4f without: they gain nothing, so that there is nothing to choose by, and all layers keep theirs; train the retention score in a stage before this one, on samples that are longer than the window", at.Stage+1, s.Kind(), f.All, f.None))
	}
	kept, err := t.Model.KeepSlots(p.found.Kept)
	if err != nil {
		return err
	}
	t.use(kept)
	t.optimizer = newAdamW(t.Model.Params)
	if err := t.step(&at, func() (runs.Metrics, data.Cursor) {
		return runs.Metrics{
			Stage: at.Stage, Kind: string(s.Kind()), Step: s.NumSteps(), Loss: p.found.Loss, Tokens: p.tokens, Pruned: &p.found, Seconds: time.Since(started).Seconds(),
		}, data.Cursor{}
	}); err != nil {
		return err
	}
	return t.write(func() error { return t.save(at) })
}

// findSlots finds the layers that answers need slots in: of the layers in
// the order of what the loss rises without each, the fewest stay that keep s.Gain of
// what all slots gain over none. Retrieval sits in few layers (Wu et al., arXiv
// 2404.15574; Xiao et al., arXiv 2410.10819), and slots cost memory and time in each.
func (t *trainer) findSlots(ctx context.Context, s config.Prune) (*pruning, error) {
	loader, err := t.loader(data.Cursor{})
	if err != nil {
		return nil, err
	}
	p := &pruning{group: t.group, model: t.Model, streams: t.streams(), gain: s.Gain}
	for range s.Samples {
		e, err := loader.Next()
		if err != nil {
			return nil, err
		}
		p.samples = append(p.samples, eval.Sample{Encoded: e})
	}
	return p, p.run(ctx, t.options.Progress)
}

// pruning is one search for the layers that keep their slots. Each rank reads a share of the
// samples, and all find the same.
type pruning struct {
	group   ranks.Group
	model   *model.Model
	streams model.StreamOptions
	samples []eval.Sample
	gain    float64
	line    *progress.Line
	tokens  int // read
	found   runs.Pruned
}

// run finds the fewest slots that keep the gain.
func (p *pruning) run(ctx context.Context, w io.Writer) error {
	layers := p.model.SlotLayers()
	p.line = progress.Start(w, progress.Task{What: string(config.KindPrune), Unit: "losses", Total: mostLosses(layers)})
	defer p.line.End()
	f := &p.found
	f.Layers = layers
	var err error
	if f.All, err = p.loss(ctx, layers); err != nil {
		return err
	}
	if f.None, err = p.loss(ctx, nil); err != nil {
		return err
	}
	if f.None <= f.All { // nothing to choose by
		f.Kept, f.Loss = layers, f.All
		return nil
	}
	for _, l := range layers {
		v, err := p.loss(ctx, without(layers, l))
		if err != nil {
			return err
		}
		f.Without = append(f.Without, v)
	}
	err = p.choose(ctx)
	if p.line.End(); err == nil && w != nil {
		fmt.Fprintln(w, f)
	}
	return err
}

// mostLosses is how often the samples are read, at most: with all slots, with none, without
// those of each layer, and with those of one layer more each time.
func mostLosses(layers []int) int { return 2 + 2*len(layers) }

// pruneOutlook: the samples are read as at inference.
func (t *trainer) pruneOutlook(s config.Prune) outlook {
	return outlook{
		what: fmt.Sprintf("%s, read at most %d times", english.Plural(s.Samples, "sample", ""), mostLosses(t.Model.SlotLayers())), samples: s.Samples, together: s.Samples,
		times: mostLosses(t.Model.SlotLayers()),
		reads: func(n int) int { return n }, sees: func(n int) int { return min(n, t.config.Block.Capacity()) },
		once: func(ctx context.Context, e data.Encoded) error {
			_, err := eval.TurnLosses(ctx, t.Model, []eval.Sample{{Encoded: e}}, t.streams())
			return err
		},
	}
}

// choose adds layer after layer, the one that is missed most first, until the gain is there.
func (p *pruning) choose(ctx context.Context) error {
	f := &p.found
	order := make([]int, len(f.Layers))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(f.Without[b], f.Without[a]) })
	for _, i := range order {
		f.Kept = append(f.Kept, f.Layers[i])
		slices.Sort(f.Kept)
		var err error
		if f.Loss, err = p.loss(ctx, f.Kept); err != nil {
			return err
		}
		if f.None-f.Loss >= p.gain*(f.None-f.All) {
			break
		}
	}
	return nil
}

// errRankStopped ends what all ranks do because one of them was asked to stop.
var errRankStopped = errors.New("stopped")

// readShare is what a rank has read of the samples.
type readShare struct {
	Stop   bool // it was asked to stop
	Losses []eval.TurnLoss
}

// loss reads the samples with slots in some layers.
func (p *pruning) loss(ctx context.Context, layers []int) (float64, error) {
	m, err := p.model.KeepSlots(layers)
	if err != nil {
		return 0, err
	}
	first, last := ranks.Share(p.group.Rank(), p.group.Size(), len(p.samples))
	losses, err := eval.TurnLosses(ctx, m, p.samples[first:last], p.streams)
	mine := readShare{Stop: ctx.Err() != nil, Losses: losses}
	if err != nil && !mine.Stop {
		return 0, err
	}
	all, err := ranks.Meet(p.group, mine)
	if err != nil {
		return 0, err
	}
	losses = nil
	for _, share := range all {
		if share.Stop {
			return 0, errRankStopped
		}
		losses = append(losses, share.Losses...)
	}
	for _, s := range p.samples {
		p.tokens += len(s.IDs)
	}
	p.line.Add(1)
	loss, _ := eval.MeanLoss(losses)
	return loss, nil
}

// without returns the layers but one.
func without(layers []int, l int) []int {
	return slices.DeleteFunc(slices.Clone(layers), func(x int) bool { return x == l })
}
