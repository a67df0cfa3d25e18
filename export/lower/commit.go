package lower

import (
	"fmt"

	"eisft/export/ir"
)

// Commit builds the graph that writes what a completed segment has pushed out of
// window and slots, at most L tokens a KV head, to the memory: model.Memory.Write on a
// state of means times StateScale. The host gives each token the weight s·ω/(n+m), s being
// that scale, and 0 where a place is empty, and memory_decay = n/(n+m), where n tokens were
// written before and m now. All layers have the same n and m, those of the layer that
// writes most: reads do not change with the scale of the state.
func (s Source) Commit(g *ir.Graph) Ports {
	b := &builder{Graph: g, src: s}
	spec, d := s.Model.Spec, s.Model.Base.Dims
	decay := b.input(port{name: "memory_decay", role: "decay", axes: "one"}, 1)
	var keys, values, weights []*ir.Value
	for i := range s.Model.Base.Layers {
		keys = append(keys, b.input(b.port("evicted_key_%d", "key", keyAxes, i), d.KVHeads, 1, d.HeadDim, spec.Segment))
		values = append(values, b.input(b.port("evicted_value_%d", "value", valueAxes, i), d.KVHeads, 1, spec.Segment, d.HeadDim))
		weights = append(weights, b.input(port{name: fmt.Sprintf("evicted_weight_%d", i), role: "weight", axes: "kv_head batch token one", layer: &i}, d.KVHeads, 1, spec.Segment, 1))
	}
	b.memoryInputs()
	defer b.FloatRegion()()
	for i := range s.Model.Base.Layers {
		b.write(i, decay, keys[i], values[i], weights[i])
	}
	return b.ports
}

// write adds layer i's update. The delta rule looks the old memory up first
// (Infini-attention, eq. 5).
func (b *builder) write(i int, decay, key, value, weight *ir.Value) {
	defer b.Scope(fmt.Sprintf("layers.%d", i))()
	kv := b.src.Model.Base.Dims.KVHeads
	phi := b.feature(b.Transpose(key, 0, 1, 3, 2), b.src.Model.Params.Layers[i].FeatureK, kv, 1) // [K,1,L,F]
	if b.src.Model.Spec.Memory.Corrects() {
		value = b.Sub(value, b.lookUp(phi, i, nil))
	}
	phi = b.Mul(phi, weight)
	memory := b.Add(b.Mul(b.pastMemory[i], decay), b.MatMul(b.Transpose(phi, 0, 1, 3, 2), value))
	sum := b.Reshape(b.ReduceSum(phi, 2), kv, 1, phi.Dim(3), 1)
	mass := b.Add(b.Mul(b.pastWeight[i], decay), sum)
	b.output(port{name: fmt.Sprintf("past_mem_%d_out", i), role: "memory", axes: memoryAxes, layer: &i}, memory)
	b.output(port{name: fmt.Sprintf("past_memz_%d_out", i), role: "memory_mass", axes: massAxes, layer: &i}, mass)
}
