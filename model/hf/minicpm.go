package hf

import (
	"encoding/json"
	"math"
	"strconv"
)

// minicpm is Llama with factors at its embeddings, what attention and feed-forward add to
// the residual stream, and its logits (MiniCPM, arXiv 2404.06395, section 3): MiniCPM 1
// and 4. Their multi-head latent attention makes MiniCPM 3 another one.
var minicpm = family{
	modelType: "minicpm",
	defaults: `{"max_position_embeddings": 32768, "tie_word_embeddings": true, "scale_emb": 12, "scale_depth": 1.4,
		"dim_model_base": 256, "bos_token_id": 1, "eos_token_id": 2}`,
	ignored: map[string]string{
		"auto_map":        "it names Python code, which is not run",
		"mup_denominator": "it is for models that draft tokens",
		"pretraining_tp":  "it says how the model was trained",
	},
	apply: func(c *Config, o object) {
		c.AttentionBias = o.boolean("attention_bias", false)
		c.AttentionOutputBias = c.AttentionBias
		c.MLPBias = o.boolean("mlp_bias", false)
		c.EmbeddingScale = o.positive("scale_emb", 1)
		if o.has("scale_depth") {
			c.ResidualScale = o.positive("scale_depth", 1) / math.Sqrt(float64(c.NumHiddenLayers))
		}
		if o.has("dim_model_base") {
			c.LogitScale = float64(c.HiddenSize) / o.positive("dim_model_base", 1)
		}
		if o.integer("num_experts", 0, maxSize, 0) > 0 {
			o.fail("num_experts", o.values["num_experts"], "0: "+mixtureOfExperts)
		}
		if o.has("sparse_config") {
			o.fail("sparse_config", o.values["sparse_config"], "null: attention that skips blocks of keys (InfLLM v2) is not supported; without the key the model attends to all of them")
		}
	},
}

// ggufMiniCPM has the factors themselves. Files of before they were written have none.
var ggufMiniCPM = ggufArchitecture{
	name: "MiniCPMForCausalLM", paired: true,
	keys: map[string]string{"scale_emb": "embedding_scale", "scale_depth": "residual_scale", "dim_model_base": "logit_scale"},
	complete: func(values map[string]any) {
		of := func(key string) float64 {
			n, _ := values[key].(json.Number)
			f, _ := n.Float64() // what is wrong with it shows when it is read
			return f
		}
		set := func(key string, f, usual float64) {
			switch _, ok := values[key].(json.Number); {
			case values[key] == nil:
				values[key] = jsonNumber(usual)
			case ok && f-f == 0: // else the reader of the key says what is wrong
				values[key] = jsonNumber(f)
			}
		}
		set("scale_emb", of("scale_emb"), 12)
		set("scale_depth", of("scale_depth")*math.Sqrt(of("num_hidden_layers")), 1.4)
		set("dim_model_base", of("hidden_size")/of("dim_model_base"), 256)
	},
}

// jsonNumber is a number as JSON has it, with as many digits as float32 keeps.
func jsonNumber(f float64) json.Number { return json.Number(strconv.FormatFloat(f, 'g', 7, 64)) }
