package hftest

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"testing"

	"eisft/model/hf"
)

// names are the parts of tensor names, outside of layers and in them.
var names = map[string]string{
	"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
	"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
	"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
	"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
	"self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up",
	"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
	"self_attn.query_layernorm": "attn_q_norm", "self_attn.key_layernorm": "attn_k_norm",
	"ffn_norm": "ffn_norm", "model.tok_embeddings": "token_embd", "output": "output", "attention_norm": "attn_norm", "attention.wo": "attn_output",
	"feed_forward.w1": "ffn_gate", "feed_forward.w3": "ffn_up", "feed_forward.w2": "ffn_down",
}

// architectures are llama.cpp's names of model types, where they differ.
var architectures = map[string]string{"olmo3": "olmo2", "ministral3": "mistral3", "hunyuan_v1_dense": "hunyuan-dense"}

// paired are the model types whose rows of q and k the converter reorders.
var paired = []string{"llama", "granite", "smollm3", "minicpm", "ministral3", "internlm2"}

// putVariant writes what only some families have, as their converters do.
func (w *GGUF) putVariant(arch string, c *hf.Config) {
	for key, value := range map[string]float64{
		"attn_logit_softcapping": c.AttentionSoftcap, "final_logit_softcapping": c.FinalLogitSoftcap,
		"residual_scale": c.ResidualScale, "logit_scale": c.LogitScale,
	} {
		if value != 0 {
			w.Put(arch+"."+key, float32(value))
		}
	}
	if c.LogitScale != 0 {
		w.Put(arch+".embedding_scale", float32(c.EmbeddingScale))
	}
	if arch == "granite" {
		w.Put(arch+".attention.scale", float32(c.QueryPreAttnScale))
	}
	if arch == "mistral3" {
		w.Put(arch+".rope.scaling.yarn_log_multiplier", float32(c.Rope.MScaleAllDim))
		w.Put(arch+".attention.temperature_scale", float32(0.1))
	}
	if c.NoInputNorms && c.SlidingWindow > 0 { // other converters leave the pattern to llama.cpp
		slides := make([]bool, c.NumHiddenLayers)
		for i, t := range c.LayerTypes {
			slides[i] = t == hf.SlidingAttention
		}
		w.Put(arch+".attention.sliding_window_pattern", slides)
	}
}

// Convert makes a GGUF file of an opened Hugging Face model. encoding chooses, by a
// matrix's ggml name, how it is stored; nil leaves all of them as they are. Norms and
// biases stay as they are, too.
func Convert(t testing.TB, c *hf.Config, ck *hf.Checkpoint, encoding func(name string) Encoding) *GGUF {
	t.Helper()
	w := &GGUF{}
	arch, _ := strings.CutSuffix(c.ModelType, "_text")
	arch = cmp.Or(architectures[arch], arch)
	w.Put("general.architecture", arch)
	for key, value := range map[string]int{
		"embedding_length": c.HiddenSize, "feed_forward_length": c.IntermediateSize, "block_count": c.NumHiddenLayers,
		"attention.head_count": c.NumAttentionHeads, "attention.head_count_kv": c.NumKeyValueHeads, "attention.key_length": c.HeadDim,
		"context_length": c.MaxPositionEmbeddings, "rope.dimension_count": int(float64(c.HeadDim) * cmp.Or(c.Rope.PartialRotaryFactor, 1)),
	} {
		w.Put(arch+"."+key, uint32(value))
	}
	if c.LayerNorm {
		w.Put(arch+".attention.layer_norm_epsilon", c.RMSNormEps)
	} else {
		w.Put(arch+".attention.layer_norm_rms_epsilon", c.RMSNormEps)
	}
	w.ropeBase(arch, c)
	if c.SlidingWindow > 0 {
		w.Put(arch+".attention.sliding_window", uint32(c.SlidingWindow))
	}
	w.putVariant(arch, c)
	if c.Rope.Type == "yarn" {
		w.Put(arch+".rope.scaling.type", "yarn")
		w.Put(arch+".rope.scaling.factor", float32(c.Rope.Factor))
		w.Put(arch+".rope.scaling.original_context_length", uint32(c.Rope.OriginalMaxPositionEmbeddings))
	}
	if c.Rope.Type == "linear" {
		w.Put(arch+".rope.scaling.type", "linear")
		w.Put(arch+".rope.scaling.factor", float32(c.Rope.Factor))
	}
	if c.Rope.Type == "longrope" {
		w.Put(arch+".rope.scaling.original_context_length", uint32(c.Rope.OriginalMaxPositionEmbeddings))
		w.floats("rope_factors_short.weight", c.Rope.ShortFactor)
		w.floats("rope_factors_long.weight", c.Rope.LongFactor)
	}
	if c.BOS >= 0 {
		w.Put("tokenizer.ggml.bos_token_id", uint32(c.BOS))
	}
	w.Put("tokenizer.ggml.eos_token_id", uint32(c.EOS[0]))
	if c.Pad >= 0 {
		w.Put("tokenizer.ggml.padding_token_id", uint32(c.Pad))
	}
	for _, name := range ck.Names() {
		x, err := ck.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(name, ".attention.wqkv.") {
			w.grouped(t, c, x, encoding)
		} else {
			w.weight(t, c, x, encoding)
		}
	}
	return w
}

