package tflite

import (
	"encoding/binary"
	"fmt"
	"math"

	flatbuffers "github.com/google/flatbuffers/go"

	"eisft/export/ir"
)

// composite adds a step of a value and a weight as one op (STABLEHLO_COMPOSITE). What it is made of,
// in float, is a subgraph: one for all steps that differ in nothing but value and weight.
func (t *translation) composite(c *ir.Composite, nodes []*ir.Node) error {
	last := nodes[len(nodes)-1]
	value, weight, made := nodes[0].Inputs()[0], last.Inputs()[1], last.Outputs()[0]
	x, err := t.floats(value)
	if err != nil {
		return err
	}
	w, err := t.floats(weight)
	if err != nil {
		return err
	}
	step := fmt.Sprintf("%s of %v, epsilon %g", c.Name, value.Shape(), c.Epsilon)
	index, ok := t.byStep[step]
	if !ok {
		if index, err = t.compose(c, step, nodes); err != nil {
			return err
		}
	}
	return t.emit(opComposite, t.compositeOptions(c, index), []int{x, w}, made, nil)
}

// compose makes the subgraph of a step.
func (t *translation) compose(c *ir.Composite, step string, nodes []*ir.Node) (int, error) {
	last := nodes[len(nodes)-1]
	inner := t.begin(fmt.Sprintf("%s.impl_%d", c.Name, len(t.composed)))
	inner.plain = true
	for _, v := range []*ir.Value{nodes[0].Inputs()[0], last.Inputs()[1]} {
		inner.inFloat[v] = inner.addFloats(v.Name(), v.Shape())
		inner.graph.inputs = append(inner.graph.inputs, port{v.Name(), inner.inFloat[v]})
	}
	for _, n := range nodes {
		if err := inner.node(n); err != nil {
			return 0, err
		}
	}
	made, err := inner.floats(last.Outputs()[0])
	inner.graph.outputs = []port{{last.Outputs()[0].Name(), made}}
	t.composed = append(t.composed, inner.graph)
	t.byStep[step] = len(t.composed) - 1
	return t.byStep[step], err
}

// compositeOptions are StableHLOCompositeOptions. Subgraphs of signatures come before those of
// steps, and more of them may.
func (f *File) compositeOptions(c *ir.Composite, index int) options {
	return options{kind: 21, fields: 5, second: true, set: func(b *flatbuffers.Builder) []field {
		return []field{
			offset(0, b.CreateString(c.Name)), int32Field(compositeGraph, int32(len(f.subgraphs)+index)),
			offset(2, b.CreateByteVector(epsilon(c.Epsilon))), int32Field(4, 1),
		}
	}}
}

// compositeGraph is the field of StableHLOCompositeOptions that has the index of the subgraph.
const compositeGraph = 1

// epsilon is the FlexBuffer {"epsilon": v}. Its parts, each read from the end: the root, which says
// how far back the values of the map are; these with their types, behind the way to the keys; and the
// keys, a vector of the way to each. (Go's library has no FlexBuffers.)
func epsilon(v float32) []byte {
	const (
		float, mapping = 3, 9 // types
		four           = 2    // the width of 4 bytes
	)
	b := []byte("epsilon\x00")
	b = append(b, 1, byte(len(b)+1)) // one key, that far back
	keys := len(b) - 1
	b = append(b, 0, 0) // numbers of 4 bytes stand at multiples of 4
	b = binary.LittleEndian.AppendUint32(b, uint32(len(b)-keys))
	b = binary.LittleEndian.AppendUint32(b, 1) // the width of the way to a key
	b = binary.LittleEndian.AppendUint32(b, 1) // one value
	values := len(b)
	b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	b = append(b, float<<2|four)
	return append(b, byte(len(b)-values), mapping<<2|four, 1)
}
