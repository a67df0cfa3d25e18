package quant

import (
	"cmp"
	"fmt"
	"slices"

	"eisft/model"
)

// CacheWidth is the width that was chosen for a layer's keys or values.
type CacheWidth struct {
	Point string `json:"point"`
	Bits  int    `json:"bits"`
	// Loss is what the loss is with this point alone in 8 bits, less what it is with all in 16.
	Loss float64 `json:"loss_increase"`
}

// ChooseCache gives the keys and values of each layer 8 bits where that costs little and 16
// where it does not: with all of those that get 8 bits, the loss is at most maxIncrease above
// what it is with 16 for all. loss measures q as it is, in nats a token; it is called once for
// each point and a few times more. q is changed in place: encodings of its cache points, from
// what calibration has seen. Points whose loss rises least get 8 bits first.
func ChooseCache(m *model.Model, q *Quantized, seen *Statistics, maxIncrease float64, loss func(*Quantized) (float64, error)) ([]CacheWidth, error) {
	var list []CacheWidth
	for _, p := range points(m) {
		if p.kind == cached && q.Point(p.name) != nil {
			list = append(list, CacheWidth{Point: p.name, Bits: 16})
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("scheme %s keeps the cache in float: there is no width to choose", q.Scheme.Name)
	}
	c := &cacheChoice{q: q, seen: seen, loss: loss}
	c.set(16, list...)
	var err error
	if c.wide, err = loss(q); err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Loss, err = c.increase(list[i]); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(list, func(a, b CacheWidth) int { return cmp.Compare(a.Loss, b.Loss) })
	narrow, err := c.longest(list, maxIncrease)
	if err != nil {
		return nil, err
	}
	c.set(8, list[:narrow]...)
	for i := range list[:narrow] {
		list[i].Bits = 8
	}
	return list, nil
}

// cacheChoice is one call of ChooseCache.
type cacheChoice struct {
	q    *Quantized
	seen *Statistics
	loss func(*Quantized) (float64, error)
	wide float64 // the loss with 16 bits for all
}

// set gives points a width.
func (c *cacheChoice) set(bits int, list ...CacheWidth) {
	for _, w := range list {
		p, o := c.q.Point(w.Point), c.seen.observers[w.Point]
		f := c.q.Scheme.Cache
		f.Bits = bits
		p.Encoding = c.q.Range.encode(o, f)
		p.see(o)
	}
}

// increase measures what the loss rises by where some have 8 bits and all others 16.
func (c *cacheChoice) increase(narrow ...CacheWidth) (float64, error) {
	c.set(8, narrow...)
	defer c.set(16, narrow...)
	loss, err := c.loss(c.q)
	return loss - c.wide, err
}

// longest finds by bisection how many of the first can have 8 bits together.
func (c *cacheChoice) longest(list []CacheWidth, most float64) (int, error) {
	lo, hi := 0, len(list)
	for lo < hi {
		n := (lo + hi + 1) / 2
		increase, err := c.increase(list[:n]...)
		if err != nil {
			return 0, err
		}
		if increase <= most {
			lo = n
		} else {
			hi = n - 1
		}
	}
	return lo, nil
}
