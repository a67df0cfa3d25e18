package hf

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// The tensors that are part of the configuration. They hold what the inverse
// frequencies of the rotary embedding are divided by: of models with llama3 scaling,
// and of models with LongRoPE within and beyond the original context.
const (
	ropeFreqs = "rope_freqs.weight"
	ropeShort = "rope_factors_short.weight"
	ropeLong  = "rope_factors_long.weight"
)

var ropeTensors = []string{ropeFreqs, ropeShort, ropeLong}

// addRope adds how the rotary embedding differs from the plain one.
func (g *GGUF) addRope(o object, arch string, known ggufArchitecture) error {
	if err := g.addPartial(o, arch, known); err != nil {
		return err
	}
	o.source["rope_scaling"] = arch + ".rope.scaling"
	original := g.value(arch + ".rope.scaling.original_context_length")
	kind, _ := g.Metadata[arch+".rope.scaling.type"].(string)
	switch {
	case g.tensors[ropeFreqs].Name != "": // llama3's: whatever the length, with a scale of 1
		o.source["rope_scaling"] = ropeFreqs
		one, context := json.Number("1"), o.values["max_position_embeddings"]
		return g.addDivided(o, ropeFreqs, ropeFreqs, map[string]any{"factor": one, "attention_factor": one, "original_max_position_embeddings": context})
	case g.tensors[ropeShort].Name != "":
		return g.addDivided(o, ropeShort, ropeLong, map[string]any{
			"attention_factor": g.value(arch + ".rope.scaling.attn_factor"), "original_max_position_embeddings": original,
		})
	case kind != "" && kind != "none":
		o.values["rope_scaling"] = map[string]any{
			"rope_type": kind, "factor": g.value(arch + ".rope.scaling.factor"), "original_max_position_embeddings": original,
		}
	case kind == "" && g.value(arch+".rope.scale_linear") != nil: // what files had before rope.scaling
		o.values["rope_scaling"] = map[string]any{"rope_type": "linear", "factor": g.value(arch + ".rope.scale_linear")}
	}
	return nil
}

// addPartial adds which part of a head is turned.
func (g *GGUF) addPartial(o object, arch string, known ggufArchitecture) error {
	key := arch + ".rope.dimension_count"
	turned, ok := g.Metadata[key].(int64)
	head := g.headSize(o)
	switch {
	case !ok || turned == head:
		return nil
	case known.partial && head > 0:
		o.values["partial_rotary_factor"] = json.Number(strconv.FormatFloat(float64(turned)/float64(head), 'g', -1, 64))
		return nil
	default:
		return fmt.Errorf("%s: %s: found %d, want the head size, which is %d", g.path, key, turned, head)
	}
}

// headSize is head_dim or what stands for it where it is absent; 0 if that is wrong,
// which shows when it is read.
func (g *GGUF) headSize(o object) int64 {
	integer := func(key string) int64 {
		n, _ := o.values[key].(json.Number)
		i, _ := n.Int64()
		return i
	}
	if d := integer("head_dim"); d > 0 {
		return d
	}
	return integer("hidden_size") / max(1, integer("num_attention_heads"))
}

// addDivided adds a rotary embedding whose inverse frequencies are divided by the numbers
// of tensors, within the original context and beyond.
func (g *GGUF) addDivided(o object, short, long string, record map[string]any) error {
	record["rope_type"] = "longrope"
	for key, name := range map[string]string{"short_factor": short, "long_factor": long} {
		numbers, err := g.tensors[name].Float32()
		if err != nil {
			return fmt.Errorf("%s: tensor %s: %w", g.path, name, err)
		}
		factors := make([]any, len(numbers))
		for i, f := range numbers {
			factors[i] = json.Number(strconv.FormatFloat(float64(f), 'g', -1, 32))
		}
		record[key] = factors
	}
	o.values["rope_scaling"] = record
	return nil
}
