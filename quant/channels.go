package quant

import (
	"context"
	"fmt"
	"iter"
	"math"
	"math/bits"
	"slices"
	"sync"

	"eisft/data"
	"eisft/internal/ranks"
	"eisft/model"
	"eisft/model/kernels"
)

// Channels are statistics of what maps read, for each channel of the input points (the
// head's included): what transforms are chosen from.
type Channels struct {
	Samples, Tokens int
	points          map[string]*Channel
}

// Channel are the statistics of one point with In channels.
type Channel struct {
	Max  []float32 // max |x| [In]
	Mean []float32 // mean |x| [In]
	Rows []float32 // some of the tokens' values [n,In]
}

// A point's sample of rows has at most sampleRows rows and about sampleFloats numbers: 1 MiB
// for each point, and there are four a layer.
const (
	sampleRows   = 256
	sampleFloats = 1 << 18
)

// sampleSize is the number of rows that are kept of a point.
func sampleSize(channels int) int { return min(sampleRows, max(16, sampleFloats/channels)) }

// CollectChannels streams samples through the float model, as [Calibrate] does, and returns
// the statistics of what its maps read. The tokens whose rows are kept are chosen by a hash
// of their place, the same at all points; so the result depends on the samples alone, not on
// the order in which cores come. Memory: 20 bytes a channel, and at most 1 MiB (16 rows of
// wide points) for the rows of a point: 100 MiB for a model of 24 layers. Samples whose
// context does not fill a segment are left out.
func CollectChannels(ctx context.Context, m *model.Model, samples iter.Seq2[data.Encoded, error]) (*Channels, error) {
	return collectChannels(ctx, m, samples, ranks.Alone{})
}

// collectChannels is CollectChannels by several ranks, each of which streams its share of the
// samples. All get the statistics that one process gets of all of them.
func collectChannels(ctx context.Context, m *model.Model, samples iter.Seq2[data.Encoded, error], g ranks.Group) (*Channels, error) {
	c, long := newCollector(m), longEnough{segment: m.Spec.Segment}
	for s, err := range long.of(samples) {
		if err != nil {
			return nil, err
		}
		if mine(g, long.taken-1) {
			if err := c.sample(ctx, s); err != nil {
				return nil, fmt.Errorf("%s: %w", s.Where, err)
			}
		}
		c.samples++
		c.tokens += len(s.IDs)
	}
	if err := c.meet(g); err != nil {
		return nil, err
	}
	if err := long.missing(); err != nil {
		return nil, err
	}
	return c.finish()
}

// collector is one call of CollectChannels.
type collector struct {
	taps            *taps
	model           *model.Model
	points          map[string]*collected
	samples, tokens int
}

// collected is what a point has shown so far. Sums are whole numbers of 2⁻⁴⁰, in 128 bits,
// so that they do not depend on the order of the terms.
type collected struct {
	sync.Mutex
	most []float32
	sum  [][2]uint64 // high and low
	keys []uint64    // of the rows kept
	rows []float32
	n    int // rows that are kept at most
	last int // the kept row with the largest key
	bad  bool
}

const sumUnit = 1 << 40

func newCollector(m *model.Model) *collector {
	c := &collector{model: m, taps: newTaps(m, false, false, func(string, []float32) {}), points: map[string]*collected{}}
	add := func(point string, channels int) {
		c.points[point] = &collected{most: make([]float32, channels), sum: make([][2]uint64, channels), n: sampleSize(channels)}
	}
	for _, l := range m.Base.Layers {
		for role, w := range l.Maps() {
			if role == role.FirstReader() {
				add(in(w.Name), w.In)
			}
		}
	}
	add(HeadInput, m.Base.Head.In)
	return c
}

// sample reads one sample. What the head reads are the hidden states that come out.
func (c *collector) sample(ctx context.Context, s data.Encoded) error {
	st := c.model.NewStream(model.StreamOptions{Wrap: func(o model.Ops[[]float32], first int) model.Ops[[]float32] {
		return newTaps(c.model, false, false, func(point string, x []float32) {
			if p := c.points[point]; p != nil {
				p.add(x, c.samples, first)
			}
		}).wrap(o, first)
	}})
	return st.Feed(ctx, s.IDs, 0, func(first int, hidden []float32) error {
		c.points[HeadInput].add(hidden, c.samples, first)
		return nil
	})
}

// add takes up rows of tokens of a sample, the first of which is the first-th.
func (p *collected) add(x []float32, sample, first int) {
	p.Lock()
	defer p.Unlock()
	for t := 0; len(x) > 0; t++ {
		row := x[:len(p.most)]
		x = x[len(row):]
		for i, v := range row {
			a := float32(math.Abs(float64(v)))
			if !(a < 1<<23) { // as large, it is no number, or useless
				p.bad = true
				continue
			}
			p.most[i] = max(p.most[i], a)
			var carry uint64
			p.sum[i][1], carry = bits.Add64(p.sum[i][1], uint64(float64(a)*sumUnit), 0)
			p.sum[i][0] += carry
		}
		p.keep(row, placeKey(sample, first+t))
	}
}