// ropeBase writes theta. The converter raises HunYuan's by alpha.
func (w *GGUF) ropeBase(arch string, c *hf.Config) {
	theta := c.Rope.Theta
	if c.Rope.Alpha > 0 {
		theta *= math.Pow(c.Rope.Alpha, float64(c.HeadDim)/float64(c.HeadDim-2))
		w.Put(arch+".rope.scaling.type", "none")
		w.Put(arch+".rope.scaling.factor", float32(1))
	}
	w.Put(arch+".rope.freq_base", float32(theta))
}

// grouped writes a matrix of InternLM2 that has, for each KV head, its queries, its key and
// its value, as q, k and v: reshape(groups, queries + 2, d, D) and take them apart.
func (w *GGUF) grouped(t testing.TB, c *hf.Config, x hf.Tensor, encoding func(name string) Encoding) {
	t.Helper()
	queries := c.NumAttentionHeads / c.NumKeyValueHeads
	size := len(x.Data) / (c.NumAttentionHeads + 2*c.NumKeyValueHeads) // bytes of a head
	parts := map[string][]byte{}
	for head := range c.NumAttentionHeads + 2*c.NumKeyValueHeads {
		part := "q_proj"
		switch head % (queries + 2) {
		case queries:
			part = "k_proj"
		case queries + 1:
			part = "v_proj"
		}
		parts[part] = append(parts[part], x.Data[head*size:(head+1)*size]...)
	}
	for _, part := range []string{"q_proj", "k_proj", "v_proj"} {
		y := x
		y.Name = strings.Replace(x.Name, "attention.wqkv", "self_attn."+part, 1)
		y.Data = parts[part]
		y.Shape = []int{x.Shape[0] * len(y.Data) / len(x.Data), x.Shape[1]}
		w.weight(t, c, y, encoding)
	}
}

// floats adds a tensor of numbers.
func (w *GGUF) floats(name string, numbers []float64) {
	var data []byte
	for _, x := range numbers {
		data = le.AppendUint32(data, math.Float32bits(float32(x)))
	}
	w.Tensor(name, 0, []int{len(numbers)}, data)
}

func (w *GGUF) weight(t testing.TB, c *hf.Config, x hf.Tensor, encoding func(name string) Encoding) {
	t.Helper()
	name := ggmlName(t, x.Name, c.PostNorms)
	data, kind := x.Data, map[hf.DType]uint32{hf.DTypeF32: 0, hf.DTypeF16: 1, hf.DTypeBF16: 30}[x.DType]
	if encoding != nil && len(x.Shape) == 2 {
		values, err := x.Float32()
		if err != nil {
			t.Fatal(err)
		}
		e := encoding(name)
		data, kind = e.Encode(values), e.Kind
	}
	if c.NormAddsOne && strings.HasSuffix(name, "norm.weight") {
		values, err := x.Float32()
		if err != nil {
			t.Fatal(err)
		}
		data, kind = nil, 0
		for _, v := range values {
			data = le.AppendUint32(data, math.Float32bits(v+1))
		}
	}
	if heads := pairedHeads(x.Name, c); slices.Contains(paired, c.ModelType) && heads > 0 {
		data = pairRows(data, x.Shape[0], heads)
	}
	w.Tensor(name, kind, x.Shape, data)
}

func pairedHeads(name string, c *hf.Config) int {
	switch {
	case strings.Contains(name, ".q_proj."):
		return c.NumAttentionHeads
	case strings.Contains(name, ".k_proj."):
		return c.NumKeyValueHeads
	default:
		return 0
	}
}

// pairRows is the converter's permutation: reshape(heads, 2, d/2), swap the last two axes.
func pairRows(data []byte, rows, heads int) []byte {
	size, d := len(data)/rows, rows/heads
	out := make([]byte, len(data))
	for h := range heads {
		for j := range 2 {
			for i := range d / 2 {
				copy(out[(h*d+i*2+j)*size:][:size], data[(h*d+j*d/2+i)*size:])
			}
		}
	}
	return out
}

// postNorms are the names of a layer's norms where there are four.
var postNorms = map[string]string{
	"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm",
}

func ggmlName(t testing.TB, name string, fourNorms bool) string {
	t.Helper()
	prefix, rest := "", name
	if tail, inLayer := strings.CutPrefix(name, "model.layers."); inLayer {
		index, part, _ := strings.Cut(tail, ".")
		prefix, rest = "blk."+index+".", part
	}
	dot := strings.LastIndex(rest, ".")
	to := names[rest[:dot]]
	if other := postNorms[rest[:dot]]; fourNorms && other != "" {
		to = other
	}
	if to == "" {
		t.Fatalf("no ggml name for %s", name)
	}
	return prefix + to + rest[dot:]
}
