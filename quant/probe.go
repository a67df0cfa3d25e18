package quant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"path/filepath"
	"slices"

	"eisft/data"
	"eisft/eval"
	"eisft/internal/progress"
	"eisft/internal/ranks"
	"eisft/model"
)

// probe measures the loss of changed models on some tokens of the calibration data.
type probe struct {
	job    *Job
	float  *model.Model
	tokens int // at least so many are predicted, if there are as many
	what   string

	texts []data.Encoded
	from  int    // the first token of a text that counts
	count int    // tokens that are predicted
	base  losses // of the float model
}

// losses are what texts cost, in nats a token: all of them, and the right answers in them (0 if
// there are none).
type losses struct {
	text, answers float64
	tokens        int // of answers
}

// open takes the texts and measures the float model.
func (p *probe) open(ctx context.Context) error {
	p.from = p.float.Spec.Segment
	for s, err := range p.job.each() {
		if err != nil {
			return err
		}
		have := len(s.IDs) - p.from
		if have <= 0 {
			continue
		}
		if rest := p.tokens - p.count; have > rest {
			s.IDs, have = s.IDs[:p.from+rest], rest
		}
		p.texts, p.count = append(p.texts, s), p.count+have
		if p.count >= p.tokens {
			break
		}
	}
	if p.count == 0 {
		return fmt.Errorf("%s: no sample is longer than a segment of %d tokens: there is nothing to measure the loss on", p.job.Calibration.Files, p.from)
	}
	var err error
	p.base, err = p.loss(ctx, p.job.group(), p.float, nil)
	return err
}

// loss is the mean loss of a model's predictions. Ranks of g take turns with the texts.
func (p *probe) loss(ctx context.Context, g ranks.Group, m *model.Model, w model.Wrap) (losses, error) {
	var mean losses
	var found []eval.TextLoss
	for i, s := range p.texts {
		if !mine(g, i) {
			continue
		}
		l, err := eval.Text(ctx, m, model.StreamOptions{Wrap: w}, s, p.from)
		if err != nil {
			return mean, err
		}
		found = append(found, l)
	}
	all, err := inTurn(g, found, len(p.texts))
	if err != nil {
		return mean, err
	}
	for _, l := range all {
		mean.text += l.NLL
		mean.answers += l.AnswerNLL
		mean.tokens += l.AnswerTokens
	}
	mean.text /= float64(p.count)
	mean.answers /= float64(max(1, mean.tokens))
	return mean, nil
}

// increase is by how much the losses are greater than the float model's.
func (p *probe) increase(ctx context.Context, g ranks.Group, m *model.Model, w model.Wrap) (Cost, error) {
	l, err := p.loss(ctx, g, m, w)
	return Cost{l.text - p.base.text, l.answers - p.base.answers}, err
}

// start begins a progress line over so many measurements.
func (p *probe) start(stage string, n int) *progress.Line {
	if p.what != "" {
		stage = p.what + ": " + stage
	}
	return progress.Start(p.job.Progress, progress.Task{What: stage, Unit: "measurements", Total: n})
}

// with returns the float model with other weights, those of maps for which weight returns some.
func (p *probe) with(weight func(name string, l *model.Linear) *Weight) (*model.Model, error) {
	b := replaceFrozen(p.float.Base, func(name string, l *model.Linear) *model.Linear {
		if w := weight(name, l); w != nil {
			return w.linear(p.float.Base, l)
		}
		return l
	})
	return model.New(b, p.float.Spec, p.float.Params)
}

// Probed says on what losses were measured.
type Probed struct {
	Tokens  int     `json:"tokens"`
	Samples int     `json:"samples"`
	Loss    float64 `json:"loss"` // of the float model, in nats a token
	// Answers are how many of the tokens are right answers, and their loss.
	Answers     int     `json:"answer_tokens,omitempty"`
	AnswersLoss float64 `json:"answers_loss,omitempty"`
}

func (p *probe) probed() Probed {
	return Probed{p.count, len(p.texts), p.base.text, p.base.tokens, p.base.answers}
}

