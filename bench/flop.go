package bench

import (
	"eisft/model"
	"eisft/model/schedule"
	"eisft/model/shapes"
)

// counter counts the floating-point operations of matrix products, two for each
// multiplication with its addition, from shapes alone. Norms, exponentials and
// sums of rows are not counted, nor is what is computed twice or masked out.
type counter struct {
	*model.Model
}

// need is what a case takes.
type need struct {
	flop  float64
	bytes float64 // read, of weights and state; 0: not counted
}

// operations turns products into the operations of a need.
func operations(products int64) need { return need{flop: 2 * float64(products)} }

// forward reads tokens as a stream for the last layer's output from one on, and computes
// logits of so many of them.
func (c counter) forward(tokens, from, logits int) (need, error) {
	st := shapes.NewStream(c.Model, shapes.Options{NoRouting: true})
	if err := st.Feed(tokens, from); err != nil {
		return need{}, err
	}
	st.Logits(logits)
	return operations(st.Take().Total().Products()), nil
}

// training is a forward pass, the logits of answer tokens in the last segment, and
// the gradients: of both factors of a product where both are wanted, of the input
// alone for frozen maps, of the weight alone for scores.
func (c counter) training(tokens, answers int, soft bool) (need, error) {
	st := shapes.NewStream(c.Model, shapes.Options{Soft: soft, NoRouting: true})
	last := (tokens-1)%c.Spec.Segment + 1
	if err := st.Feed(tokens-last, tokens-last); err != nil {
		return need{}, err
	}
	context := st.Take().Total()
	if err := st.Feed(last, 0); err != nil {
		return need{}, err
	}
	live := st.Take().Total()
	st.Logits(answers)
	head := st.Take().Total()
	all := context.Plus(live)
	return operations(all.Products() + 2*head.Head +
		live.Maps + 2*live.Attention + 2*live.MemoryRead + 2*all.MemoryWrite + all.Scores), nil
}

// distillation is the base's full attention over the text, up to that of the last layer, and for each segment
// that is compared the block's own and its projection, with gradients, in the layers that
// have something to train. What a segment sees is what a stream with soft slots shows it.
func (c counter) distillation(tokens int) (need, error) {
	full, err := model.New(c.Base, model.FullAttention(c.Spec.Segment), nil)
	if err != nil {
		return need{}, err
	}
	segments, products := tokens/c.Spec.Segment, int64(0)
	teacher, err := counter{full}.forward(segments*c.Spec.Segment, 0, 0)
	if err != nil {
		return need{}, err
	}
	st := shapes.NewStream(c.Model, shapes.Options{Soft: true, NoRouting: true})
	for s := range segments {
		compared := s >= schedule.FirstTransferred && st.Evicted()
		if err := st.Feed(c.Spec.Segment, 0); err != nil {
			return need{}, err
		}
		for i, w := range st.Take().Layers {
			if len(c.Params.Layers[i].List()) == 0 {
				continue
			}
			products += 2 * w.Scores
			if s < segments-1 { // no segment reads what the last one writes
				products += 3 * w.MemoryWrite
			}
			if o := c.Base.Layers[i].O; compared {
				products += 3*w.Attention + 3*w.MemoryRead + 2*int64(c.Spec.Segment)*int64(o.In)*int64(o.Out)
			}
		}
	}
	last := c.Base.Layers[len(c.Base.Layers)-1] // whose feed-forward nobody asks for
	for _, l := range []*model.Linear{last.Gate, last.Up, last.Down} {
		products -= int64(segments*c.Spec.Segment) * int64(l.In) * int64(l.Out)
	}
	teacher.flop += operations(products).flop
	return teacher, nil
}

// decoding writes tokens one by one after so many that were read.
func (c counter) decoding(read, tokens int) (need, error) {
	st := shapes.NewStream(c.Model, shapes.Options{})
	if err := st.Feed(read, read); err != nil {
		return need{}, err
	}
	st.Take()
	for range tokens {
		if err := st.Feed(1, 0); err != nil {
			return need{}, err
		}
		st.Logits(1)
	}
	w := st.Take().Total()
	n := operations(w.Products())
	n.bytes = float64(w.Weights + w.State)
	return n, nil
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
