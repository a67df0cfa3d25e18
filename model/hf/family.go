package hf

import (
	"encoding/json"
	"maps"
	"strings"
)

// family is what an architecture implies beyond the values in its files. Each
// has a file of its own and an entry in families.
type family struct {
	modelType string
	// text is the key of the text model's values in the configuration of a
	// multimodal model, of which nothing else is read; "" in all others.
	text string
	// defaults are the values of transformers' configuration class for keys
	// that a file may lack. A null in the file is not absent.
	defaults string
	// slides says whether layer i has sliding attention in a file without
	// layer_types; nil if the family has no such layers.
	slides func(o object, i int) bool
	// ignored are keys of its config.json that change nothing here, each with the reason.
	ignored map[string]string
	// apply sets the fields that only this family, or each family in its own way, has.
	apply func(c *Config, o object)
}

// families holds the supported architectures; the values are those of
// transformers' src/transformers/models/*/configuration_*.py.
var families = map[string]family{
	"LlamaForCausalLM":   llama,
	"MistralForCausalLM": mistral,
	"Qwen2ForCausalLM":   qwen2,
	"Qwen3ForCausalLM":   qwen3,
	"Phi3ForCausalLM":    phi3,
	"Gemma3ForCausalLM":  gemma3,

	"StableLmForCausalLM":       stablelm,
	"BlueLMForCausalLM":         bluelm,
	"InternLM2ForCausalLM":      internlm2,
	"InternLM3ForCausalLM":      internlm3,
	"HunYuanDenseV1ForCausalLM": hunyuan,
	"Ernie4_5ForCausalLM":       ernie45,
	"Ernie4_5_ForCausalLM":      ernie45, // the name before transformers had it
	"YiForCausalLM":             yi,

	"Gemma3ForConditionalGeneration": gemma3Multimodal,
}

// textOf returns the values of the text model; what a text ends with stands beside them.
func (f family) textOf(o object) object {
	if f.text == "" {
		return o
	}
	if !o.has(f.text) {
		o.fail(f.text, nil, "the text model's values")
	}
	c := o.child(f.text)
	c.values = maps.Clone(c.values)
	for _, key := range []string{"bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings", "dtype", "torch_dtype"} {
		if o.has(key) && c.values != nil {
			c.values[key] = o.values[key]
		}
	}
	return c
}

func everyLayer(object, int) bool { return true }

func upperLayers(o object, i int) bool { return i >= o.integer("max_window_layers", 0, maxSize, 28) }

// withDefaults returns the object with the given JSON's values for absent keys.
func (o object) withDefaults(text string) object {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var values map[string]any
	if err := dec.Decode(&values); err != nil && *o.err == nil {
		*o.err = err
	}
	maps.Copy(values, o.values)
	o.values = values
	return o
}
