package eval

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"eisft/internal/scratch"
	"eisft/model"
)

// SlotLosses are the losses of right answers under several choices of layers with slots.
type SlotLosses struct {
	Losses [][]TurnLoss // of each choice, those of all answers
	// Rows are the tokens that went through a layer, over all layers: what the reading took.
	Rows int
}

// LossesOfSlots returns what [TurnLosses] does of m with slots in some layers alone
// ([model.Model.KeepSlots]), for each of several choices, in ascending order each. Choices
// that agree up to a layer go through it together, and all go together until something has
// left the window: losses without the slots of each of L layers take less than half of L
// readings. A sample goes through one layer after the other: some of its hidden states [T,D] are
// in memory, and what two streams keep. read, if not nil, is called when a sample is read
// under a choice.
func LossesOfSlots(ctx context.Context, m *model.Model, samples []Sample, o model.StreamOptions, choices [][]int, read func()) (SlotLosses, error) {
	out := SlotLosses{Losses: make([][]TurnLoss, len(choices))}
	models := make([]*model.Model, len(choices))
	for i, c := range choices {
		var err error
		if models[i], err = m.KeepSlots(c); err != nil {
			return out, err
		}
	}
	if read == nil {
		read = func() {}
	}
	for _, s := range samples {
		v := &variants{model: m, models: models, sample: s, options: o, read: read}
		losses := v.losses
		if o.Wrap != nil { // what decorates a stream knows its layers by their places
			losses = v.apart
		}
		if err := losses(ctx, &out); err != nil {
			return out, fmt.Errorf("%s: %w", s.Where, err)
		}
	}
	return out, nil
}

// variants are the readings of one sample under several choices.
type variants struct {
	model   *model.Model
	models  []*model.Model // of each choice
	sample  Sample
	options model.StreamOptions
	read    func()

	held   bool
	until  int                         // tokens that are read
	shared int                         // the first of them, which all choices read alike
	begun  map[layerPart]*model.Stream // over layers alone, which have read these
	place  []int                       // of each token among those that predict an answer's, or -1
	hidden [][]float32                 // of each choice, the last layer's output for these [n,D]
	x      []float32                   // what the layer at hand reads,
	first  int                         // from this token on
	rows   int
}

// layerPart is a layer with or without slots.
type layerPart struct {
	layer int
	slots bool
}

func (v *variants) part(layer, choice int) layerPart {
	return layerPart{layer, v.models[choice].Spec.At(layer).Slots > 0}
}

// apart reads the sample once for each choice.
func (v *variants) apart(ctx context.Context, out *SlotLosses) error {
	for i, m := range v.models {
		losses, err := TurnLosses(ctx, m, []Sample{v.sample}, v.options)
		if err != nil {
			return err
		}
		out.Losses[i] = append(out.Losses[i], losses...)
		out.Rows += v.end() * len(m.Base.Layers)
		v.read()
	}
	return nil
}

// end is how many tokens there are to read: the last answer's last token predicts nothing.
func (v *variants) end() int { return v.sample.Turns[len(v.sample.Turns)-1].End - 1 }

// losses reads the sample side by side for all choices.
func (v *variants) losses(ctx context.Context, out *SlotLosses) error {
	if v.sample.Turns[0].Start == 0 {
		return errors.New("there is nothing to read before the first answer")
	}
	v.plan()
	x, err := v.model.Base.Embeddings(v.sample.IDs[:v.until])
	if err != nil {
		return err
	}
	all, d := make([]int, len(v.models)), v.model.Base.Dims.Hidden
	for i := range all {
		all[i] = i
	}
	if err := v.begin(ctx, x[:v.shared*d], all); err != nil {
		return err
	}
	if err := v.walk(ctx, 0, x[v.shared*d:], all); err != nil {
		return err
	}
	out.Rows += v.rows
	return v.score(out)
}

// plan says what is read how.
func (v *variants) plan() {
	v.until, v.held, v.begun = v.end(), held(v.options.Plan(v.model), v.sample.Turns[0].Start), map[layerPart]*model.Stream{}
	if all := v.model.Spec.Sizes().Unevicted(); !v.held && all < v.until {
		v.shared = all
	}
	v.options.NoRouting, v.options.Embed = !v.held, v.embed
	v.place = make([]int, v.until)
	for i := range v.place {
		v.place[i] = -1
	}
	wanted := 0
	for _, t := range v.sample.Turns {
		for row := t.Start - 1; row < t.End-1; row++ {
			v.place[row] = wanted
			wanted++
		}
	}
	for range v.models {
		v.hidden = append(v.hidden, make([]float32, wanted*v.model.Base.Dims.Hidden))
	}
}

// embed hands out rows of what the layer at hand reads.
func (v *variants) embed(x []float32, ids []int32) error {
	copy(x, v.x[(int(ids[0])-v.first)*v.model.Base.Dims.Hidden:])
	return nil
}

// open starts a stream over a layer alone, as a choice has it.
func (v *variants) open(layer, choice int) *model.Stream {
	return v.models[choice].Alone(v.model.Base.Layers[layer], v.until).NewStream(v.options)
}

