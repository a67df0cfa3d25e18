package tokenizer

import "strings"

const (
	maxCachedWord  = 64      // bytes; longer words rarely come again
	maxCachedWords = 1 << 16 // then the cache starts anew
	maxLinear      = 48      // symbols; longer words are merged with a heap
)

// encoder is one goroutine's working memory for merging words, with the tokens of
// the words that it has met.
type encoder struct {
	model *bpe
	cache map[string]span
	ids   []int32 // what the spans of the cache point into

	symbols []int32
	pairs   []uint64 // linear: merge of symbols i and i+1
	links   links
	queue   queue
}

type span struct{ from, to int }

func newEncoder(m *bpe) *encoder { return &encoder{model: m, cache: map[string]span{}} }

// word appends the tokens of word to ids.
func (e *encoder) word(ids []int32, word string) []int32 {
	if e.model.byteLevel || e.model.ignoreMerges {
		return e.part(ids, word)
	}
	for word != "" {
		n := e.model.cut(word)
		ids = e.part(ids, word[:n])
		word = word[n:]
	}
	return ids
}

// part is word for what is merged as a whole.
func (e *encoder) part(ids []int32, part string) []int32 {
	if s, ok := e.cache[part]; ok {
		return append(ids, e.ids[s.from:s.to]...)
	}
	merged := e.merge(part)
	if len(part) <= maxCachedWord {
		if len(e.cache) >= maxCachedWords {
			clear(e.cache)
			e.ids = e.ids[:0]
		}
		from := len(e.ids)
		e.ids = append(e.ids, merged...)
		e.cache[strings.Clone(part)] = span{from, len(e.ids)}
	}
	return append(ids, merged...)
}

// merge returns the tokens of part; they are overwritten by the next call.
func (e *encoder) merge(part string) []int32 {
	if e.model.ignoreMerges {
		spelling := part
		if e.model.byteLevel {
			spelling = toByteChars(part)
		}
		if id, ok := e.model.vocab[spelling]; ok {
			e.symbols = append(e.symbols[:0], id)
			return e.symbols
		}
	}
	e.symbols = e.model.symbols(e.symbols[:0], part)
	if len(e.symbols) <= maxLinear {
		e.mergeLinear()
	} else {
		e.mergeQueued()
	}
	return e.symbols
}

// mergeLinear looks through all pairs for each merge: quadratic, but the fastest
// way for a word's few symbols.
func (e *encoder) mergeLinear() {
	sym, pairs := e.symbols, e.pairs[:0]
	for i := 1; i < len(sym); i++ {
		pairs = append(pairs, e.model.merge(sym[i-1], sym[i]))
	}
	e.pairs = pairs
	for len(pairs) > 0 {
		best := 0
		for i, p := range pairs {
			if p < pairs[best] {
				best = i
			}
		}
		if pairs[best] == noMerge {
			break
		}
		sym[best] = int32(uint32(pairs[best]))
		sym = append(sym[:best+1], sym[best+2:]...)
		pairs = append(pairs[:best], pairs[best+1:]...)
		if best > 0 {
			pairs[best-1] = e.model.merge(sym[best-1], sym[best])
		}
		if best < len(pairs) {
			pairs[best] = e.model.merge(sym[best], sym[best+1])
		}
	}
	e.symbols = sym
}

// links chains the symbols that are left, by index; -1 ends the chain.
type links struct{ prev, next []int32 }

func (l *links) reset(n int) {
	l.prev, l.next = l.prev[:0], l.next[:0]
	for i := range n {
		l.prev = append(l.prev, int32(i-1))
		l.next = append(l.next, int32(i+1))
	}
	l.next[n-1] = -1
}

// mergeQueued takes the merges from a heap ordered by rank, then position. An entry
// whose pair has changed since is stale and skipped: a changed pair is longer, so
// its rank is another.
func (e *encoder) mergeQueued() {
	sym := e.symbols
	e.links.reset(len(sym))
	prev, next := e.links.prev, e.links.next
	e.queue = e.queue[:0]
	for i := 1; i < len(sym); i++ {
		e.propose(int32(i-1), int32(i))
	}
	for len(e.queue) > 0 {
		rank, left := e.queue.pop()
		right := next[left]
		if right < 0 || sym[left] < 0 {
			continue
		}
		m := e.model.merge(sym[left], sym[right])
		if m>>32 != rank {
			continue
		}
		sym[left], sym[right] = int32(uint32(m)), -1
		next[left] = next[right]
		if r := next[left]; r >= 0 {
			prev[r] = left
			e.propose(left, r)
		}
		if l := prev[left]; l >= 0 {
			e.propose(l, left)
		}
	}
	kept := sym[:0]
	for i := int32(0); i >= 0; i = next[i] {
		kept = append(kept, sym[i])
	}
	e.symbols = kept
}

// propose queues the merge of two neighbours, if there is one.
func (e *encoder) propose(left, right int32) {
	if m := e.model.merge(e.symbols[left], e.symbols[right]); m != noMerge {
		e.queue.push(m>>32, left)
	}
}

// queue is a binary min-heap of rank<<32 | position.
type queue []uint64

func (q *queue) push(rank uint64, at int32) {
	h := append(*q, rank<<32|uint64(uint32(at)))
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if h[up] <= h[i] {
			break
		}
		h[up], h[i] = h[i], h[up]
		i = up
	}
	*q = h
}

func (q *queue) pop() (rank uint64, at int32) {
	h := *q
	top, last := h[0], len(h)-1
	h[0] = h[last]
	h = h[:last]
	for i := 0; ; {
		least := i
		for _, c := range [2]int{2*i + 1, 2*i + 2} {
			if c < last && h[c] < h[least] {
				least = c
			}
		}
		if least == i {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	*q = h
	return top >> 32, int32(uint32(top))
}
