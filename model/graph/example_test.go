package graph_test

import (
	"context"
	"fmt"

	"eisft/model"
	"eisft/model/graph"
)

// The gradients of one sample: its context streams, its last tokens are the answer.
func ExampleEngine_Backward() {
	base, err := model.LoadBase("../demo")
	if err != nil {
		fmt.Println(err)
		return
	}
	block, err := model.Preset("eisft")
	if err != nil {
		fmt.Println(err)
		return
	}
	m, err := model.New(base, block, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	sample := graph.Sample{IDs: make([]int32, 700), Loss: make([]bool, 700)}
	for i := range sample.IDs {
		sample.IDs[i] = int32(4 + i)
		sample.Loss[i] = i >= 690
	}
	grads := m.Params.Zero()
	o := graph.Options{Soft: true, Penalty: graph.Penalty{Keep: 0.15, KeepWeight: 10}, TokenWeight: 0.1, SampleWeight: 1}
	result, err := graph.NewEngine(m, nil).Backward(context.Background(), sample, o, grads)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.Tokens, "answer tokens,", len(grads.List()), "gradients")
	// Output:
	// 10 answer tokens, 48 gradients
}
