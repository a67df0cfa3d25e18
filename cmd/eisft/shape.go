package main

import (
	"fmt"
	"strconv"
	"strings"
)

// shape is the fixed shape of an exported pair of graphs.
type shape struct {
	Tokens int // T, new tokens of the prompt graph
	Cache  int // C, places of the cache
}

// parseShape reads "512x2048".
func parseShape(s string) (shape, error) {
	tokens, cache, _ := strings.Cut(s, "x")
	t, errT := strconv.Atoi(tokens)
	c, errC := strconv.Atoi(cache)
	if errT != nil || errC != nil || t < 1 || c < 1 {
		return shape{}, fmt.Errorf("--shape %q: want TxC, the new tokens and the places of the cache with an x between them, such as 512x2048", s)
	}
	if c < t {
		return shape{}, fmt.Errorf("--shape %q: the cache holds %d tokens, but it must have room for the %d of a segment beside sinks, slots and window; did you mean %dx%d?", s, c, t, c, t)
	}
	return shape{t, c}, nil
}