// begin reads the shared tokens, which enter as x [n,D]: there layers put out the same with
// slots and without, and keep other things.
func (v *variants) begin(ctx context.Context, x []float32, choices []int) error {
	if v.shared == 0 {
		return nil
	}
	for i := range v.model.Base.Layers {
		v.x, v.first = x, 0
		groups := v.split(i, choices)
		for k, g := range groups {
			st := v.open(i, g[0])
			v.begun[v.part(i, g[0])] = st
			if k+1 < len(groups) { // the other one's output does for both
				if err := st.Feed(ctx, v.rowsOf(0, v.shared), v.shared, nil); err != nil {
					return err
				}
				continue
			}
			if err := v.layer(ctx, st, i, x, 0, choices); err != nil {
				return err
			}
		}
	}
	return nil
}

// split divides choices by whether a layer has slots.
func (v *variants) split(layer int, choices []int) (groups [][]int) {
	var with, without []int
	for _, c := range choices {
		if v.part(layer, c).slots {
			with = append(with, c)
		} else {
			without = append(without, c)
		}
	}
	for _, g := range [][]int{without, with} {
		if len(g) > 0 {
			groups = append(groups, g)
		}
	}
	return groups
}

// walk takes the tokens behind the shared ones, x [n,D], through the layers from one on, for
// choices that agree before it. It writes into x.
func (v *variants) walk(ctx context.Context, i int, x []float32, choices []int) error {
	if i == len(v.model.Base.Layers) {
		for range choices {
			v.read()
		}
		return nil
	}
	groups := v.split(i, choices)
	for k, g := range groups {
		var st *model.Stream
		if begun := v.begun[v.part(i, g[0])]; begun != nil {
			st = begun.Clone()
		} else {
			st = v.open(i, g[0])
		}
		v.x, v.first = x, v.shared
		y := x
		if k+1 < len(groups) { // x is read once more
			y = scratch.Borrow(len(x))
		}
		err := v.layer(ctx, st, i, y, v.shared, g)
		if err == nil {
			err = v.walk(ctx, i+1, y, g)
		}
		if k+1 < len(groups) {
			scratch.Release(y)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// layer takes the tokens from the first-th on through a layer, for choices: y [n,D] is what it
// puts out. Of the last layer, only what predicts answers is computed.
func (v *variants) layer(ctx context.Context, st *model.Stream, i int, y []float32, first int, choices []int) error {
	d, end := v.model.Base.Dims.Hidden, first+len(y)/v.model.Base.Dims.Hidden
	v.rows += end - first
	last := i == len(v.model.Base.Layers)-1
	for _, p := range v.pieces(first, end, last) {
		err := st.Feed(ctx, v.rowsOf(p.from, p.to), p.wanted-p.from, func(at int, hidden []float32) error {
			at += p.from
			if !last {
				copy(y[(at-first)*d:], hidden)
				return nil
			}
			for ; len(hidden) > 0; at, hidden = at+1, hidden[d:] {
				if place := v.place[at]; place >= 0 {
					for _, c := range choices {
						copy(v.hidden[c][place*d:(place+1)*d], hidden)
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// rowsOf are the tokens of a stream over a layer alone.
func (v *variants) rowsOf(from, to int) []int32 {
	ids := make([]int32, to-from)
	for i := range ids {
		ids[i] = int32(from + i)
	}
	return ids
}

// fed are tokens that are fed at once, whose output is wanted from one on.
type fed struct{ from, to, wanted int }

// pieces cuts tokens [lo,hi): how it does changes no bits, but for a first prompt that is held,
// which is one. Of the last layer as little as possible is wanted.
func (v *variants) pieces(lo, hi int, last bool) (list []fed) {
	add := func(to, wanted int) {
		if to = min(to, hi); to > lo {
			list = append(list, fed{lo, to, min(max(wanted, lo), to)})
			lo = to
		}
	}
	turns := v.sample.Turns
	if v.held {
		wanted := 0
		if last {
			wanted = turns[0].Start - 1
		}
		add(turns[0].Start, wanted)
	}
	for _, t := range turns {
		if last {
			add(t.Start-1, t.Start-1)
			add(t.End-1, 0)
		}
	}
	add(hi, 0)
	return list
}

// score turns the last layer's outputs into losses: rows of all choices go through the head
// together.
func (v *variants) score(out *SlotLosses) error {
	d, vocab, ids := v.model.Base.Dims.Hidden, v.model.Base.Head.Out, v.sample.IDs
	var targets []int32
	for row, place := range v.place {
		if place >= 0 {
			targets = append(targets, ids[row+1])
		}
	}
	all := slices.Concat(v.hidden...)
	v.model.Base.Norm.Apply(all, all)
	most := v.model.Base.LogitRows()
	logits, losses := scratch.Borrow(most*vocab), make([]float64, 0, len(all)/d)
	defer scratch.Release(logits)
	for len(all) > 0 {
		rows := min(len(all)/d, most)
		v.model.Logits(logits[:rows*vocab], all[:rows*d])
		for i := range rows {
			losses = append(losses, surprise(logits[i*vocab:(i+1)*vocab], targets[len(losses)%len(targets)]))
		}
		all = all[rows*d:]
	}
	for c := range v.models {
		for i := range v.sample.Turns {
			n := len(v.sample.answer(i))
			sum := 0.0
			for _, nll := range losses[:n] {
				sum += nll
			}
			if sum-sum != 0 {
				return v.models[c].NotNumbers()
			}
			out.Losses[c], losses = append(out.Losses[c], TurnLoss{sum, n}), losses[n:]
		}
	}
	return nil
}
