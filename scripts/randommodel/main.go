// Randommodel makes a checkpoint of Qwen2.5-0.5B's shape with random bfloat16
// weights, 988 MB, and the demo base's tokenizer: speed and memory do not depend on
// what a model has learned.
//
//	go run ./scripts/randommodel .cache/random-0.5b
//	bin/eisft bench --model .cache/random-0.5b --segment 512 --case stream --case decode
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"

	"eisft/internal/atomicfile"
	"eisft/model/hf"
)

// What config.json of Qwen2.5-0.5B says.
const (
	vocabulary, hidden, feedForward = 151936, 896, 4864
	layers, heads, kvHeads, headDim = 24, 14, 2, 64
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: go run ./scripts/randommodel FOLDER")
	}
	if err := write(os.Args[1]); err != nil {
		log.Fatalf("randommodel: %v", err)
	}
}

func write(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	config, err := json.MarshalIndent(map[string]any{
		"architectures": []string{"Qwen2ForCausalLM"}, "model_type": "qwen2", "torch_dtype": "bfloat16",
		"vocab_size": vocabulary, "hidden_size": hidden, "intermediate_size": feedForward, "num_hidden_layers": layers,
		"num_attention_heads": heads, "num_key_value_heads": kvHeads, "hidden_act": "silu", "tie_word_embeddings": true,
		"rms_norm_eps": 1e-6, "rope_theta": 1e6, "max_position_embeddings": 32768, "max_window_layers": 21,
		"sliding_window": 32768, "use_sliding_window": false, "bos_token_id": 0, "eos_token_id": 3,
	}, "", " ")
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFile(filepath.Join(folder, "config.json"), config); err != nil {
		return err
	}
	for _, name := range []string{"tokenizer.json", "tokenizer_config.json"} {
		text, err := os.ReadFile(filepath.Join("model/demo", name))
		if err != nil {
			return err
		}
		if err := atomicfile.WriteFile(filepath.Join(folder, name), text); err != nil {
			return err
		}
	}
	return hf.WriteFile(filepath.Join(folder, "model.safetensors"), entries(), nil)
}

func entries() []hf.Entry {
	r := rand.New(rand.NewPCG(1, 2))
	var list []hf.Entry
	add := func(name string, mean, deviation float64, shape ...int) {
		n := 1
		for _, size := range shape {
			n *= size
		}
		x := make(hf.BF16, n)
		for i := range x {
			x[i] = float32(mean + deviation*r.NormFloat64())
		}
		list = append(list, hf.Entry{Name: name, Shape: shape, Data: x})
	}
	add("model.embed_tokens.weight", 0, 0.02, vocabulary, hidden)
	add("model.norm.weight", 1, 0.1, hidden)
	for i := range layers {
		p := fmt.Sprintf("model.layers.%d.", i)
		add(p+"input_layernorm.weight", 1, 0.1, hidden)
		add(p+"post_attention_layernorm.weight", 1, 0.1, hidden)
		for _, name := range []string{"q", "k", "v"} {
			out := kvHeads * headDim
			if name == "q" {
				out = heads * headDim
			}
			add(p+"self_attn."+name+"_proj.weight", 0, 0.02, out, hidden)
			add(p+"self_attn."+name+"_proj.bias", 0, 0.02, out)
		}
		add(p+"self_attn.o_proj.weight", 0, 0.02, hidden, heads*headDim)
		add(p+"mlp.gate_proj.weight", 0, 0.02, feedForward, hidden)
		add(p+"mlp.up_proj.weight", 0, 0.02, feedForward, hidden)
		add(p+"mlp.down_proj.weight", 0, 0.02, hidden, feedForward)
	}
	return list
}
