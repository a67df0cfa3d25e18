package quant

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime/debug"
	"slices"

	"eisft/data"
	"eisft/internal/mapped"
	"eisft/internal/progress"
	"eisft/internal/ranks"
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
	// Partial is a folder in which finished layers are kept; its parent is there. Weights stay
	// there, mapped, and a run that was stopped goes on behind the last of them. Who makes use
	// of the weights removes it when they are safe. "": weights are in memory.
	Partial string
	// Group are the ranks that round together (nil: this process alone), all with the same Partial, where
	// rank 0 writes. The weights do not depend on how many they are.
	Group ranks.Group
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

// RoundWeights chooses codes and scales of all maps of a float model and fills q.Weights, and
// q.Reconstructed with what Refine adds to it; q has the encodings of its points. A rule that wants no Hessian goes from map to map.
// Others, and Refine, go layer by layer: maps see what the quantized layers before theirs,
// and the quantized maps before them in it, make of the samples. Hidden states lie in files,
// and one input's Hessian is in memory at a time. Samples whose context does not fill a
// segment are left out, as in [Calibrate].
func RoundWeights(ctx context.Context, m *model.Model, q *Quantized, o RoundOptions) error {
	rule, err := roundings.Find(o.Recipe.Weights)
	if err != nil {
		return err
	}
	o.Group = ranks.Or(o.Group)
	r := &rounder{model: m, q: q, options: o, rule: rule}
	q.Reconstructed = nil
	if err := r.run(ctx); err != nil {
		if r.store != nil {
			err = errors.Join(err, r.store.close())
		}
		var of *ranks.Error
		if errors.As(err, &of) { // another rank has said what it was doing
			return of
		}
		return fmt.Errorf("weights by %s: %w", o.Recipe.Weights, err)
	}
	before := q.shelf
	q.Weights, q.shelf = r.done, r.store.shelf
	return before.close()
}

// rounder is one call of RoundWeights.
type rounder struct {
	model   *model.Model
	q       *Quantized
	options RoundOptions
	rule    rounding
	done    []*Weight // in the order of the forward pass
	store   *partial
	states  *States // before the layer at hand, of the quantized model
	floats  *States // and of the float model, if there is a Refine

	// Working memory, used again: one Hessian, and some rows of a map's weights.
	moments, matrix []float32
}

// run rounds all maps that an earlier run has not.
func (r *rounder) run(ctx context.Context) (err error) {
	if r.store, err = openPartial(r); err != nil {
		return err
	}
	r.q.Reconstructed = r.store.fitted
	switch r.done = r.store.weights; {
	case r.store.layer > len(r.model.Base.Layers):
		return nil
	case r.rule.wants != nil || r.options.Refine != nil:
		return r.walk(ctx)
	default:
		return r.list(ctx)
	}
}

// list rounds maps that need no inputs to be seen.
func (r *rounder) list(ctx context.Context) error {
	line := progress.Start(r.options.Progress, progress.Task{What: r.options.Recipe.Weights, Unit: "maps", Total: len(frozen(r.model.Base)), From: len(r.done)})
	defer line.End()
	round := func(maps ...frozenMap) error {
		var weights []shelved
		for _, f := range maps {
			w, err := r.scales(ctx, []frozenMap{f}, nil)
			if err != nil {
				return err
			}
			weights = append(weights, w...)
			line.Add(1)
		}
		return r.finish(weights, nil, nil)
	}
	for _, l := range r.model.Base.Layers[r.store.layer:] {
		var maps []frozenMap
		for _, m := range l.Maps() {
			maps = append(maps, frozenMap{Linear: m, name: m.Name})
		}
		if err := round(maps...); err != nil {
			return err
		}
	}
	return round(r.output())
}

// garbagePercent is how much garbage may lie beside what is in use while a job is at work: Go's 100 would double the memory of the largest Hessian and of a layer's weights.
const garbagePercent = 10

