package encoding

import "math"

// FindMultiples takes the block scales of a matrix [rows,cols] apart into one float scale for
// each channel, the other axis than that of the blocks, and whole multiples of it, 1 to
// MaxMultiple, in the order of Scales; ok is false where they are no such multiples.
// (Low-power blockwise quantization: AIMET, encoding format specification, section 2.2.)
func (e Encoding) FindMultiples(rows, cols int) (steps []float32, multiples []int, ok bool) {
	if e.Block == 0 || e.Axis > 1 {
		return nil, nil, false
	}
	channels, blocks := cols, rows/e.Block
	at := func(c, b int) int { return b*cols + c }
	if e.Axis == 1 {
		channels, blocks = rows, cols/e.Block
		at = func(c, b int) int { return c*blocks + b }
	}
	multiples = make([]int, len(e.Scales))
	for c := range channels {
		step, ok := e.step(blocks, func(b int) int { return at(c, b) }, multiples)
		if !ok {
			return nil, nil, false
		}
		steps = append(steps, step)
	}
	return steps, multiples, true
}

// step finds the number that the scales of a channel's blocks are multiples of: the
// largest of them is 1 to MaxMultiple times it.
func (e Encoding) step(blocks int, at func(block int) int, multiples []int) (float32, bool) {
	largest := float32(0)
	for b := range blocks {
		largest = max(largest, e.Scales[at(b)])
	}
	for k := 1; k <= MaxMultiple; k++ {
		// The quotient may be a unit in the last place beside what it was.
		quotient := largest / float32(k)
		for _, step := range []float32{quotient, math.Nextafter32(quotient, 0), math.Nextafter32(quotient, math.MaxFloat32)} {
			exact := true
			for b := range blocks {
				m := int(math.Round(float64(e.Scales[at(b)] / step)))
				multiples[at(b)] = m
				exact = exact && m >= 1 && float32(m)*step == e.Scales[at(b)]
			}
			if exact {
				return step, true
			}
		}
	}
	return 0, false
}
