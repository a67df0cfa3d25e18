package data

// mixture says how often samples are drawn: n of them, in groups that have a share of all draws
// each, or without groups all alike.
type mixture struct {
	n      int
	groups []group
}

// group are samples that are drawn by one share.
type group struct {
	samples []int
	share   float64 // of all samples that are drawn; the shares of all groups make 1
}

// order is that of an epoch: as many draws as there are samples. Each group gives its share of
// them, from where the epoch before has left the endless sequence of the group's own shuffled
// epochs. So however small its share is, all of its samples come in turn, and none comes
// again before all others of the group have. It depends on nothing but the arguments.
func (m mixture) order(seed uint64, epoch int) []int {
	if len(m.groups) == 0 {
		return Order(seed, epoch, m.n)
	}
	var drawn []int
	for k, g := range m.groups {
		drawn = g.draw(drawn, seed+uint64(k+1)*groupSeed, m.upTo(g, epoch), m.upTo(g, epoch+1))
	}
	order := Order(seed, epoch, len(drawn))
	for i, at := range order {
		order[i] = drawn[at]
	}
	return order
}

// groupSeed is odd and has as many ones as zeros, so that seeds of groups are far apart.
const groupSeed = 0x9e3779b97f4a7c15

// upTo is how many of a group are drawn in the first so many epochs.
func (m mixture) upTo(g group, epochs int) int {
	return int(float64(epochs) * float64(m.n) * g.share)
}

// draw appends the samples at places from to to of the group's sequence.
func (g group) draw(drawn []int, seed uint64, from, to int) []int {
	n := len(g.samples)
	for at := from; at < to; {
		epoch := at / n
		order := Order(seed, epoch, n)
		for ; at < min(to, (epoch+1)*n); at++ {
			drawn = append(drawn, g.samples[order[at-epoch*n]])
		}
	}
	return drawn
}

// mixture is that of samples in use: of entries without weights one of all alike.
func (s *Source) mixture(use []Piece) mixture {
	m := mixture{n: len(use)}
	byEntry := make([][]int, len(s.entries))
	for i, p := range use {
		e := s.entry(p.Row)
		if s.entries[e].weight == 0 {
			return m
		}
		byEntry[e] = append(byEntry[e], i)
	}
	shares := s.shares(func(e int) int { return len(byEntry[e]) })
	for e, samples := range byEntry {
		if len(samples) > 0 {
			m.groups = append(m.groups, group{samples, shares[e]})
		}
	}
	return m
}

// shares are what the entries, of so many samples each, have of all that is drawn: by their weights,
// or where they have none by their samples.
func (s *Source) shares(samples func(entry int) int) []float64 {
	list, sum := make([]float64, len(s.entries)), 0.0
	for e, entry := range s.entries {
		if n := samples(e); n > 0 && entry.weight > 0 {
			list[e] = entry.weight
		} else {
			list[e] = float64(n)
		}
		sum += list[e]
	}
	for e := range list {
		list[e] /= sum
	}
	return list
}

// Portion is what an entry of a set has of the samples in use.
type Portion struct {
	Path    string  // or pattern
	Weight  float64 // 0: it has none
	Samples int
	Tokens  int
	Share   float64 // of all that are drawn
}

// Portions lists those of the entries. lengths are the tokens of each sample.
func (s *Source) Portions(use []Piece, lengths []int) []Portion {
	list := make([]Portion, len(s.entries))
	for e, entry := range s.entries {
		list[e] = Portion{Path: entry.path, Weight: entry.weight}
	}
	for i, p := range use {
		e := s.entry(p.Row)
		list[e].Samples++
		list[e].Tokens += lengths[i]
	}
	for e, share := range s.shares(func(e int) int { return list[e].Samples }) {
		list[e].Share = share
	}
	return list
}
