package hf

import (
	"encoding/json"
	"maps"
	"slices"
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
	// tanhGELU says that the activation is GELU by its tanh formula where hidden_act says
	// "gelu", and hidden_activation nothing.
	tanhGELU bool
	// textFamily returns the family of a multimodal model's text model by its model_type,
	// where there are several; nil: it is this one.
	textFamily map[string]*family
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

	"GemmaForCausalLM":      gemma,
	"Gemma2ForCausalLM":     gemma2,
	"GraniteForCausalLM":    granite,
	"SmolLM3ForCausalLM":    smollm3,
	"Olmo2ForCausalLM":      olmo2,
	"Olmo3ForCausalLM":      olmo3,
	"Exaone4ForCausalLM":    exaone4,
	"MiniCPMForCausalLM":    minicpm,
	"Ministral3ForCausalLM": ministral3,

	"Mistral3ForConditionalGeneration": mistral3,
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
	for _, key := range []string{"bos_token_id", "eos_token_id", "pad_token_id", "dtype", "torch_dtype"} {
		if o.has(key) && c.values != nil {
			c.values[key] = o.values[key]
		}
	}
	const tied = "tie_word_embeddings" // is the text model's own to say
	if o.has(tied) && !c.has(tied) && c.values != nil {
		c.values[tied] = o.values[tied]
	}
	return c
}

// textOr returns the family of the text model whose values are given, f itself where a
// model has no other.
func (f family) textOr(text object) family {
	if f.textFamily == nil {
		return f
	}
	kind := text.text("model_type", f.modelType)
	of, ok := f.textFamily[kind]
	if !ok {
		text.fail("model_type", kind, "one of "+strings.Join(slices.Sorted(maps.Keys(f.textFamily)), ", "))
		return f
	}
	g := *of
	g.text = f.text
	return g
}

// positive returns a number above 0; absent or null gives the default.
func (o object) positive(key string, otherwise float64) float64 {
	v := o.number(key, 0, otherwise)
	if o.has(key) && v == 0 {
		o.fail(key, v, "a number above 0")
	}
	return v
}

// slidesInPattern says whether layer i has a sliding window by sliding_window_pattern: of
// so many layers the last one has none (the default is the given period), or L and G, which
// repeat, say which have one, though never the last layer.
func (o object) slidesInPattern(i, period int) bool {
	const key = "sliding_window_pattern"
	if !o.has(key) {
		return (i+1)%period != 0
	}
	switch p := o.values[key].(type) {
	case string:
		if strings.Trim(p, "LG") != "" || p == "" {
			o.fail(key, p, "a text of L and G")
			return false
		}
		return p[i%len(p)] == 'L' && i < o.integer("num_hidden_layers", 1, maxSize, 1)-1
	case json.Number:
		return (i+1)%o.integer(key, 1, maxSize, period) != 0
	}
	o.fail(key, o.values[key], "a number of layers or a text of L and G")
	return false
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
	if o.values["rope_scaling"] != nil { // the older name of the same record
		delete(values, "rope_parameters")
	}
	maps.Copy(values, o.values)
	o.values = values
	return o
}
