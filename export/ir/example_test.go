package ir_test

import (
	"fmt"
	"os"
	"path/filepath"

	"eisft/export/ir"
)

// Two graphs of different length over one weights file: each layer opens a scope,
// norms stay in float, weights are 4-bit codes that are made once.
func Example() {
	dir, err := os.MkdirTemp("", "export")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	weights, err := ir.CreateWeights(filepath.Join(dir, "weights.bin"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer weights.Abort()

	for _, tokens := range []int{128, 1} {
		g := ir.NewGraph(fmt.Sprintf("main_%d", tokens), ir.Options{Weights: weights})
		g.Output("hidden", layer(g, g.Input("input_embeds", ir.Float32, 1, tokens, 64)))
		if err := g.WriteFile(filepath.Join(dir, fmt.Sprintf("%dt.onnx", tokens))); err != nil {
			fmt.Println(err)
			return
		}
	}
	if err := weights.Commit(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("weights.bin:", weights.Size(), "bytes")
	// Output:
	// layers.0/mlp/gate float32 [1 128 128]
	// layers.0/mlp/gate float32 [1 1 128]
	// weights.bin: 4096 bytes
}

func layer(g *ir.Graph, x *ir.Value) *ir.Value {
	defer g.Scope("layers.0")()
	activation := ir.PerTensor(ir.Int16, 1.0/4096, 0)

	leave := g.FloatRegion()
	h := g.ReduceMean(g.Mul(x, x), -1)
	h = g.Div(x, g.Sqrt(g.Add(h, g.Scalar(1e-6)))).Named("norm")
	leave()

	defer g.Scope("mlp")()
	w := g.Stored("layers.0.mlp.gate.weight", ir.Int4, []int{64, 128}, func() (ir.Tensor, error) {
		return ir.NewTensor([]int{64, 128}, make(ir.Nibbles, 64*128))
	})
	perTensor := ir.PerTensor(ir.Int4, 0.01, 0)
	gate := g.MatMul(g.QDQ(h, activation), g.Dequantize(w, perTensor)).Named("gate")
	fmt.Println(gate)
	return g.QDQ(gate, activation)
}
