package host

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/x448/float16"

	"eisft/export/ort"
	"eisft/model"
	"eisft/model/kernels"
	"eisft/model/schedule"
)

// Stream reads one sequence: the counterpart of model.Stream over exported graphs,
// with the same routing of short prompts. It belongs to one goroutine.
type Stream struct {
	model    *Model
	sequence *schedule.Sequence

	prompt, step *reader
	writer       *writer // nil without memory
	layers       []layer
}

// layer is a layer's part of the state.
type layer struct {
	keys, values tokens      // the cache of C tokens
	score        [][]float32 // [K][C], nil where none is kept
	token        [][]int32   // [K][C] index in the sequence
}

// reader is a main graph with its tensors.
type reader struct {
	*bound
	tokens       int       // T
	ids          []int32   // [T], nil where embeddings are read
	embeds       []float32 // [T,D]
	views        []view    // of the kinds of layers
	keys, values []tokens  // new ones of each layer
	scores       [][]float32
	logits       []float32 // [rows,V]
	rows         int       // 0, 1 or T
}

// view is what one kind of layers is told of the sequence.
type view struct {
	mask     []float32 // [T,C+T+1]
	cos, sin []float32 // [T,m]; nil where nothing is turned
}

// NewStream starts an empty sequence. Close frees it.
func (m *Model) NewStream() (*Stream, error) {
	st := &Stream{model: m, sequence: schedule.New(m.plan)}
	if err := st.bind(); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return st, nil
}

// stateRoles are the roles of the inputs that a stream's state is in.
var stateRoles = []string{"key", "value", "memory", "memory_mass"}

