package graph

import (
	"fmt"

	"eisft/internal/scratch"
	"eisft/model"
)

// keptBytes bounds what a sample's recorded pass keeps of what the steps of its live segments
// put out. The layers beyond it compute their forward pass a second time.
const keptBytes = 256 << 20

// activations are what the recorded forward pass of a layer has put out for a live segment, where
// the layer's backward pass reads it. Its program computes none of it anew.
type activations struct {
	rows    int         // T
	steps   int         // of the layer's block
	values  [][]float32 // of each step [T,·], nil where nobody reads it; nil: nothing is kept
	logSums []float32   // [T,H], see [model.Attention.Forward]
}

func (k *activations) release() {
	scratch.Release(k.values...)
	scratch.Release(k.logSums)
	k.values, k.logSums = nil, nil
}

// widths are how many floats a token takes of what each step of a layer's block puts out, 0 of
// what its backward pass does not read.
func (e *Engine) widths(layer int, memory bool) ([]int, error) {
	k := key{kind: blockKind, form: e.forms[layer], rows: 1, memory: memory}
	if w, ok := e.stepWidths[k]; ok {
		return w, nil
	}
	b := newBuilder(e.model, k, e.model.Base.Layers[layer])
	result := kinds[k.kind].build(b)
	if b.err != nil {
		return nil, fmt.Errorf("layer %d: %w", layer, b.err)
	}
	b.findUses(result)
	w := make([]int, len(b.steps))
	for i, s := range b.steps {
		if s.op.use.kept {
			w[i] = s.op.output.TotalSize()
		}
	}
	e.stepWidths[k] = w
	return w, nil
}

// keeper makes room for what the live segments of a sample keep.
type keeper struct {
	engine *Engine
	tape   *tape
	tokens int // of the sample
	left   int // bytes
}

// wrap returns what notes what the backend of some tokens puts out, of which the first-th of
// the sample is the first. Before the live segments it notes nothing.
func (k *keeper) wrap(o model.Ops[[]float32], first int) model.Ops[[]float32] {
	n := k.engine.model.Spec.Segment
	i := first/n - k.tape.gradFrom
	if i < 0 {
		return o
	}
	for len(k.tape.activations) <= i {
		at := (k.tape.gradFrom + len(k.tape.activations)) * n
		k.tape.activations = append(k.tape.activations, k.room(min(n, k.tokens-at), o.MemoryInUse()))
	}
	if k.tape.activations[i] == nil {
		return o
	}
	return &recorder{Ops: o, layers: k.tape.activations[i], row: first % n}
}

// room is that of each layer for a segment of so many rows; nil if the block's steps are not
// known, of which its programs will tell.
func (k *keeper) room(rows int, memory bool) []*activations {
	d := k.engine.model.Base.Dims
	layers := make([]*activations, len(k.engine.forms))
	for i := range layers {
		widths, err := k.engine.widths(i, memory)
		if err != nil {
			return nil
		}
		floats := d.Heads
		for _, w := range widths {
			floats += w
		}
		layers[i] = &activations{rows: rows, steps: len(widths)}
		if k.left -= 4 * rows * floats; k.left < 0 {
			continue
		}
		layers[i].values, layers[i].logSums = make([][]float32, len(widths)), scratch.Borrow(rows*d.Heads)
		for j, w := range widths {
			layers[i].values[j] = scratch.Borrow(rows * w)
		}
	}
	return layers
}

// recorder decorates the slice backend of some rows of a live segment. The block's
// description has the same steps in the same order here and in the graph.
type recorder struct {
	model.Ops[[]float32]
	layers      []*activations
	row         int // of the segment
	layer, step int // which is next
}

// keep notes what the next step has put out, before another one writes over it.
func (r *recorder) keep(y []float32) []float32 {
	k := r.layers[r.layer]
	if k.values != nil {
		to := k.values[r.step]
		copy(to[r.row*(len(to)/k.rows):], y)
	}
	if r.step++; r.step == k.steps {
		r.layer, r.step = r.layer+1, 0
	}
	return y
}

func (r *recorder) Norm(n *model.Norm, x []float32) []float32 { return r.keep(r.Ops.Norm(n, x)) }

func (r *recorder) Linear(l *model.Linear, x []float32) []float32 { return r.keep(r.Ops.Linear(l, x)) }

func (r *recorder) GatedProduct(l *model.Layer, gate, up []float32) []float32 {
	return r.keep(r.Ops.GatedProduct(l, gate, up))
}

func (r *recorder) Residual(l *model.Layer, x, y []float32) []float32 {
	return r.keep(r.Ops.Residual(l, x, y))
}

func (r *recorder) ReadMemory(l *model.Layer, q []float32) []float32 {
	return r.keep(r.Ops.ReadMemory(l, q))
}

func (r *recorder) GateLogit(l *model.Layer, q, read []float32) []float32 {
	return r.keep(r.Ops.GateLogit(l, q, read))
}

func (r *recorder) Attend(l *model.Layer, q, k, v []float32, column *model.Column[[]float32]) []float32 {
	return r.keep(r.Ops.Attend(l, q, k, v, column))
}

func (r *recorder) Mix(l *model.Layer, logit, read, local []float32) []float32 {
	return r.keep(r.Ops.Mix(l, logit, read, local))
}