// walk rounds layer by layer.
func (r *rounder) walk(ctx context.Context) (err error) {
	defer debug.SetGCPercent(debug.SetGCPercent(garbagePercent))
	layers := len(r.model.Base.Layers)
	defer func() { err = errors.Join(err, r.states.close(), r.floats.close()) }()
	if err := r.begin(ctx); err != nil {
		return err
	}
	if err := r.checkTokens(); err != nil {
		return err
	}
	first := r.store.layer
	line := progress.Start(r.options.Progress, progress.Task{What: r.options.Recipe.Weights, Unit: "layers", Total: layers + 1, From: first})
	defer line.End()
	for i := first; i < layers; i++ {
		if err := r.layer(ctx, i, line); err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
		line.Add(1)
	}
	return r.head(ctx)
}

// wants says what a rule wants of the inputs that some maps share.
func (r *rounder) wants(maps []frozenMap) (want, int) {
	most, block := wantNone, 0
	for i, f := range maps {
		if r.rule.wants == nil {
			break
		}
		format := r.options.Format(f.name, f.head)
		most = max(most, r.rule.wants(r.options.Recipe, format))
		if i > 0 && block != format.Block {
			most = max(most, wantAll)
		}
		block = format.Block
	}
	return most, block
}

// checkTokens reports fewer tokens than a Hessian of one input after the other needs, and
// formats that do not fit their maps, before the work.
func (r *rounder) checkTokens() error {
	have := r.states.tokens()
	for _, f := range frozen(r.model.Base) {
		if err := r.options.Format(f.name, f.head).CheckRows(f.In); err != nil {
			return fmt.Errorf("%s.weight: %w", f.name, err)
		}
		need := f.In
		switch most, block := r.wants([]frozenMap{f}); most {
		case wantNone:
			continue
		case wantBlocks:
			need = block
		}
		if have < need {
			return fmt.Errorf("the samples have %d tokens; %s has %d inputs to be told apart and wants at least %d: calibrate with more or longer samples", have, f.name, f.In, need)
		}
	}
	return nil
}

// begin writes the embeddings of the samples, or finds what is left of an earlier run.
func (r *rounder) begin(ctx context.Context) (err error) {
	if r.store.layer > 0 {
		if r.states, err = r.store.open(statesFile, r.model.Base.Dims.Hidden); err == nil && r.options.Refine != nil {
			r.floats, err = r.store.open(floatsFile, r.model.Base.Dims.Hidden)
		}
		return err
	}
	blank := &States{width: r.model.Base.Dims.Hidden, starts: []int{0}}
	if r.states, err = r.store.create(statesFile, 0, blank); err != nil {
		return err
	}
	rounded := r.q.Point(EmbeddingPoint) != nil
	if rounded && r.options.Refine != nil {
		if r.floats, err = r.store.create(floatsFile, 0, blank); err != nil {
			return err
		}
	}
	limit := r.options.Recipe.mostSequences()
	long := longEnough{segment: r.model.Spec.Segment}
	for s, err := range long.of(r.options.Samples()) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if err := r.embed(s); err != nil {
			return fmt.Errorf("%s: %w", s.Where, err)
		}
		if limit > 0 && r.states.Sequences() == limit {
			break
		}
	}
	if r.options.Refine != nil && !rounded {
		r.floats = r.states // the same before the first layer
	}
	return long.missing()
}

// mostSequences is how many samples the weights are rounded on; 0: all.
func (r *Recipe) mostSequences() int {
	if r.Weights == RoundSeqMSE {
		return r.SeqMSE.Samples
	}
	return 0
}

// embed appends the embeddings of a sample to the states, rounded where they are a point.
func (r *rounder) embed(s data.Encoded) error {
	base, point := r.model.Base, r.q.Point(EmbeddingPoint)
	for _, st := range []*States{r.states, r.floats} {
		if st != nil {
			st.starts = append(st.starts, st.tokens()+len(s.IDs))
		}
	}
	d, sequence := base.Dims.Hidden, r.states.Sequences()-1
	x := make([]float32, min(r.model.Spec.Segment, len(s.IDs))*d)
	for first := 0; first < len(s.IDs); first += r.model.Spec.Segment {
		ids := s.IDs[first:min(len(s.IDs), first+r.model.Spec.Segment)]
		for i, id := range ids {
			if id < 0 || int(id) >= base.Embed.Out {
				return fmt.Errorf("token %d has id %d, but the model's vocabulary has %d entries; the tokenizer belongs to another model", first+i, id, base.Embed.Out)
			}
			base.Embed.Rows(x[i*d:(i+1)*d], int(id), int(id)+1)
		}
		rows := x[:len(ids)*d]
		base.FinishEmbeddings(rows)
		if r.floats != nil {
			if err := r.floats.write(rows, sequence, first); err != nil {
				return err
			}
		}
		if point != nil {
			point.Encoding.Fake(rows)
		}
		if err := r.states.write(rows, sequence, first); err != nil {
			return err
		}
	}
	return nil
}