// keep keeps the row if its key is among the smallest.
func (p *collected) keep(row []float32, key uint64) {
	if len(p.keys) < p.n {
		p.keys, p.rows = append(p.keys, key), append(p.rows, row...)
		if key > p.keys[p.last] {
			p.last = len(p.keys) - 1
		}
		return
	}
	if key >= p.keys[p.last] {
		return
	}
	p.keys[p.last] = key
	copy(p.rows[p.last*len(row):], row)
	for i, k := range p.keys {
		if k > p.keys[p.last] {
			p.last = i
		}
	}
}

// placeKey is a hash of a token's place (the finalizer of SplitMix64).
func placeKey(sample, token int) uint64 {
	x := uint64(sample)<<32 + uint64(token) + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// finish turns what was collected into statistics.
func (c *collector) finish() (*Channels, error) {
	out := &Channels{Samples: c.samples, Tokens: c.tokens, points: map[string]*Channel{}}
	for name, p := range c.points {
		if p.bad {
			err := fmt.Errorf("activation %s holds NaN, infinity or numbers beyond 8e6", name)
			if damage := c.model.Damage(); damage != nil {
				err = fmt.Errorf("%w: %w", err, damage)
			}
			return nil, err
		}
		ch := &Channel{Max: p.most, Mean: make([]float32, len(p.most))}
		for i, s := range p.sum {
			ch.Mean[i] = float32((float64(s[0])*(1<<64) + float64(s[1])) / sumUnit / float64(c.tokens))
		}
		order, width := make([]int, len(p.keys)), len(p.most)
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(a, b int) int {
			if p.keys[a] < p.keys[b] {
				return -1
			}
			return 1
		})
		for _, i := range order {
			ch.Rows = append(ch.Rows, p.rows[i*width:(i+1)*width]...)
		}
		out.points[name] = ch
	}
	return out, nil
}

// after is what c would be of the model that a step has made of one with the base b. Of
// points that were rotated, maximum and mean are those of the rows that were kept.
func (c *Channels) after(b *model.Base, s *Step) *Channels {
	out := &Channels{Samples: c.Samples, Tokens: c.Tokens, points: map[string]*Channel{}}
	for name, ch := range c.points {
		out.points[name] = ch
	}
	for _, place := range seams(b) {
		if scales := s.Scales[place.point]; scales != nil {
			wide := place.spread(scales)
			ch := c.points[place.point]
			out.points[place.point] = &Channel{quotient(ch.Max, wide), quotient(ch.Mean, wide), dividedRows(ch.Rows, wide)}
		}
	}
	if s.Residual != nil {
		d := b.Dims.Hidden
		out.turn(HeadInput, b.Norm, s.Residual, d)
		for _, l := range b.Layers {
			out.turn(in(l.Q.Name), l.InputNorm, s.Residual, d)
			out.turn(in(l.Gate.Name), l.PostAttentionNorm, s.Residual, d)
		}
	}
	for i, r := range s.Values {
		out.turnHeads(in(b.Layers[i].O.Name), r, b.Dims)
	}
	return out
}

// dividedRows is each row of x divided by s.
func dividedRows(x, s []float32) []float32 {
	out := make([]float32, 0, len(x))
	for row := range slices.Chunk(x, len(s)) {
		out = append(out, quotient(row, s)...)
	}
	return out
}

// turn takes the weights of a norm off the rows of a point, and rotates them.
func (c *Channels) turn(point string, n *model.Norm, q []float32, d int) {
	rows := unweighed(c.points[point].Rows, n)
	turned := make([]float32, len(rows))
	kernels.Gemm(false, false, len(rows)/d, d, d, 1, rows, d, q, d, 0, turned, d)
	c.points[point] = statistics(turned, d)
}

// turnHeads rotates the heads' values in the rows of an output projection's input.
func (c *Channels) turnHeads(point string, r []float32, dims model.Dims) {
	d, width := dims.HeadDim, dims.Heads*dims.HeadDim
	rows := c.points[point].Rows
	turned := make([]float32, len(rows))
	for h := range dims.Heads {
		kv := h / (dims.Heads / dims.KVHeads)
		kernels.Gemm(false, false, len(rows)/width, d, d, 1, rows[h*d:], width, r[kv*d*d:], d, 0, turned[h*d:], width)
	}
	c.points[point] = statistics(turned, width)
}

// statistics are those of rows [n,width].
func statistics(rows []float32, width int) *Channel {
	ch := &Channel{Max: make([]float32, width), Mean: make([]float32, width), Rows: rows}
	n := float32(len(rows) / width)
	for row := range slices.Chunk(rows, width) {
		for i, v := range row {
			a := float32(math.Abs(float64(v)))
			ch.Max[i] = max(ch.Max[i], a)
			ch.Mean[i] += a / n
		}
	}
	return ch
}