// maxCacheLoss is the increase of the loss, in nats a token, that a cache of 8 bits may
// cost all layers together: 0.1 % of perplexity.
const maxCacheLoss = 1e-3

// CacheReport says how the width of each layer's keys and values was chosen.
type CacheReport struct {
	Probed
	MaxLossIncrease float64      `json:"max_loss_increase"`
	Widths          []CacheWidth `json:"widths"` // the least loss first
}

// chooseCache gives keys and values 8 bits where that costs little, by the loss of the float
// model with all points rounded.
func (p *pipeline) chooseCache(ctx context.Context, out *made) (*CacheReport, error) {
	caches := 2 * len(out.float.Base.Layers)
	line := p.probe.start("widths of the cache", 1+caches+halvings(caches))
	defer line.End()
	widths, err := ChooseCache(out.float, out.q, out.seen, maxCacheLoss, func(q *Quantized) (float64, error) {
		defer line.Add(1)
		l, err := p.probe.loss(ctx, p.job.group(), out.float, Wrap(out.float, q, nil))
		return l.text, err
	})
	return &CacheReport{p.probe.probed(), maxCacheLoss, widths}, err
}

// SensitivityReport says what rounding costs, one map or layer at a time.
type SensitivityReport struct {
	Probed
	Maps   []MapSensitivity   `json:"maps"`
	Layers []LayerSensitivity `json:"layers"`
}

// MapSensitivity is what the rounding of one map alone costs.
type MapSensitivity struct {
	Name string `json:"name"`
	Bits int    `json:"bits"`
	Cost
	SQNR    float64 `json:"sqnr_db"`       // of its weights
	Promote int     `json:"promote_bytes"` // what 8 bits would take more
}

// Cost is by how much losses are greater than the float model's, in nats a token.
type Cost struct {
	Increase float64 `json:"loss_increase"`
	Answers  float64 `json:"answers_loss_increase,omitempty"` // of the right answers alone
}

// of is the increase of a loss.
func (c Cost) of(l Loss) float64 {
	if l == LossOfAnswers {
		return c.Answers
	}
	return c.Increase
}

// LayerSensitivity is what the rounding of a layer's maps costs, all others in float.
type LayerSensitivity struct {
	Layer int `json:"layer"`
	Cost
}

// measure finds what each map and layer costs and, where the scheme has weights of fewer
// than 8 bits, what promoting the worst would gain; and promotes them if the recipe says so.
func (p *pipeline) measure(ctx context.Context, out *made) error {
	var err error
	if out.sensitivity, err = p.sensitivity(ctx, out); err != nil || p.scheme.Weight.Bits >= promoted {
		return err
	}
	out.mixed, err = p.mix(ctx, out)
	return err
}

// sensitivity measures every map and every layer; ranks take turns.
func (p *pipeline) sensitivity(ctx context.Context, out *made) (*SensitivityReport, error) {
	list := frozen(out.float.Base)
	line := p.probe.start("sensitivity", share(p.job.group(), len(list)+len(out.float.Base.Layers)))
	defer line.End()
	r := &SensitivityReport{Probed: p.probe.probed()}
	cost := func(names map[string]bool) (Cost, error) {
		m, err := p.probe.with(func(name string, _ *model.Linear) *Weight {
			if names[name] {
				return out.q.Weight(name)
			}
			return nil
		})
		if err != nil {
			return Cost{}, err
		}
		defer line.Add(1)
		return p.probe.increase(ctx, ranks.Alone{}, m, nil)
	}
	var rounded []map[string]bool // of each measurement
	for _, f := range list {
		rounded = append(rounded, map[string]bool{f.name: true})
	}
	for _, l := range out.float.Base.Layers {
		names := map[string]bool{}
		for _, m := range l.Maps() {
			names[m.Name] = true
		}
		rounded = append(rounded, names)
	}
	var found []Cost
	for i, names := range rounded {
		if !mine(p.job.group(), i) {
			continue
		}
		d, err := cost(names)
		if err != nil {
			return nil, err
		}
		found = append(found, d)
	}
	costs, err := inTurn(p.job.group(), found, len(rounded))
	if err != nil {
		return nil, err
	}
	for i, f := range list {
		w := out.q.Weight(f.name)
		_, decibel := w.fidelity(f.Linear)
		r.Maps = append(r.Maps, MapSensitivity{
			Name: f.name, Bits: w.Bits, Cost: costs[i], SQNR: decibel,
			Promote: max(0, formatBytes(p.scheme.weightOf(promoted), f.Out, f.In)-w.Bytes()),
		})
	}
	for i, d := range costs[len(list):] {
		r.Layers = append(r.Layers, LayerSensitivity{i, d})
	}
	return r, nil
}

