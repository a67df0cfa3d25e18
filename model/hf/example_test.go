package hf_test

import (
	"fmt"

	"eisft/model/hf"
)

// A folder as it comes from Hugging Face: what its config.json says, and a tensor.
func Example() {
	config, err := hf.LoadConfig("../demo")
	if err != nil {
		fmt.Println(err)
		return
	}
	checkpoint, err := hf.Open("../demo")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = checkpoint.Close() }()
	tensor, err := checkpoint.Tensor("model.layers.0.self_attn.k_proj.weight")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(config.Architecture, config.NumHiddenLayers, "layers of", config.HiddenSize)
	fmt.Println(tensor.DType, tensor.Shape)
	// Output:
	// LlamaForCausalLM 8 layers of 256
	// BF16 [128 256]
}
