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
	first, last := p.share()
	p.line = progress.Start(w, progress.Task{What: string(config.KindPrune), Unit: "losses", Total: (last - first) * 2 * (1 + len(layers))})
	defer p.line.End()
	f := &p.found
	f.Layers = layers
	choices := [][]int{layers, nil}
	for _, l := range layers {
		choices = append(choices, without(layers, l))
	}
	found, err := p.losses(ctx, choices)
	if err != nil {
		return err
	}
	f.All, f.None = found[0], found[1]
	if f.None <= f.All { // nothing to choose by
		f.Kept, f.Loss = layers, f.All
		return nil
	}
	f.Without = found[2:]
	err = p.choose(ctx)
	if p.line.End(); err == nil && w != nil {
		fmt.Fprintln(w, f)
	}
	return err
}

// pruneOutlook: the samples are read as at inference.
func (t *trainer) pruneOutlook(s config.Prune) outlook {
	times := mostReadings(t.Model)
	return outlook{
		what: fmt.Sprintf("%s, which takes at most %s", english.Plural(s.Samples, "sample", ""), english.Plural(times, "reading", "")), samples: s.Samples, together: s.Samples,
		times: times,
		reads: func(n int) int { return n }, sees: func(n int) int { return min(n, t.config.Block.Capacity()) },
		once: func(ctx context.Context, e data.Encoded) error {
			_, err := eval.LossesOfSlots(ctx, t.Model, []eval.Sample{{Encoded: e}}, t.streams(), [][]int{t.Model.SlotLayers()}, nil)
			return err
		},
	}
}

// mostReadings bounds what pruning takes, in readings of its samples: of all choices, those
// that agree up to a layer go through it together.
func mostReadings(m *model.Model) int {
	layers, slots := len(m.Base.Layers), m.SlotLayers()
	n := 2 * layers // with all slots and with none
	for _, l := range slots {
		n += layers - l
	}
	n += len(slots) * layers // as layers are chosen: the order is not known
	return (n + layers - 1) / layers
}

// sideBySide is how many more choices are read together than may be needed: they share what
// lies below the layers in which they differ, and the last ones may be in vain.
const sideBySide = 4

// choose adds layer after layer, the one that is missed most first, until the gain is there.
func (p *pruning) choose(ctx context.Context) error {
	f := &p.found
	order := make([]int, len(f.Layers))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(f.Without[b], f.Without[a]) })
	var choices [][]int // as layers are added
	var kept []int
	for _, i := range order {
		kept = append(slices.Clone(kept), f.Layers[i])
		slices.Sort(kept)
		choices = append(choices, kept)
	}
	n := len(choices)
	known := map[int]float64{n - 1: f.All} // by the number of layers, less one
	if n > 1 {
		known[n-2] = f.Without[order[n-1]]
	}
	for i, kept := range choices {
		if _, ok := known[i]; !ok {
			end := min(i+sideBySide, n-2)
			found, err := p.losses(ctx, choices[i:end])
			if err != nil {
				return err
			}
			for j, loss := range found {
				known[i+j] = loss
			}
		}
		f.Kept, f.Loss = kept, known[i]
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
	Losses eval.SlotLosses
}

// share are the samples that this rank reads.
func (p *pruning) share() (first, last int) {
	return ranks.Share(p.group.Rank(), p.group.Size(), len(p.samples))
}

// losses reads the samples with slots in some layers, for each of several choices.
func (p *pruning) losses(ctx context.Context, choices [][]int) ([]float64, error) {
	first, last := p.share()
	losses, err := eval.LossesOfSlots(ctx, p.model, p.samples[first:last], p.streams, choices, func() { p.line.Add(1) })
	mine := readShare{Stop: ctx.Err() != nil, Losses: losses}
	if err != nil && !mine.Stop {
		return nil, err
	}
	all, err := ranks.Meet(p.group, mine)
	if err != nil {
		return nil, err
	}
	rows, of := 0, make([][]eval.TurnLoss, len(choices))
	for _, share := range all {
		if share.Stop {
			return nil, errRankStopped
		}
		rows += share.Losses.Rows
		for i, l := range share.Losses.Losses {
			of[i] = append(of[i], l...)
		}
	}
	p.tokens += rows / len(p.model.Base.Layers)
	means := make([]float64, len(choices))
	for i, l := range of {
		means[i], _ = eval.MeanLoss(l)
	}
	return means, nil
}

// without returns the layers but one.
func without(layers []int, l int) []int {
	return slices.DeleteFunc(slices.Clone(layers), func(x int) bool { return x == l })
}