// MixedReport says which maps were promoted to 8 bits, and what more or fewer would cost.
type MixedReport struct {
	By       Loss            `json:"by,omitempty"` // the loss by which maps are worthwhile
	Frontier []FrontierPoint `json:"frontier"`     // by bytes
	Promoted []string        `json:"promoted"`     // maps, the most worthwhile first
	Warnings []string        `json:"warnings,omitempty"`
}

// FrontierPoint is a model with the most worthwhile maps promoted.
type FrontierPoint struct {
	Promoted int `json:"promoted"` // maps
	Bytes    int `json:"bytes"`    // of the whole model
	Cost
	Chosen bool `json:"chosen,omitempty"`
}

// frontierSteps is how many numbers of promoted maps are measured, beside those that the
// search for the least one meets.
const frontierSteps = 8

// mix measures the loss with more and more maps promoted, those first that gain most for
// their bytes, chooses how many by the recipe, and rounds the weights again.
func (p *pipeline) mix(ctx context.Context, out *made) (_ *MixedReport, err error) {
	by := p.recipe.Mixed.By
	if p.probe.base.tokens == 0 && by == LossOfAnswers {
		return nil, fmt.Errorf("mixed.by is %s, but none of the %d tokens of %s that losses are measured on is of a right answer; take text with questions and answers, or a larger sensitivity", by, p.probe.count, p.job.Calibration.Files)
	}
	f := newFrontier(p, out)
	defer func() { err = errors.Join(err, f.shelf.close()) }()
	room := f.fitting()
	f.line = p.probe.start("frontier", f.measurements(room))
	defer f.line.End()
	for i := range frontierSteps + 1 {
		if _, err := f.at(ctx, len(f.order)*i/frontierSteps); err != nil {
			return nil, err
		}
	}
	r := &MixedReport{By: by}
	chosen, err := f.choose(ctx, r, room)
	if err != nil {
		return nil, err
	}
	promote := map[string]bool{}
	for _, m := range f.order[:chosen] {
		r.Promoted = append(r.Promoted, m.Name)
		promote[m.Name] = true
	}
	for _, k := range slices.Sorted(maps.Keys(f.points)) {
		point := f.points[k]
		point.Chosen = k == chosen
		r.Frontier = append(r.Frontier, point)
	}
	if chosen == 0 {
		return r, nil
	}
	return r, p.round(ctx, out.float, out.q, promote)
}

// frontier are the models of mix.
type frontier struct {
	*pipeline
	made   *made
	order  []MapSensitivity
	points map[int]FrontierPoint // by the number of maps that are promoted
	line   *progress.Line
	// wide are maps in 8 bits, rounded to the nearest codes, as many of the first as were asked for.
	wide  map[string]*Weight
	shelf shelf
}

// newFrontier lists the maps that gain, those first that gain most for their bytes.
func newFrontier(p *pipeline, out *made) *frontier {
	f, by := &frontier{pipeline: p, made: out, points: map[int]FrontierPoint{}, wide: map[string]*Weight{}}, p.recipe.Mixed.By
	for _, m := range out.sensitivity.Maps {
		if m.Promote > 0 && m.of(by) > 0 && m.Bits < promoted {
			f.order = append(f.order, m)
		}
	}
	slices.SortStableFunc(f.order, func(a, b MapSensitivity) int {
		return cmp.Compare(b.of(by)/float64(b.Promote), a.of(by)/float64(a.Promote))
	})
	return f
}