// layer rounds a layer's maps, input by input, refines them, and computes what the layer
// then puts out.
func (r *rounder) layer(ctx context.Context, i int, line *progress.Line) (err error) {
	debug.FreeOSMemory() // what was in use before goes back to the system, and is not kept beside what follows
	p := newPass(r, i)
	defer func() { err = errors.Join(err, p.forget()) }()
	for _, group := range p.groups() {
		line.Figures("%s", group[0].role)
		maps := frozenOf(group)
		h, err := r.hessian(maps, func(h *Hessian) error { return p.observe(ctx, r.states, group[0].role, h) })
		if err != nil {
			return err
		}
		weights, err := r.round(ctx, maps, h)
		if err != nil {
			return err
		}
		for j, w := range weights {
			p.round(group[j], w)
		}
	}
	r.moments = nil // room for what the whole layer takes
	var next, floats *States
	defer func() {
		if err != nil {
			err = errors.Join(err, next.remove(), floats.remove())
		}
	}()
	if r.options.Refine != nil {
		line.Figures("float output")
		if floats, err = r.store.create(floatsFile, i+1, r.states); err != nil {
			return err
		}
		float := p.float()
		if err := errors.Join(float.output(ctx, r.floats, floats), float.forget()); err != nil {
			return err
		}
		line.Figures("refine")
		p.maps = nil // may change
		if err := p.forget(); err != nil {
			return err
		}
		if err := r.options.Refine(ctx, &Layer{Index: i, Model: r.model, Weights: p.weights, Inputs: r.states, Outputs: floats}); err != nil {
			return err
		}
		for role, l := range p.layer.Maps() {
			p.round(layerMap{role, l}, p.weights[role])
		}
	}
	line.Figures("output")
	if next, err = r.store.create(statesFile, i+1, r.states); err != nil {
		return err
	}
	if err := p.output(ctx, r.states, next); err != nil {
		return err
	}
	var list []shelved
	for _, w := range p.list() {
		list = append(list, shelved{Weight: w})
	}
	return r.finish(list, next, floats)
}

// finish goes on behind a layer, or the head, whose weights are done.
func (r *rounder) finish(weights []shelved, next, floats *States) error {
	states, floatStates := r.states, r.floats
	if floatStates == states {
		floatStates = nil
	}
	for _, w := range weights {
		r.done = append(r.done, w.Weight)
	}
	r.states, r.floats = next, floats
	defer mapped.Rest()
	if err := r.store.finish(weights, r.q.Reconstructed, next, floats); err != nil {
		return err
	}
	return errors.Join(states.remove(), floatStates.remove())
}

// head rounds the output projection on what the final norm makes of the last layer.
func (r *rounder) head(ctx context.Context) error {
	debug.FreeOSMemory()
	maps := []frozenMap{r.output()}
	h, err := r.hessian(maps, func(h *Hessian) error { return r.observeHead(ctx, h) })
	if err != nil {
		return err
	}
	weights, err := r.scales(ctx, maps, h)
	if err != nil {
		return err
	}
	return r.finish(weights, nil, nil)
}

// output is the output projection.
func (r *rounder) output() frozenMap {
	maps := frozen(r.model.Base)
	return maps[len(maps)-1]
}

// hessian returns the Hessian of maps that read the same tensor, of what observe adds to it;
// nil if the rule wants none.
func (r *rounder) hessian(maps []frozenMap, observe func(h *Hessian) error) (*Hessian, error) {
	most, block := r.wants(maps)
	if most == wantNone {
		return nil, nil
	}
	h := sized(maps[0].In, most, block, r.moments, r.options.Group)
	r.moments = h.Values
	if err := observe(h); err != nil {
		return nil, err
	}
	if err := h.meet(); err != nil {
		return nil, err
	}
	return h, h.finish(maps[0].name)
}

