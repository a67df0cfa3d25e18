package graph

import (
	"slices"

	G "gorgonia.org/gorgonia"
)

// step is an op with its nodes, in the order of the description.
type step struct {
	kind   string
	op     *op
	inputs G.Nodes
	output *G.Node
}

// use says what becomes of what a step puts out.
type use struct {
	step     int  // its place among the program's steps
	computed bool // somebody reads it: a backward pass, or the forward pass of a step that is computed
	kept     bool // a backward pass reads it: see activations
	rowwise  bool // see reads
	// recall, if not nil, takes the place of the forward pass of a recorded layer.
	recall func(in [][]float32)
}

// reads is what the backward pass of a kind of step reads.
type reads struct {
	inputs, output bool // the values of its inputs, and that of its output
	rowwise        bool // of them, for a row's gradient, that row alone
}

// readsOf has the kinds that read less than all. What nobody reads is not computed, and rows
// whose output has no gradient give none to the inputs.
var readsOf = map[string]reads{
	"norm": {inputs: true, rowwise: true}, "linear": {rowwise: true}, "gated_product": {inputs: true, rowwise: true},
	"add": {rowwise: true}, "round": {rowwise: true},
	"read_memory": {inputs: true}, "gate_logit": {inputs: true}, "mix": {inputs: true},
	"write_memory": {inputs: true}, "hidden_units": {inputs: true}, "silu": {inputs: true}, "token_score": {inputs: true},
}

// unread is shown room whose content nobody may read. Tests fill it.
var unread = func([]float32) {}

// findUses finds out which steps are computed and which are worth keeping.
func (b *builder) findUses(result *G.Node) {
	read, needed := map[*G.Node]bool{}, map[*G.Node]bool{result: b.key.valued}
	for _, s := range b.steps {
		of, listed := readsOf[s.kind]
		if !b.moving[s.output] { // it has no backward pass
			continue
		}
		read[s.output] = read[s.output] || of.output || !listed
		for _, in := range s.inputs {
			read[in] = read[in] || of.inputs || !listed
		}
	}
	for i, s := range slices.Backward(b.steps) {
		u := &s.op.use
		u.rowwise = readsOf[s.kind].rowwise
		u.step, u.kept, u.computed = i, read[s.output], read[s.output] || needed[s.output]
		for _, in := range s.inputs {
			needed[in] = needed[in] || u.computed
		}
	}
}

// recalls says what the step that was added last does in a recorded layer.
func (b *builder) recalls(n *G.Node, recall func(in [][]float32)) {
	if b.err == nil && b.steps[len(b.steps)-1].output == n {
		b.steps[len(b.steps)-1].op.use.recall = recall
	}
}