// fitting puts those maps first that the recipe's bytes have room for, one after the other,
// and returns how many they are.
func (f *frontier) fitting() int {
	most := f.recipe.Mixed.MaxBytes
	if most == 0 {
		return len(f.order)
	}
	bytes := plannedSize(f.job.Model, f.format(nil)).After
	var fits, others []MapSensitivity
	for _, m := range f.order {
		if bytes+m.Promote > most {
			others = append(others, m)
			continue
		}
		bytes += m.Promote
		fits = append(fits, m)
	}
	f.order = slices.Concat(fits, others)
	return len(fits)
}

// at measures the model with the first n maps promoted, rounded to the nearest codes.
func (f *frontier) at(ctx context.Context, n int) (FrontierPoint, error) {
	if point, ok := f.points[n]; ok {
		f.line.Add(1)
		return point, nil
	}
	promote := map[string]bool{}
	for _, m := range f.order[:n] {
		promote[m.Name] = true
	}
	if err := f.widen(promote); err != nil {
		return FrontierPoint{}, err
	}
	m, err := f.probe.with(func(name string, _ *model.Linear) *Weight {
		if promote[name] {
			return f.wide[name]
		}
		return f.made.q.Weight(name)
	})
	if err != nil {
		return FrontierPoint{}, err
	}
	point := FrontierPoint{Promoted: n, Bytes: plannedSize(f.job.Model, f.format(promote)).After}
	point.Cost, err = f.probe.increase(ctx, f.job.group(), m, Wrap(m, f.made.q, nil))
	f.points[n] = point
	f.line.Add(1)
	return point, err
}

// measurements is how many losses are measured at most, with room for so many maps.
func (f *frontier) measurements(room int) int {
	n := frontierSteps + 1
	if f.recipe.Mixed.MaxLossIncrease > 0 {
		n += halvings(room) + 1
	}
	return n
}

// halvings is how often a search that halves a list of n has to look at most.
func halvings(n int) int { return bits.Len(uint(n)) }

// widen rounds maps to 8 bits that are not yet. What they run from lies in files.
func (f *frontier) widen(names map[string]bool) error {
	for _, l := range frozen(f.made.float.Base) {
		if !names[l.name] || f.wide[l.name] != nil {
			continue
		}
		w, err := (&Map{Name: l.name, Matrix: l.Weight(), Out: l.Out, In: l.In, Format: f.scheme.weightOf(promoted)}).nearest()
		if err != nil {
			return err
		}
		path := filepath.Join(f.job.partial(f.stage(false)), fmt.Sprintf(productsFile, 1+len(f.wide)))
		if err := f.shelf.products(f.job.group(), path, []*Weight{w}); err != nil {
			return err
		}
		if f.wide[l.name] = w; w.product.Data != nil {
			w.Codes = nil
		}
	}
	return nil
}

// choose returns how many maps the recipe promotes: the least number that keeps the loss,
// or as many as there is room for.
func (f *frontier) choose(ctx context.Context, r *MixedReport, room int) (int, error) {
	rule := f.recipe.Mixed
	if !rule.on() {
		return 0, nil
	}
	if rule.MaxLossIncrease == 0 {
		return room, nil
	}
	lo, hi := 0, room // the least number is in (lo,hi], if not even lo keeps it
	for lo < hi {
		middle := (lo + hi) / 2
		point, err := f.at(ctx, middle)
		if err != nil {
			return 0, err
		}
		if point.of(rule.By) <= rule.MaxLossIncrease {
			hi = middle
		} else {
			lo = middle + 1
		}
	}
	point, err := f.at(ctx, lo)
	if err == nil && point.of(rule.By) > rule.MaxLossIncrease {
		why := "with all worthwhile maps in 8 bits"
		if room < len(f.order) {
			why = fmt.Sprintf("within max_bytes of %d", rule.MaxBytes)
		}
		r.Warnings = append(r.Warnings, fmt.Sprintf("mixed precision keeps the loss of the %s to %.4g nats a token %s, more than max_loss_increase of %g", rule.By, point.of(rule.By), why, rule.MaxLossIncrease))
	}
	return lo, err
}