// Clone returns another stream that has read the same tokens. Both go on independently.
func (st *Stream) Clone() (*Stream, error) {
	c, err := st.model.NewStream()
	if err != nil {
		return nil, err
	}
	if err := c.GoOn(st.standing()); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Standing is where a stream stood, apart from any graphs.
type Standing struct {
	sequence *schedule.Sequence
	tensors  map[string]ort.Tensor // the cache and the memory, by the names of ports
	layers   []layer               // scores and tokens
}

// standing shares the stream's tensors.
func (st *Stream) standing() *Standing {
	s := &Standing{sequence: st.sequence.Clone(), tensors: map[string]ort.Tensor{}, layers: st.layers}
	for _, p := range st.step.graph.Inputs {
		if slices.Contains(stateRoles, p.Role) {
			s.tensors[p.Name] = st.step.Tensor(p.Name)
		}
	}
	return s
}

// Standing returns where the stream stands. It stays when the stream reads on, and when it is closed.
func (st *Stream) Standing() (*Standing, error) {
	s := st.standing()
	for name, t := range s.tensors {
		own, err := t.Clone()
		if err != nil {
			return nil, err
		}
		s.tensors[name] = own
	}
	s.layers = make([]layer, len(st.layers))
	for i, l := range st.layers {
		for _, x := range l.token {
			s.layers[i].token = append(s.layers[i].token, slices.Clone(x))
		}
		for _, x := range l.score {
			s.layers[i].score = append(s.layers[i].score, slices.Clone(x))
		}
	}
	return s, nil
}

// GoOn lets the stream stand where another one stood, over the same graphs or over altered ones with
// the same ports.
func (st *Stream) GoOn(s *Standing) error {
	st.sequence = s.sequence.Clone()
	for name, t := range s.tensors {
		if err := st.step.Tensor(name).CopyFrom(t); err != nil {
			return err
		}
	}
	for i, l := range s.layers {
		for g := range l.token {
			copy(st.layers[i].token[g], l.token[g])
		}
		for g := range l.score {
			copy(st.layers[i].score[g], l.score[g])
		}
	}
	return nil
}

// bind makes the tensors of all graphs, over one cache and one memory.
func (st *Stream) bind() (err error) {
	m := st.model
	if st.step, err = m.newReader(m.generation, 1, nil); err != nil {
		return err
	}
	roles := slices.Clone(stateRoles)
	for _, k := range m.kinds {
		roles = append(roles, "cache_cos"+k.Suffix, "cache_sin"+k.Suffix)
	}
	given := st.step.shared(m.prompt.Graph, roles...)
	if st.prompt, err = m.newReader(m.prompt, m.Shape.Tokens, given); err != nil {
		return err
	}
	if m.commit != nil {
		if st.writer, err = m.newWriter(st.step); err != nil {
			return err
		}
	}
	st.newLayers()
	return st.placeCache()
}

func (m *Model) newReader(g *graph, tokens int, given map[string]ort.Tensor) (*reader, error) {
	b, err := m.bind(g, given)
	if err != nil {
		return nil, err
	}
	r := &reader{bound: b, tokens: tokens}
	for _, k := range m.kinds {
		v := view{mask: b.write("mask"+k.Suffix, none, 1, 1, tokens, k.sizes.Capacity()+tokens+1)}
		if pairs := len(k.Rope.InvFreq); pairs > 0 {
			v.cos = b.write("position_cos"+k.Suffix, none, 1, 1, tokens, pairs)
			v.sin = b.write("position_sin"+k.Suffix, none, 1, 1, tokens, pairs)
		}
		r.views = append(r.views, v)
	}
	if m.hidden > 0 {
		r.embeds = b.write("embeds", none, 1, tokens, m.hidden)
	} else {
		r.ids, _ = b.input("ids", none, 1, tokens).Data.([]int32)
	}
	for i := range m.layers {
		r.keys = append(r.keys, b.keyTokens(b.output, i, m.heads, 1, m.headDim, tokens))
		r.values = append(r.values, b.valueTokens(b.output, i, m.heads, 1, tokens, m.headDim))
		var score []float32
		if m.layerKind(i).scored {
			score = b.read(m.scoreRole(), i, m.heads, 1, tokens, 1)
		}
		r.scores = append(r.scores, score)
	}
	if p, ok := find(g.Outputs, "logits", none); ok && len(p.Shape) == 3 {
		r.rows = p.Shape[1]
		r.logits = b.read("logits", none, 1, r.rows, m.vocab)
	}
	if b.err == nil && m.hidden == 0 && r.ids == nil {
		b.err = fmt.Errorf("graph %s: it reads neither ids nor embeddings", g.Name)
	}
	if b.err != nil {
		return nil, errors.Join(b.err, b.Close())
	}
	return r, nil
}

func (m *Model) scoreRole() string {
	if m.gated {
		return "write"
	}
	return "retention"
}

// scoreSign is that of the score in ω, a token's weight in the memory: 1-σ(ρ) = σ(-ρ) of
// the retention score, σ of the write gate's logit.
func (m *Model) scoreSign() float32 {
	if m.gated {
		return 1
	}
	return -1
}

// newLayers makes what the host keeps of each layer.
func (st *Stream) newLayers() {
	m := st.model
	for i := range m.layers {
		var l layer
		k := m.layerKind(i)
		c := k.sizes.Capacity()
		l.keys = st.step.keyTokens(st.step.input, i, m.heads, 1, m.headDim, c)
		l.values = st.step.valueTokens(st.step.input, i, m.heads, 1, c, m.headDim)
		for range m.heads {
			if k.scored {
				l.score = append(l.score, make([]float32, c))
			}
			l.token = append(l.token, make([]int32, c))
		}
		st.layers = append(st.layers, l)
	}
}

// placeCache fills the rotary tables of the cache once: its tokens are packed, so that
// with compact positions a place is a position. It reports what is wrong with
// the cache.
func (st *Stream) placeCache() error {
	m, r := st.model, st.step
	for _, k := range m.kinds {
		if m.plan.Absolute {
			break
		}
		c, pairs := k.sizes.Capacity(), len(k.Rope.InvFreq)
		if pairs == 0 {
			continue
		}
		cos := r.numbers(r.graph.Inputs, "cache_cos"+k.Suffix, none, []int{1, 1, c, pairs})
		sin := r.numbers(r.graph.Inputs, "cache_sin"+k.Suffix, none, []int{1, 1, c, pairs})
		if r.err == nil {
			k.rotary(cos.floats, sin.floats, 0)
			cos.store()
			sin.store()
		}
	}
	return r.err
}

// rotary writes the tables of consecutive positions [n,m].
func (k kind) rotary(cos, sin []float32, from int) {
	if len(k.Rope.InvFreq) == 0 {
		return
	}
	pos := span(from, from+len(cos)/len(k.Rope.InvFreq))
	kernels.RopeTables(cos, sin, pos, k.Rope.InvFreq, k.Rope.Scale)
}

// Close frees the stream's tensors.
func (st *Stream) Close() error {
	var open []binding
	for _, r := range []*reader{st.prompt, st.step} {
		if r != nil {
			open = append(open, r.bound)
		}
	}
	if st.writer != nil {
		open = append(open, st.writer.bound)
	}
	st.prompt, st.step, st.writer = nil, nil, nil
	return closeAll(open...)
}

// Seen returns how many tokens have been read.
func (st *Stream) Seen() int { return st.sequence.Seen() }

// Slots returns how many slots are in use, in the layers where these are most.
func (st *Stream) Slots() int {
	n := 0
	for i := range st.layers {
		n = max(n, st.sequence.Parts(i).Slots)
	}
	return n
}

// Segment returns L, the length of a segment.
func (st *Stream) Segment() int { return st.model.Shape.Segment }

// Vocabulary returns V, the number of logits of a token.
func (st *Stream) Vocabulary() int { return st.model.vocab }

// Written returns how many tokens each KV head's memory has taken up, in the layers
// where these are most.
func (st *Stream) Written() int {
	if st.writer == nil {
		return 0
	}
	return st.sequence.Written()
}

// Heads returns K, the number of KV heads.
func (st *Stream) Heads() int { return st.model.heads }

// Committed returns how many of the tokens read are committed.
func (st *Stream) Committed() int { return st.Seen() - st.sequence.Parts(0).Recent }

// Held says whether the prompt is held.
func (st *Stream) Held() bool { return st.sequence.Held() }

// SlotTokens returns the indices in the sequence of the tokens in a layer's slots [K,R'].
func (st *Stream) SlotTokens(layer int) []int32 {
	parts := st.sequence.Parts(layer)
	var out []int32
	for _, tokens := range st.layers[layer].token {
		out = append(out, tokens[parts.Sinks:parts.Sinks+parts.Slots]...)
	}
	return out
}

// Memory returns a layer's memory, M [K,F,d] and z [K,F] as means; nil without memory.
func (st *Stream) Memory(layer int) (memory, mass []float32) {
	if st.writer == nil {
		return nil, nil
	}
	e := st.writer.layers[layer]
	return st.means(e.memory), st.means(e.memoryZ)
}

// means returns the numbers of a state of the memory, less its scale.
func (st *Stream) means(t ort.Tensor) []float32 {
	var x []float32
	switch data := t.Data.(type) {
	case []float32:
		x = slices.Clone(data)
	case []float16.Float16:
		x = make([]float32, len(data))
		numbers{floats: x, stored: data}.read()
	}
	for i := range x {
		x[i] /= st.model.scale
	}
	return x
}

// Feed reads tokens. emit, if not nil, is called for every stretch of at most a segment
// with the index in ids of the first token whose logits it gets, and these logits
// [n,V], which are valid during the call only: of all the stretch's tokens, or of its
// last one, or, where the prompt graph has none, of the last of ids alone.
func (st *Stream) Feed(ctx context.Context, ids []int32, emit func(first int, logits []float32) error) error {
	if err := st.checkIDs(ids); err != nil {
		return err
	}
	st.sequence.Begin(len(ids))
	for done := 0; done < len(ids); {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := st.sequence.Next()
		if err := st.commit(); err != nil {
			return err
		}
		logits, err := st.stretch(ids[done:done+n], done+n == len(ids))
		if err != nil {
			return err
		}
		done += n
		if rows := len(logits) / st.model.vocab; emit != nil && rows > 0 {
			if err := emit(done-rows, logits); err != nil {
				return err
			}
		}
	}
	return nil
}

func (st *Stream) checkIDs(ids []int32) error {
	n := st.model.vocab
	for i, id := range ids {
		if id < 0 || int(id) >= n || st.model.hidden > 0 && int(id) >= st.model.table.rows {
			return fmt.Errorf("token %d of the input has id %d, but the exported vocabulary has %d entries; the tokenizer belongs to another model", st.Seen()+i, id, n)
		}
	}
	return nil
}

// stretch reads tokens of one segment and returns the logits that there are.
func (st *Stream) stretch(ids []int32, last bool) ([]float32, error) {
	r := st.prompt
	if n := len(ids) - 1; r.rows == 0 && last && n > 0 { // the generation graph has the logits
		if err := st.run(r, ids[:n]); err != nil {
			return nil, err
		}
		ids = ids[n:]
	}
	if len(ids) == 1 {
		r = st.step
	}
	if err := st.run(r, ids); err != nil {
		return nil, err
	}
	if err := st.commit(); err != nil {
		return nil, err
	}
	rows := min(r.rows, len(ids))
	return r.logits[(r.rows-rows)*st.model.vocab:], nil
}

// run computes up to T new tokens. Where there are fewer, they stand at the end, and
// nothing sees what stands before them.
func (st *Stream) run(r *reader, ids []int32) error {
	m, pad := st.model, r.tokens-len(ids)
	if err := st.fillViews(r, pad); err != nil {
		return err
	}
	for i, id := range ids {
		if r.ids != nil {
			r.ids[pad+i] = id
		} else if err := m.table.read(r.embeds[(pad+i)*m.hidden:(pad+i+1)*m.hidden], int(id)); err != nil {
			return err
		}
	}
	if err := r.Run(); err != nil {
		return err
	}
	st.append(r, pad)
	st.sequence.Advance(len(ids))
	return nil
}

// fillViews fills masks and rotary tables for the new tokens behind the padding.
func (st *Stream) fillViews(r *reader, pad int) error {
	for i, k := range st.model.kinds {
		from := st.sequence.Position(k.Layers[0])
		last := from + r.tokens - pad - 1
		if limit := k.Rope.Limit; limit > 0 && last >= limit {
			return fmt.Errorf("position %d is out of reach: the base's rotary embedding has other frequencies, or its queries another scale, for sequences of more than %d tokens", last, limit)
		}
		v, pairs := r.views[i], len(k.Rope.InvFreq)
		k.rotary(v.cos[pad*pairs:], v.sin[pad*pairs:], from)
		st.fillMask(v.mask, k, r.tokens, pad)
	}
	return nil
}

// fillMask opens, for each new token, the stored tokens, the new ones up to itself, as
// far as they are within the window, and the memory. A row before the new tokens sees
// itself, so that it has something to see.
func (st *Stream) fillMask(mask []float32, k kind, tokens, pad int) {
	cache, stored, memory := k.sizes.Capacity(), st.sequence.Parts(k.Layers[0]).Stored(), st.memoryColumn()
	width := cache + tokens + 1
	for t := range tokens {
		row := mask[t*width : (t+1)*width]
		for j := range row {
			row[j] = st.model.mask
		}
		hidden, _ := schedule.Visible(stored+t-pad, k.Window) // of the stored tokens and the new ones, in this order
		clear(row[min(hidden, stored):stored])
		clear(row[cache+min(pad+max(0, hidden-stored), t) : cache+t+1])
		row[width-1] = memory
	}
}

// append stores what the graph made of the tokens behind the padding.
func (st *Stream) append(r *reader, pad int) {
	rows := span(pad, r.tokens)
	for i, l := range st.layers {
		at := st.sequence.Parts(i).Stored()
		for g := range st.model.heads {
			r.keys[i].copyTo(l.keys, g, at, rows)
			r.values[i].copyTo(l.values, g, at, rows)
			if l.score != nil {
				copy(l.score[g][at:], r.scores[i][g*r.tokens+pad:(g+1)*r.tokens])
			}
			for j := range rows {
				l.token[g][at+j] = int32(st.Seen() + j)
			}
		}
	}
}

// Read feeds ids and returns the logits [V] of what comes next. progress, if not nil,
// is called with the number of ids read so far.
func (st *Stream) Read(ctx context.Context, ids []int32, progress func(done int)) ([]float32, error) {
	if len(ids) == 0 {
		return nil, errors.New("there is nothing to read: the input has no tokens")
	}
	next := make([]float32, st.model.vocab)
	err := st.Feed(ctx, ids, func(first int, logits []float32) error {
		copy(next, logits[len(logits)-len(next):])
		if progress != nil {
			progress(first + len(logits)/len(next))
		}
		return nil
	})
	return next, err
}

// Generate writes tokens from the logits next that Read returned, as model.Stream's
// does.
func (st *Stream) Generate(ctx context.Context, next []float32, o model.GenerateOptions) ([]int32, error) {
	return model.Generate(next, o, func(ids []int32) error {
		return st.Feed(ctx, ids, func(_ int, logits []float32) error {
			copy(next, logits)
			return nil
		})
	})
}
