package quant

import (
	"encoding/hex"
	"maps"
	"math/bits"
	"slices"

	"eisft/internal/ranks"
)

// mine says whether a sample, or another piece of work, is this rank's: ranks take turns, since how many
// there are is not always known beforehand.
func mine(g ranks.Group, sample int) bool { return sample%g.Size() == g.Rank() }

// share is how many pieces of work of n are this rank's.
func share(g ranks.Group, n int) int { return (n - g.Rank() + g.Size() - 1) / g.Size() }

// inTurn puts together what each rank has found of its samples, of n.
func inTurn[T any](g ranks.Group, found []T, n int) ([]T, error) {
	all, err := ranks.Meet(g, found)
	if err != nil {
		return nil, err
	}
	out := make([]T, n)
	for i := range out {
		out[i] = all[i%g.Size()][i/g.Size()]
	}
	return out, nil
}

// everyone gives all ranks what each has: parts[i] is rank i's, and as long on all of them; this rank's
// own is filled. A rank that has failed before says so in place of its part.
func everyone(g ranks.Group, parts [][]float32) error {
	if g.Size() == 1 {
		return nil
	}
	if _, err := ranks.Meet(g, true); err != nil {
		return err
	}
	send, receive := slices.Repeat([][]float32{parts[g.Rank()]}, g.Size()), slices.Clone(parts)
	send[g.Rank()], receive[g.Rank()] = nil, nil
	if err := g.Exchange(send, receive); err != nil {
		return ranks.Lost(err)
	}
	return nil
}

// read is what a rank has read, and what its streams were like at the end of its samples.
type read struct {
	Slots   int
	Evicted bool
}

// meet adds what the other ranks have observed, point by point, which bounds what is on its way.
func (c *calibrator) meet(g ranks.Group) error {
	if g.Size() == 1 {
		return nil
	}
	if err := ranks.Agree(g, []ranks.Input{{Name: "a base", Sum: c.model.Base.Identity()}, {Name: "samples of calibration", Sum: hex.EncodeToString(c.hash.Sum(nil))}}); err != nil {
		return err
	}
	all, err := ranks.Meet(g, read{c.slots, c.evicted})
	if err != nil {
		return err
	}
	for _, r := range all {
		c.slots, c.evicted = max(c.slots, r.Slots), c.evicted || r.Evicted
	}
	for _, point := range slices.Sorted(maps.Keys(c.stats.observers)) {
		o := c.stats.observers[point]
		all, err := ranks.Meet(g, o.counts())
		if err != nil {
			return err
		}
		sum := &Observer{}
		for _, n := range all {
			sum.add(n)
		}
		c.stats.observers[point] = sum
	}
	return nil
}

// counts is an observer as ranks tell it: pages by sign and exponent.
type counts struct {
	Min, Max, LeastMax float32
	Count              uint64
	Pages              [2]map[uint8][]uint64
}

func (o *Observer) counts() counts {
	c := counts{Min: o.Min, Max: o.Max, LeastMax: o.LeastMax, Count: o.Count}
	for sign := range o.pages {
		c.Pages[sign] = map[uint8][]uint64{}
		for i, page := range o.pages[sign] {
			if page != nil {
				c.Pages[sign][uint8(i)] = page[:]
			}
		}
	}
	return c
}

// add adds what another observer has seen.
func (o *Observer) add(c counts) {
	if c.Count == 0 {
		return
	}
	if o.Count == 0 {
		o.Min, o.Max, o.LeastMax = c.Min, c.Max, c.LeastMax
	}
	o.Min, o.Max, o.LeastMax = min(o.Min, c.Min), max(o.Max, c.Max), min(o.LeastMax, c.LeastMax)
	o.Count += c.Count
	for sign, pages := range c.Pages {
		for i, page := range pages {
			if o.pages[sign][i] == nil {
				o.pages[sign][i] = new([binsPerPage]uint64)
			}
			for b, n := range page {
				o.pages[sign][i][b] += n
			}
		}
	}
}

// channelSums are what a rank has collected of a point.
type channelSums struct {
	Most []float32
	Sum  [][2]uint64
	Keys []uint64
	Rows []float32
	Bad  bool
}

// meet adds what the other ranks have collected. Sums are whole numbers, and of the rows those
// with the smallest keys stay, which are the ones that one process keeps.
func (c *collector) meet(g ranks.Group) error {
	if g.Size() == 1 {
		return nil
	}
	for _, point := range slices.Sorted(maps.Keys(c.points)) {
		p := c.points[point]
		all, err := ranks.Meet(g, channelSums{p.most, p.sum, p.keys, p.rows, p.bad})
		if err != nil {
			return err
		}
		*p = collected{most: make([]float32, len(p.most)), sum: make([][2]uint64, len(p.most)), n: p.n}
		for _, s := range all {
			p.merge(s)
		}
	}
	return nil
}

// merge adds what a rank has collected.
func (p *collected) merge(s channelSums) {
	p.bad = p.bad || s.Bad
	width := len(p.most)
	for i := range width {
		p.most[i] = max(p.most[i], s.Most[i])
		var carry uint64
		p.sum[i][1], carry = bits.Add64(p.sum[i][1], s.Sum[i][1], 0)
		p.sum[i][0] += s.Sum[i][0] + carry
	}
	for i, key := range s.Keys {
		p.keep(s.Rows[i*width:(i+1)*width], key)
	}
}
