package eval

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/modeltest"
)

// evictionBlock has slots for some of what leaves the window, at the end of segments that are
// longer than an observation window. Its memory takes up the rest.
func evictionBlock() model.Spec {
	return model.Spec{
		Sink: 3, Window: 5, Segment: 40, Slots: 17, Positions: model.PositionsCompact,
		Memory: model.MemoryLinear, Feature: model.FeatureELU, Gate: model.GateScalar,
	}
}

func evictionModel(t *testing.T, family string, s model.Spec) *model.Model {
	t.Helper()
	if family == "edge" {
		m, err := model.New(modeltest.OpenEdge(t, "retain").Model.Base, s, nil)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	return modeltest.Open(t, testfiles.Base(t, family), s)
}

func under(t *testing.T, m *model.Model, p Policy) *model.Model {
	t.Helper()
	m, err := WithPolicy(m, p)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// someIDs draws token ids.
func someIDs(m *model.Model, n int) []int32 {
	r, ids := rand.New(rand.NewPCG(5, 6)), make([]int32, n)
	for i := range ids {
		ids[i] = r.Int32N(int32(m.Base.Embed.Out))
	}
	return ids
}

// feed reads ids in pieces of the given lengths, and then the rest, and returns the hidden
// states.
func feed(t *testing.T, st *model.Stream, ids []int32, pieces ...int) (hidden []float32) {
	t.Helper()
	for _, n := range append(pieces, len(ids)) {
		n = min(n, len(ids))
		err := st.Feed(t.Context(), ids[:n], 0, func(_ int, h []float32) error {
			hidden = append(hidden, h...)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		ids = ids[n:]
	}
	return hidden
}

// recorder keeps the queries, keys and values of each layer, in the order of the text.
type recorder struct {
	model.Ops[[]float32]
	first int
	to    map[string][][]float64 // by "layer q": rows by token
}

func (r recorder) keep(l *model.Layer, what string, x []float32, width int) {
	rows := r.to[fmt.Sprint(l.Index, what)]
	for i := range len(x) / width {
		row := make([]float64, width)
		for j := range row {
			row[j] = float64(x[i*width+j])
		}
		rows[r.first+i] = row
	}
}

func (r recorder) Remember(l *model.Layer, h, k, v []float32) {
	r.keep(l, "k", k, l.K.Out)
	r.keep(l, "v", v, l.V.Out)
	r.Ops.Remember(l, h, k, v)
}

func (r recorder) Attend(l *model.Layer, q, k, v []float32, c *model.Column[[]float32]) []float32 {
	r.keep(l, "q", q, l.Q.Out)
	return r.Ops.Attend(l, q, k, v, c)
}

// record reads ids in pieces and returns what every layer saw, and the stream.
func record(t *testing.T, m *model.Model, ids []int32, pieces ...int) (map[string][][]float64, *model.Stream) {
	t.Helper()
	to := map[string][][]float64{}
	for _, l := range m.Base.Layers {
		for _, what := range []string{"q", "k", "v"} {
			to[fmt.Sprint(l.Index, what)] = make([][]float64, len(ids))
		}
	}
	st := m.NewStream(model.StreamOptions{Wrap: func(o model.Ops[[]float32], first int) model.Ops[[]float32] {
		return recorder{o, first, to}
	}})
	feed(t, st, ids, pieces...)
	return to, st
}

// direct carries one layer's evictions out in float64, token by token, from the recorded
// queries, keys and values and by the papers' formulas. It shares nothing with the store.
type direct struct {
	model   *model.Model
	layer   *model.Layer
	q, k, v [][]float64 // by token
	kept    [][]int     // by KV head: the committed tokens that are stored, in the order of the text
	sums    []map[int]float64

	read, committed int
	turns           map[int][][2]float64 // sine and cosine of each frequency, by position
}

func (r *direct) head(x []float64, h int) []float64 {
	d := r.model.Base.Dims.HeadDim
	return x[h*d : (h+1)*d]
}

// rotate turns a head's vector to a position.
func (r *direct) rotate(x []float64, position int) []float64 {
	out, m := slices.Clone(x), len(r.layer.Rotary.InvFreq)
	if r.turns[position] == nil {
		for _, f := range r.layer.Rotary.InvFreq {
			s, c := math.Sincos(float64(position) * float64(f))
			r.turns[position] = append(r.turns[position], [2]float64{s * float64(r.layer.Rotary.Scale), c * float64(r.layer.Rotary.Scale)})
		}
	}
	for i, turn := range r.turns[position] {
		s, c := turn[0], turn[1]
		out[i], out[i+m] = x[i]*c-x[i+m]*s, x[i+m]*c+x[i]*s
	}
	return out
}

func (r *direct) query(t, h, position int) []float64 {
	q := r.rotate(r.head(r.q[t], h), position)
	for i, w := range r.layer.QueryWeight {
		q[i] *= float64(w)
	}
	return q
}

func dot(a, b []float64) (sum float64) {
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

func softmax(x []float64) {
	sum, most := 0.0, slices.Max(x)
	for i, v := range x {
		x[i] = math.Exp(v - most)
		sum += x[i]
	}
	for i := range x {
		x[i] /= sum
	}
}

// stored lists what a KV head stores after so many tokens were read.
func (r *direct) stored(g int) []int {
	list := slices.Clone(r.kept[g])
	for t := r.committed; t < r.read; t++ {
		list = append(list, t)
	}
	return list
}

// weights returns the attention weights of the last token read in a query head.
func (r *direct) weights(h int) map[int]float64 {
	g := h / (r.model.Base.Dims.Heads / r.model.Base.Dims.KVHeads)
	list := r.stored(g)
	n := len(list)
	from := 0
	if w := r.layer.SlidingWindow; w > 0 {
		from = max(0, n-w)
	}
	q, logits := r.query(list[n-1], h, n-1), []float64(nil)
	for place := from; place < n; place++ {
		x := float64(r.layer.AttentionScale) * dot(q, r.rotate(r.head(r.k[list[place]], g), place))
		if c := float64(r.layer.AttentionSoftcap); c > 0 {
			x = c * math.Tanh(x/c)
		}
		logits = append(logits, x)
	}
	softmax(logits)
	out := map[int]float64{}
	for i, w := range logits {
		out[list[from+i]] = w
	}
	return out
}

// watch sums up the weights of the last token read.
func (r *direct) watch() {
	group := r.model.Base.Dims.Heads / r.model.Base.Dims.KVHeads
	for g := range r.sums {
		for h := g * group; h < (g+1)*group; h++ {
			for t, w := range r.weights(h) {
				r.sums[g][t] += w
			}
		}
	}
}

// pooled is SnapKV's score: the average, or the largest, of the sums of neighbours.
func (r *direct) pooled(g, n int, largest bool) map[int]float64 {
	list, out := r.stored(g), map[int]float64{}
	for i, t := range list {
		for j := i - n/2; j <= i+n/2; j++ {
			if j < 0 || j >= len(list) {
				continue
			}
			if v := r.sums[g][list[j]]; largest {
				out[t] = max(out[t], v)
			} else {
				out[t] += v / float64(n)
			}
		}
	}
	return out
}

// distinct is KeyDiff's score.
func (r *direct) distinct(g int) map[int]float64 {
	list, out := r.stored(g), map[int]float64{}
	anchor := make([]float64, r.model.Base.Dims.HeadDim)
	keys := map[int][]float64{}
	for place, t := range list {
		k := r.rotate(r.head(r.k[t], g), place)
		keys[t] = k
		for i, v := range k {
			anchor[i] += v / math.Sqrt(dot(k, k)) / float64(len(list))
		}
	}
	for t, k := range keys {
		out[t] = -dot(k, anchor) / math.Sqrt(dot(k, k)*dot(anchor, anchor))
	}
	return out
}

// expected is the score of Expected Attention: the rotation to each of the next positions is
// applied to each query, and mean and covariance are those of their averages.
func (r *direct) expected(g int) map[int]float64 {
	d, sinks := r.model.Base.Dims, r.model.Spec.Sink
	list, out := r.stored(g), map[int]float64{}
	group := d.Heads / d.KVHeads
	for h := g * group; h < (g+1)*group; h++ {
		var turned [][]float64
		for t := sinks; t < r.read; t++ {
			average := make([]float64, d.HeadDim)
			for p := range 512 {
				for i, v := range r.query(t, h, len(list)+p) {
					average[i] += v / 512
				}
			}
			turned = append(turned, average)
		}
		var z []float64
		for place := sinks; place < len(list); place++ {
			k := r.rotate(r.head(r.k[list[place]], g), place)
			mean, square := 0.0, 0.0 // of q·k
			for _, q := range turned {
				x := float64(r.layer.AttentionScale) * dot(q, k)
				mean += x / float64(len(turned))
				square += x * x / float64(len(turned))
			}
			z = append(z, mean+(square-mean*mean)/2)
		}
		softmax(z)
		for i, w := range z {
			t := list[sinks+i]
			v := r.head(r.v[t], g)
			out[t] += w / float64(group) * math.Sqrt(dot(v, v))
		}
	}
	return out
}

// commit takes a segment in and keeps of what leaves the window the tokens with the highest
// score.
func (r *direct) commit(slots int, score func(g int) map[int]float64) {
	s := r.model.Spec
	c := r.committed + s.Segment
	next := make([][]int, len(r.kept))
	for g := range r.kept {
		list := r.stored(g)
		var sinks, candidates, window []int
		for _, t := range list {
			switch {
			case t < s.Sink:
				sinks = append(sinks, t)
			case t >= c:
			case t >= c-s.Window:
				window = append(window, t)
			default:
				candidates = append(candidates, t)
			}
		}
		if len(candidates) > slots {
			of := score(g)
			slices.SortStableFunc(candidates, func(a, b int) int { return cmp.Compare(of[b], of[a]) })
			candidates = candidates[:slots]
			slices.Sort(candidates)
		}
		next[g] = slices.Concat(sinks, candidates, window)
	}
	r.kept, r.committed = next, c
	for g := range r.sums {
		stored := r.stored(g)
		maps.DeleteFunc(r.sums[g], func(t int, _ float64) bool { return !slices.Contains(stored, t) })
	}
}

// run reads n tokens; the first call brought so many.
func (r *direct) run(p Policy, n, first, slots, short int) {
	s := r.model.Spec
	watched := map[Policy]int{PolicyH2O: s.Segment, PolicySnapKV: 32, PolicyPyramidKV: 8, PolicyTOVA: 1}[p]
	score := func(g int) map[int]float64 {
		switch p {
		case PolicySnapKV:
			return r.pooled(g, 5, false)
		case PolicyPyramidKV:
			return r.pooled(g, 7, true)
		case PolicyTOVA:
			mean := map[int]float64{}
			for g := range r.sums {
				for t, v := range r.sums[g] {
					mean[t] += v / float64(r.model.Base.Dims.Heads)
				}
			}
			return mean
		case PolicyKeyDiff:
			return r.distinct(g)
		case PolicyExpected:
			return r.expected(g)
		}
		return r.sums[g]
	}
	for t := 0; ; t++ {
		held := first <= short && t < short // more come than a short prompt has
		for !held && t-r.committed >= s.Segment {
			r.commit(slots, score)
		}
		if t == n {
			return
		}
		r.read = t + 1
		if at := t % s.Segment; watched > 0 && at >= s.Segment-watched {
			if at == s.Segment-watched && p != PolicyH2O {
				for g := range r.sums {
					clear(r.sums[g])
				}
			}
			r.watch()
		}
	}
}

// TestEvictionDirect: every policy keeps the tokens that its paper's formula says, in every
// layer and KV head, in families with capped and sliding attention and with weights on turned
// queries, whatever the text is cut into and also after a short prompt that was held.
func TestEvictionDirect(t *testing.T) {
	for _, family := range []string{"edge", "gemma2", "hunyuan"} {
		block := evictionModel(t, family, evictionBlock())
		for _, p := range []Policy{PolicyH2O, PolicySnapKV, PolicyPyramidKV, PolicyTOVA, PolicyKeyDiff, PolicyExpected} {
			m := under(t, block, p)
			ids := someIDs(m, 134)
			for _, pieces := range [][]int{{134}, {90, 1, 1, 1, 33}, {30, 7}} {
				seen, st := record(t, m, ids, pieces...)
				for i, layer := range m.Base.Layers {
					d := m.Base.Dims
					r := &direct{
						model: m, layer: layer, kept: make([][]int, d.KVHeads), turns: map[int][][2]float64{},
						q: seen[fmt.Sprint(i, "q")], k: seen[fmt.Sprint(i, "k")], v: seen[fmt.Sprint(i, "v")],
					}
					for range d.KVHeads {
						r.sums = append(r.sums, map[int]float64{})
					}
					r.run(p, len(ids), pieces[0], m.Eviction.Slots[i], m.Spec.Sink+m.Spec.Window+m.Spec.Segment)
					for g := range d.KVHeads {
						var got []int
						for row := range st.State.Parts(i).Stored() {
							got = append(got, int(st.State.Layers[i].Token[row*d.KVHeads+g]))
						}
						if want := r.stored(g); !slices.Equal(got, want) {
							t.Errorf("%s, %s, pieces %v, layer %d, KV head %d: stored %v, want %v", family, p, pieces, i, g, got, want)
						}
					}
				}
			}
		}
	}
}

// TestEvictionKeepsAll: with slots for every token, a policy is full attention, bit by bit.
func TestEvictionKeepsAll(t *testing.T) {
	s := evictionBlock()
	s.Slots = 4000
	block := evictionModel(t, "edge", s)
	ids := someIDs(block, 300)
	want := feed(t, under(t, block, PolicyFull).NewStream(model.StreamOptions{}), ids)
	for _, p := range evictionPolicies() {
		if p == PolicyPyramidKV {
			continue // gives the last layer a twentieth
		}
		if got := feed(t, under(t, block, p).NewStream(model.StreamOptions{}), ids); !slices.Equal(got, want) {
			t.Errorf("%s: other hidden states than with full attention", p)
		}
	}
}

// evictionPolicies lists those that choose the tokens of slots by a rule.
func evictionPolicies() []Policy {
	return []Policy{PolicyRandom, PolicyH2O, PolicySnapKV, PolicyPyramidKV, PolicyTOVA, PolicyKeyDiff, PolicyExpected}
}

// TestBudget: all policies but full keep what the block's bytes hold, or less by what does not
// divide, and never more, whatever has been read; slots of few layers are shared by all.
func TestBudget(t *testing.T) {
	s := evictionBlock()
	s.SlotLayers = []int{1}
	block := evictionModel(t, "edge", s)
	want := BudgetOf(block, block)
	if want.Tokens != 2*(3+5)+17 {
		t.Fatalf("the block keeps %d tokens", want.Tokens)
	}
	ids := someIDs(block, 260)
	for _, p := range Policies() {
		m := under(t, block, p)
		b := BudgetOf(block, m)
		if p == PolicyFull {
			if b != (Budget{}) {
				t.Errorf("full: budget %+v, want none", b)
			}
			continue
		}
		const token = 4 * (2*2*8 + 2) // keys, values and scores
		if lost := want.Bytes - b.Bytes; p != PolicySlots && (lost < 0 || lost >= 2*token) {
			t.Errorf("%s: %d bytes, want %d or less by two tokens at most", p, b.Bytes, want.Bytes)
		}
		st := m.NewStream(model.StreamOptions{NoRouting: true})
		most := 0
		for _, id := range ids {
			feed(t, st, []int32{id}, 1)
			stored := 0
			for i := range m.Base.Layers {
				stored += st.State.Parts(i).Stored()
				if n := len(st.State.Layers[i].Token) / m.Base.Dims.KVHeads; n < st.State.Parts(i).Stored() {
					t.Fatalf("%s: layer %d has %d rows and stores %d", p, i, n, st.State.Parts(i).Stored())
				}
			}
			most = max(most, stored)
		}
		if all := b.Tokens + len(m.Base.Layers)*(s.Segment-1); most > all || most < all-1 {
			t.Errorf("%s: at most %d tokens were stored, want %d: the budget and a segment in progress", p, most, all)
		}
	}
}

// TestBudgetBytes holds bytes to those of the edge base, written out: K = 2, H = 4, d = 8. The
// block has 7,952, which a window fills with 62 tokens of 128, two layers with 26 each beside a memory.
func TestBudgetBytes(t *testing.T) {
	block := evictionModel(t, "edge", evictionBlock())
	const token = 4 * (2*2*8 + 2) // keys, values and scores
	for p, want := range map[Policy]Budget{
		PolicyEISFT:        {50, 50*token + 2*4*2*8*9},
		PolicySlots:        {50, 50 * token},
		PolicyH2O:          {58, 58 * token},
		PolicyTOVA:         {58, 58 * token},
		PolicyExpected:     {41, 41*token + 2*4*4*9*8},
		PolicyWindow:       {62, 62 * 4 * 2 * 2 * 8},
		PolicyEdgeInfinite: {52, 52*4*2*2*8 + 2*4*2*8*9},
		PolicyInfini:       {52, 52*4*2*2*8 + 2*4*2*8*9},
	} {
		if got := BudgetOf(block, under(t, block, p)); got != want {
			t.Errorf("%s: %+v, want %+v", p, got, want)
		}
	}
}

// TestPyramid: the slots fall with depth on a line, from almost two means to a twentieth of
// one, and add up.
func TestPyramid(t *testing.T) {
	for _, tc := range []struct {
		slots, layers int
		want          []int
	}{
		{800, 4, []int{390, 263, 137, 10}}, // 390, 263.3, 136.7, 10
		{100, 1, []int{100}},
		{7, 3, []int{5, 2, 0}},
	} {
		if got := pyramid(tc.slots, tc.layers); !slices.Equal(got, tc.want) {
			t.Errorf("%d slots in %d layers: %v, want %v", tc.slots, tc.layers, got, tc.want)
		}
	}
	if got := evenly(2048, 8); !slices.Equal(got, []int{256, 256, 256, 256, 256, 256, 256, 256}) {
		t.Errorf("evenly %v", got)
	}
	if got := evenly(7, 3); !slices.Equal(got, []int{2, 2, 3}) {
		t.Errorf("evenly %v", got)
	}
}

// TestRandomPolicy: the same seed keeps the same tokens however a text is cut, another seed
// others, and KV heads and layers differ.
func TestRandomPolicy(t *testing.T) {
	block := evictionModel(t, "edge", evictionBlock())
	ids := someIDs(block, 200)
	kept := func(seed uint64, pieces ...int) [][]int32 {
		m := under(t, block, PolicyRandom)
		m.Eviction.Score = draw(seed)
		st := m.NewStream(model.StreamOptions{NoRouting: true})
		feed(t, st, ids, pieces...)
		var out [][]int32
		for i, l := range st.State.Layers {
			for g := range m.Base.Dims.KVHeads {
				var slots []int32
				for row := range st.State.Parts(i).Slots {
					slots = append(slots, l.Token[(m.Spec.Sink+row)*m.Base.Dims.KVHeads+g])
				}
				out = append(out, slots)
			}
		}
		return out
	}
	want := kept(1)
	for _, pieces := range [][]int{{200}, {1, 1, 1}, {77, 5, 60}} {
		if got := kept(1, pieces...); !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("pieces %v: kept %v, want %v", pieces, got, want)
		}
	}
	for i, other := range append(kept(2), want[1], want[2], want[3]) {
		if slices.Equal(other, want[0]) {
			t.Errorf("case %d: the same tokens %v as another seed, head or layer", i, other)
		}
	}
}

// TestEvictionState: what a policy knows of a text is saved and cloned with the rest, and is
// opened under the same policy alone.
func TestEvictionState(t *testing.T) {
	block := evictionModel(t, "edge", evictionBlock())
	ids := someIDs(block, 260)
	path := filepath.Join(t.TempDir(), "state")
	for _, p := range evictionPolicies() {
		m := under(t, block, p)
		for _, at := range []int{20, 110, 120, 155} {
			st := m.NewStream(model.StreamOptions{})
			feed(t, st, ids[:at])
			if err := st.Save(path, nil); err != nil {
				t.Fatal(err)
			}
			opened, _, err := m.OpenStream(path, model.StreamOptions{})
			if err != nil {
				t.Fatal(err)
			}
			clone := st.Clone()
			want := feed(t, st, ids[at:])
			if got := feed(t, opened, ids[at:]); !slices.Equal(got, want) {
				t.Errorf("%s: a state of %d tokens goes on otherwise from its file", p, at)
			}
			if got := feed(t, clone, ids[at:]); !slices.Equal(got, want) {
				t.Errorf("%s: a state of %d tokens goes on otherwise from a clone", p, at)
			}
		}
	}
	st := under(t, block, PolicyH2O).NewStream(model.StreamOptions{})
	feed(t, st, ids[:120])
	if err := st.Save(path, nil); err != nil {
		t.Fatal(err)
	}
	_, _, err := under(t, block, PolicyRandom).OpenStream(path, model.StreamOptions{})
	if err == nil || !strings.Contains(err.Error(), "the state was saved with slots by h2o, slots [21 21], these are by random, slots [21 21]; open it with the same policy") {
		t.Errorf("another policy: error %v", err)
	}
}

// TestEvictionPieces: whatever a text is cut into, what is stored and known of it has the same
// bits.
func TestEvictionPieces(t *testing.T) {
	for _, p := range evictionPolicies() {
		m := under(t, evictionModel(t, "edge", evictionBlock()), p)
		ids := someIDs(m, 230)
		read := func(pieces ...int) *model.State {
			st := m.NewStream(model.StreamOptions{NoRouting: true})
			feed(t, st, ids, pieces...)
			return st.Clone().State // cut to what is stored
		}
		want := read()
		for _, pieces := range [][]int{{1, 1, 1, 64}, {39, 2, 77, 3}} {
			got := read(pieces...)
			for i, l := range got.Layers {
				w := want.Layers[i]
				if !slices.Equal(l.Token, w.Token) || !slices.Equal(l.Score, w.Score) || !slices.Equal(l.Queries, w.Queries) || !slices.Equal(l.K.Floats(), w.K.Floats()) {
					t.Errorf("%s: read in pieces of %v, layer %d has another state", p, pieces, i)
				}
			}
		}
	}
}

// TestEvictionNeedsSlots: a block without slots has nothing to choose.
func TestEvictionNeedsSlots(t *testing.T) {
	s := evictionBlock()
	s.Slots = 0
	block := evictionModel(t, "edge", s)
	for _, p := range Policies() {
		_, err := WithPolicy(block, p)
		if refused := slices.Contains(evictionPolicies(), p) || p == PolicySlots; refused != (err != nil) || refused && !strings.HasPrefix(err.Error(), "policy "+string(p)+": the block has no slots") {
			t.Errorf("%s: error %v", p, err)
		}
	}
}
