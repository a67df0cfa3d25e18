package bench

import "eisft/model"

// counter counts the floating-point operations of matrix products, two for each
// multiplication with its addition, from shapes alone. Norms, exponentials and
// sums of rows are not counted, nor is what is computed twice or masked out.
type counter struct {
	*model.Model
}

// maps are the frozen maps of a layer for each token.
func (c counter) maps() float64 {
	n := 0
	for _, l := range c.Base.Layers[0].Maps() {
		n += 2 * l.In * l.Out
	}
	return float64(n)
}

// head are the logits of a number of rows.
func (c counter) head(rows int) float64 { return float64(2 * rows * c.Base.Head.In * c.Base.Head.Out) }

// attention is one layer's softmax attention of new tokens over `past` stored
// ones and themselves: scores and values.
func (c counter) attention(tokens, past int) float64 {
	pairs := tokens*past + tokens*(tokens+1)/2
	return float64(4 * c.Base.Dims.Heads * c.Base.Dims.HeadDim * pairs)
}

// read is one layer's look-up in the memory and its gate.
func (c counter) read(tokens int) float64 {
	d := c.Base.Dims
	return float64(tokens * d.Heads * (c.features() + c.product() + 2*d.HeadDim))
}

// write takes up tokens in one layer's memory.
func (c counter) write(tokens int) float64 {
	return float64(tokens * c.Base.Dims.KVHeads * (c.features() + c.product()))
}

// features is the feature map of a token and head.
func (c counter) features() int {
	if c.Spec.Feature != model.FeatureHedgehog {
		return 0
	}
	return c.Base.Dims.HeadDim * c.Spec.FeatureSize(c.Base.Dims.HeadDim) // 2·d·f, and F = 2f
}

// product is that of a token's features with the memory, or with its value.
func (c counter) product() int {
	return 2 * c.Spec.FeatureSize(c.Base.Dims.HeadDim) * (c.Base.Dims.HeadDim + 1)
}

// scores are one layer's retention scores.
func (c counter) scores(tokens int) float64 {
	if !c.Spec.HasScore() {
		return 0
	}
	return float64(2 * tokens * c.Base.Dims.Hidden * c.Base.Dims.KVHeads)
}

// stretch is what a stream reads at once.
type stretch struct {
	tokens, past int  // new ones, and those stored before
	memory       bool // is in use
	written      int  // tokens that the stretch's end writes to the memory
}

// walk returns the stretches of a stream.
func (c counter) walk(tokens int, soft bool) []stretch {
	parts, memory, slots := model.Parts{}, false, c.Spec.Slots
	if soft {
		slots = tokens
	}
	var out []stretch
	for tokens > 0 {
		s := stretch{tokens: min(c.Spec.Segment, tokens), past: parts.Stored(), memory: memory && c.Spec.HasMemory()}
		tokens -= s.tokens
		if parts.Recent = s.tokens; s.tokens == c.Spec.Segment {
			next, turnover := parts.Commit(c.Spec, s.tokens, slots)
			parts, memory = next, memory || turnover.Leavers > 0
			if s.written = turnover.Candidates - turnover.Keep; soft {
				s.written = turnover.Leavers
			}
		}
		out = append(out, s)
	}
	return out
}

// forward reads tokens as a stream for the last layer's output from one on.
func (c counter) forward(tokens, from int, soft bool) float64 {
	sum, layers, first := 0.0, float64(len(c.Base.Layers)), 0
	for _, s := range c.walk(tokens, soft) {
		state := c.scores(s.tokens)
		if c.Spec.HasMemory() {
			state += c.write(s.written)
		}
		skipped := min(max(from-first, 0), s.tokens)
		seen := s
		seen.tokens, seen.past = s.tokens-skipped, s.past+skipped
		sum += layers*state + (layers-1)*c.output(s) + c.output(seen) + float64(skipped)*c.keysAndValues()
		first += s.tokens
	}
	return sum
}

// output is what one layer computes of a stretch beside what its state takes up.
func (c counter) output(s stretch) float64 {
	sum := c.maps()*float64(s.tokens) + c.attention(s.tokens, s.past)
	if s.memory {
		sum += c.read(s.tokens)
	}
	return sum
}

// keysAndValues are the maps of a token that only leaves these.
func (c counter) keysAndValues() float64 {
	l := c.Base.Layers[0]
	return float64(2 * (l.K.In*l.K.Out + l.V.In*l.V.Out))
}

// training is a forward pass, the logits of answer tokens in the last stretch, and
// the gradients: of both factors of a product where both are wanted, of the input
// alone for frozen maps, of the weight alone for scores.
func (c counter) training(tokens, answers int, soft bool) float64 {
	stretches := c.walk(tokens, soft)
	last := stretches[len(stretches)-1]
	sum := c.maps()*float64(last.tokens) + 2*c.attention(last.tokens, last.past)
	if last.memory {
		sum += 2 * c.read(last.tokens)
	}
	for _, s := range stretches {
		sum += 2*c.write(s.written) + c.scores(s.tokens)
	}
	return c.forward(tokens, tokens-last.tokens, soft) + sum*float64(len(c.Base.Layers)) + 2*c.head(answers)
}

// distillation is the base's full attention over the text, and for each segment
// but the first two the block's own and its projection, with gradients.
func (c counter) distillation(tokens int) float64 {
	n, o := c.Spec.Segment, c.Base.Layers[0].O
	sum := c.maps()*float64(tokens) + c.attention(tokens, 0) + 2*c.scores(tokens)
	for first := 2 * n; first < tokens; first += n {
		sum += 3*c.attention(n, first) + 2*float64(2*n*o.In*o.Out)
		if c.Spec.HasMemory() {
			sum += 3*c.read(n) + 3*c.write(n)
		}
	}
	return sum * float64(len(c.Base.Layers))
}

// decoding writes tokens one by one after `past` stored ones.
func (c counter) decoding(tokens, past int) float64 {
	sum := c.maps()*float64(tokens) + c.attention(tokens, past) + c.scores(tokens)
	if c.Spec.HasMemory() {
		sum += c.read(tokens)
	}
	return sum*float64(len(c.Base.Layers)) + c.head(tokens)
}

// weights lists the weights that a token passes, as they are stored.
func (c counter) weights() [][]byte {
	list := [][]byte{c.Base.Head.Stored()}
	for _, layer := range c.Base.Layers {
		for _, l := range layer.Maps() {
			list = append(list, l.Stored())
		}
	}
	return list
}

// reading are the bytes that decoding a token reads: the weights, and keys and values
// of `past` tokens in float32.
func (c counter) reading(past int) float64 {
	n := 0
	for _, w := range c.weights() {
		n += len(w)
	}
	return float64(n + 4*2*len(c.Base.Layers)*past*c.Base.Dims.KVHeads*c.Base.Dims.HeadDim)
}
