package train

import (
	"slices"

	"eisft/internal/ranks"
	"eisft/model"
	"eisft/model/kernels"
)

// Gradients of a batch are summed by pairs of samples, pairs of pairs and so on, which
// depends on the samples' places in the batch and on nothing else: one process and any
// number of ranks get the same bits. A rank sends the sums of the longest such runs that
// its samples hold, so that it sends little more than one sum however many samples it has.

// span is samples of a batch that are summed up together: [Lo, Lo+N), N a power of two that
// divides Lo.
type span struct{ Lo, N int }

// joins says whether two neighbours are the halves of one span.
func (s span) joins(next span) bool { return s.N == next.N && s.Lo%(2*s.N) == 0 }

// partial is the sum of the gradients of a span.
type partial struct {
	span
	sum []float32
}

// sums are partial sums of neighbours, none of which join.
type sums []partial

// add appends the next neighbour and joins what joins. It writes into the sums that it has.
func (s sums) add(p partial) sums {
	for len(s) > 0 && s[len(s)-1].joins(p.span) {
		last := s[len(s)-1]
		if p.sum != nil {
			kernels.Add(last.sum, p.sum)
		}
		p = partial{span{last.Lo, 2 * last.N}, last.sum}
		s = s[:len(s)-1]
	}
	return append(s, p)
}

// total adds what is left, from the last one on, into the first one and returns that.
func (s sums) total() []float32 {
	for i := len(s) - 1; i > 0; i-- {
		kernels.Add(s[i-1].sum, s[i].sum)
	}
	return s[0].sum
}

// spans are those of the samples [lo, hi) of a batch.
func spans(lo, hi int) []span {
	var s sums
	for i := lo; i < hi; i++ {
		s = s.add(partial{span: span{i, 1}})
	}
	out := make([]span, len(s))
	for i, p := range s {
		out[i] = p.span
	}
	return out
}

// exchangeChunk is how many values of a sum the ranks exchange at once, which bounds the memory
// for those that are on their way.
const exchangeChunk = 1 << 22

// sumOverRanks returns the sum over a batch of n samples, of size values, of which this rank
// has the sums of its share. Each rank adds up a part of the values for all of them: a rank
// sends and receives about two sums, however many ranks there are. They exchange chunk values
// at once.
func sumOverRanks(g ranks.Group, mine sums, n, size, chunk int) ([]float32, error) {
	if g.Size() == 1 {
		return mine.total(), nil
	}
	out := make([]float32, size)
	for lo := 0; lo < size; lo += chunk {
		hi := min(lo+chunk, size)
		if err := sumChunk(g, mine, n, out[lo:hi], lo); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// sumChunk fills out with the values of the sum from lo on.
func sumChunk(g ranks.Group, mine sums, n int, out []float32, lo int) error {
	size := g.Size()
	send, receive, parts := make([][]float32, size), make([][]float32, size), make([][]span, size)
	from, to := ranks.Share(g.Rank(), size, len(out)) // which this rank adds up
	for rank := range size {
		at, end := ranks.Share(rank, size, len(out))
		for _, p := range mine {
			send[rank] = append(send[rank], p.sum[lo+at:lo+end]...)
		}
		parts[rank] = spans(ranks.Share(rank, size, n))
		receive[rank] = make([]float32, len(parts[rank])*(to-from))
	}
	if err := g.Exchange(send, receive); err != nil {
		return err
	}
	var all sums
	for rank, rest := range receive {
		for _, s := range parts[rank] {
			all = all.add(partial{s, rest[:to-from]})
			rest = rest[to-from:]
		}
	}
	total := all.total()
	for rank := range size {
		at, end := ranks.Share(rank, size, len(out))
		send[rank], receive[rank] = total, out[at:end]
	}
	return g.Exchange(send, receive)
}

// flat returns the gradients of the trained groups one after the other.
func flat(grads *model.Params, trained []model.Group) []float32 {
	out := make([]float32, 0, trainedValues(grads, trained))
	for _, p := range grads.List() {
		if slices.Contains(trained, p.Group) {
			out = append(out, p.Data...)
		}
	}
	return out
}

// trainedValues is the length of what flat returns.
func trainedValues(p *model.Params, trained []model.Group) int {
	n := 0
	for _, q := range p.List() {
		if slices.Contains(trained, q.Group) {
			n += len(q.Data)
		}
	}
	return n
}

// unflat puts values that flat has returned back; the other gradients become zero.
func unflat(grads *model.Params, trained []model.Group, values []float32) {
	for _, p := range grads.List() {
		clear(p.Data)
		if slices.Contains(trained, p.Group) {
			values = values[copy(p.Data, values):]
		}
	}
}
