package hf

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
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

// addRope adds how the rotary embedding differs from the plain one. What this does not
// read of it is judged by metadataRules.
func (g *GGUF) addRope(o object, known ggufArchitecture) error {
	if err := g.addPartial(o, known); err != nil {
		return err
	}
	o.source["rope_scaling"] = o.metadata + "rope.scaling"
	record := ropeRecord{o, map[string]any{}}
	kind, _ := record.metadatum("type").(string)
	one := json.Number("1")
	switch {
	case g.tensors[ropeFreqs].Name != "": // llama3's: whatever the length
		o.source["rope_scaling"] = ropeFreqs
		record.values["factor"], record.values["original_max_position_embeddings"] = one, o.values["max_position_embeddings"]
		record.take("attention_factor", "attn_factor", one)
		return g.addDivided(record, ropeFreqs, ropeFreqs)
	case g.tensors[ropeShort].Name != "":
		record.take("attention_factor", "attn_factor", nil) // converters write it
		record.take("original_max_position_embeddings", "original_context_length", nil)
		return g.addDivided(record, ropeShort, ropeLong)
	case kind == "" || kind == "linear": // llama.cpp takes linear for granted
		record.addLinear()
	case kind == "none":
		o.read[o.metadata+"rope.scaling.type"] = true
	default:
		record.addScaling(kind)
	}
	return nil
}

// ropeRecord is the record rope_scaling of a model that is described in metadata.
type ropeRecord struct {
	object
	values map[string]any
}

// metadatum returns what stands below rope.scaling.
func (r ropeRecord) metadatum(suffix string) any {
	return r.object.metadatum(r.metadata + "rope.scaling." + suffix)
}

// take puts metadata below rope.scaling in the record.
func (r ropeRecord) take(key, suffix string, otherwise any) {
	r.source["rope_scaling."+key] = r.metadata + "rope.scaling." + suffix
	if r.values[key] = r.metadatum(suffix); r.values[key] == nil {
		r.values[key] = otherwise
	}
}

// addLinear adds the type linear if there is a factor, which files had elsewhere once.
func (r ropeRecord) addLinear() {
	r.take("rope_type", "type", "linear")
	r.take("factor", "factor", nil)
	if old := r.metadata + "rope.scale_linear"; r.values["factor"] == nil {
		r.source["rope_scaling.factor"], r.values["factor"] = old, r.object.metadatum(old)
	}
	if f, ok := number(r.values["factor"]); r.values["factor"] != nil && (!ok || f != 0) { // 0 is none
		r.object.values["rope_scaling"] = r.values
	}
}

// addScaling adds another type.
func (r ropeRecord) addScaling(kind string) {
	r.take("rope_type", "type", nil)
	r.take("factor", "factor", json.Number("0"))
	r.take("original_max_position_embeddings", "original_context_length", nil)
	if kind == "yarn" {
		r.takeYarnAttention()
		r.take("beta_fast", "yarn_beta_fast", nil)
		r.take("beta_slow", "yarn_beta_slow", nil)
		r.take("extrapolation_factor", "yarn_ext_factor", nil)
		if f, ok := number(r.values["extrapolation_factor"]); ok && f < 0 {
			r.values["extrapolation_factor"] = nil // not set
		}
	}
	r.object.values["rope_scaling"] = r.values
}

// takeYarnAttention takes yarn_attn_factor, under which llama.cpp's converter writes one of two
// keys: attention_factor, which replaces the factor of YaRN's formula (Olmo 3), or attn_factor,
// which multiplies it (DeepSeek-R1-0528). llama.cpp multiplied, too, and takes the formula alone
// since its pull request 17945. What is read is what can mean one thing only: the formula's own
// value, which replaces it, its reciprocal, and 1, which is also the default.
func (r ropeRecord) takeYarnAttention() {
	const suffix = "yarn_attn_factor"
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-4 }
	factor, _ := number(r.values["factor"])
	formula := 1 + 0.1*math.Log(max(factor, 1))
	value := r.metadatum(suffix)
	f, ok := number(value)
	if ok && f != 1 && near(f, formula) {
		r.take("attention_factor", suffix, nil)
		return
	}
	r.take("attn_factor", suffix, nil)
	if ok && f > 0 && f != 1 && !near(f*formula, 1) {
		r.fail("rope_scaling.attn_factor", value, fmt.Sprintf("%.5g (the factor of YaRN's formula), %.5g (its reciprocal) or 1: what another one means, readers do not agree on", formula, 1/formula))
	}
}

// addPartial adds which part of a head is turned.
func (g *GGUF) addPartial(o object, known ggufArchitecture) error {
	head := g.headSize(o)
	turned, err := o.size64("rope.dimension_count", head)
	switch {
	case err != nil:
		return err
	case turned == head:
	case known.partial && head > 0:
		o.values["partial_rotary_factor"] = json.Number(strconv.FormatFloat(float64(turned)/float64(head), 'g', -1, 64))
	default:
		return fmt.Errorf("%s: %srope.dimension_count: found %d, want the head size, which is %d", g.path, o.metadata, turned, head)
	}
	for suffix, want := range map[string]int64{
		"rope.dimension_count_swa": turned, "attention.key_length_swa": head, "attention.value_length_swa": head, "attention.value_length": head,
	} {
		if n, err := o.size64(suffix, want); err != nil || n != want {
			return errors.Join(err, fmt.Errorf("%s: %s%s: found %d, want %d: heads are of one size", g.path, o.metadata, suffix, n, want))
		}
	}
	return nil
}

// size64 returns an integer of the architecture's metadata.
func (o object) size64(suffix string, otherwise int64) (int64, error) {
	name := o.metadata + suffix
	o.read[name] = true
	switch v := o.root[name].(type) {
	case nil:
		return otherwise, nil
	case int64:
		return v, nil
	default:
		return 0, fmt.Errorf("%s: %s: found %s, want an integer", o.file, name, brief(v))
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
func (g *GGUF) addDivided(r ropeRecord, short, long string) error {
	if kind := r.metadatum("type"); kind == "longrope" {
		r.take("rope_type", "type", nil)
	}
	r.values["rope_type"] = "longrope"
	for key, name := range map[string]string{"short_factor": short, "long_factor": long} {
		numbers, err := g.tensors[name].Float32()
		if err != nil {
			return fmt.Errorf("%s: tensor %s: %w", g.files[name], name, err)
		}
		factors := make([]any, len(numbers))
		for i, f := range numbers {
			factors[i] = json.Number(strconv.FormatFloat(float64(f), 'g', -1, 32))
		}
		r.values[key] = factors
	}
	r.object.values["rope_scaling"] = r.values
	return nil
}