// Rows of a map are rounded so many at a time: rowFloats bounds the weights that are in float at once, and
// shareRows lets ranks take turns even in a map of few weights.
const (
	rowFloats = 1 << 21
	shareRows = 256
)

// round rounds maps that read the same tensor.
func (r *rounder) round(ctx context.Context, maps []frozenMap, h *Hessian) ([]*Weight, error) {
	list, err := r.scales(ctx, maps, h)
	if err != nil {
		return nil, err
	}
	var weights []*Weight
	for _, w := range list {
		if err := w.remember(); err != nil {
			return nil, err
		}
		weights = append(weights, w.Weight)
	}
	return weights, nil
}

// scales chooses the scales of maps that read the same tensor; ranks take turns. Their codes are computed when they
// are asked for: those of a large map are not held.
func (r *rounder) scales(ctx context.Context, maps []frozenMap, h *Hessian) ([]shelved, error) {
	weights := make([]shelved, len(maps))
	var chosen []encoding.Encoding // by this rank
	var of []int                   // the map of each part
	for i, fm := range maps {
		weights[i].Weight = &Weight{Name: fm.name, Out: fm.Out, In: fm.In}
		own := func() bool {
			of = append(of, i)
			return mine(r.options.Group, len(of)-1)
		}
		err := r.parts(ctx, fm, h, own, func(part *Map, _ int) error {
			e, err := r.rule.scales(r.options.Recipe, part)
			chosen = append(chosen, e)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	all, err := inTurn(r.options.Group, chosen, len(of))
	if err != nil {
		return nil, err
	}
	for k, e := range all {
		w := weights[of[k]].Weight
		w.Encoding = w.Encoding.Above(e)
	}
	var prepared *factor
	if r.rule.prepare != nil {
		if prepared, err = r.rule.prepare(r.options.Recipe, h); err != nil {
			return nil, fmt.Errorf("%s: %w", maps[0].name, err)
		}
	}
	for i, fm := range maps {
		w := weights[i].Weight
		weights[i].codes = func(write func([]int8) error) error {
			return r.parts(ctx, fm, h, func() bool { return true }, func(part *Map, first int) error {
				e := w.Part(w.Out, first, first+part.Out)
				if r.rule.codes == nil {
					return write(part.nearestCodes(e))
				}
				return write(r.rule.codes(part, e, prepared))
			})
		}
	}
	return weights, nil
}

// parts calls f for so many rows of a map at a time that they can be held, with the number of the
// first one, where own, which is called once for each, says so.
func (r *rounder) parts(ctx context.Context, fm frozenMap, h *Hessian, own func() bool, f func(part *Map, first int) error) error {
	rows := min(fm.Out, shareRows, max(1, rowFloats/fm.In))
	r.matrix = slices.Grow(r.matrix[:0], rows*fm.In)[:rows*fm.In]
	for first := 0; first < fm.Out; first += rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !own() {
			continue
		}
		n := min(rows, fm.Out-first)
		part := &Map{Name: fm.name, Matrix: r.matrix[:n*fm.In], Out: n, In: fm.In, Format: r.options.Format(fm.name, fm.head), Hessian: h}
		fm.Rows(part.Matrix, first, first+n)
		if err := f(part, first); err != nil {
			if first > 0 {
				err = fmt.Errorf("rows from %d on: %w", first, err)
			}
			return err
		}
	}
	return nil
}

// frozenOf lists maps with the names that their weights have.
func frozenOf(maps []layerMap) []frozenMap {
	list := make([]frozenMap, len(maps))
	for i, m := range maps {
		list[i] = frozenMap{Linear: m.linear, name: m.linear.Name}
	}
	return list
}

// layerMap is a map of a layer.
type layerMap struct {
	role   model.Role
	linear *model.Linear
}

// groups lists the maps of a layer by the tensor that they read, in the order of the forward
// pass.
func (p *pass) groups() [][]layerMap {
	var groups [][]layerMap
	for role, l := range p.layer.Maps() {
		m := layerMap{role, l}
		if role == role.FirstReader() {
			groups = append(groups, []layerMap{m})
			continue
		}
		i := slices.IndexFunc(groups, func(g []layerMap) bool { return g[0].role == role.FirstReader() })
		groups[i] = append(groups[i], m)
	}
	return groups
}
