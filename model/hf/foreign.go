package hf

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// What follows is known by name and not read: an error says what it is and what to take instead.

// quantized are the methods by which Hugging Face's checkpoints are quantized, by their
// quantization_config.quant_method.
var quantized = map[string]string{
	"aqlm": "AQLM", "auto-round": "AutoRound", "awq": "AWQ", "bitnet": "BitNet", "bitsandbytes": "bitsandbytes",
	"compressed-tensors": "compressed-tensors", "eetq": "EETQ", "exl2": "ExLlamaV2", "exl3": "ExLlamaV3",
	"fbgemm_fp8": "FBGEMM's FP8", "fp8": "FP8", "gptq": "GPTQ", "higgs": "HIGGS", "hqq": "HQQ", "modelopt": "NVIDIA ModelOpt",
	"mxfp4": "MXFP4", "quanto": "Quanto", "quark": "AMD Quark", "spqr": "SpQR", "torchao": "torchao", "vptq": "VPTQ",
}

const unquantized = "none: its weights are quantized with %s, which is not read; take the model as it was before quantization, or a GGUF file of it"

// refuseQuantized reports the configuration of a model whose weights are codes.
func refuseQuantized(o object) {
	if mlx, _ := o.values["quantization"].(map[string]any); mlx["group_size"] != nil && mlx["bits"] != nil {
		o.fail("quantization", o.values["quantization"], fmt.Sprintf(unquantized, "MLX"))
	}
	for _, key := range []string{"quantization_config", "compression_config"} {
		if !o.has(key) {
			continue
		}
		c := o.child(key)
		method := cmp.Or(c.text("quant_method", ""), c.text("quant_algo", ""))
		want := fmt.Sprintf(unquantized, cmp.Or(quantized[strings.ToLower(method)], method, "a method that it does not name"))
		if method == "bitsandbytes" {
			want += "; if the weights are floats and the key is left from training, delete it"
		}
		o.fail(key, o.values[key], want)
	}
}

// kinds of models that are not supported.
const (
	mixture    = "a mixture of experts"
	latent     = "a model with multi-head latent attention (MLA), whose keys and values are maps of one normed vector"
	stateSpace = "a model with recurrent (state-space or linear attention) layers"
	encoder    = "an encoder that writes no text"
	twoParts   = "an encoder with a decoder"
	headless   = "a model without the head that makes tokens"
	seeing     = "a multimodal model whose text model is not read by itself"
	otherKind  = "a decoder of another kind than Llama's"
)

// foreignParts tell an architecture's kind by a part of its name, or of its model_type, both
// in lower case; earlier ones go first.
var foreignParts = []struct{ kind, parts string }{
	{latent, "minicpm3"},
	{mixture, "moe mixtral deepseek gptoss gpt_oss gpt-oss dbrx arctic grok llama4 qwen3next qwen3_next dots1 longcat step3 minimax kimi bailing"},
	{headless, "forsequenceclassification fortokenclassification forquestionanswering formultiplechoice rewardmodel"},
	{stateSpace, "mamba rwkv jamba zamba bamba falconh1 falcon_h1 falcon-h1 nemotronh nemotron_h recurrentgemma lfm2 xlstm plamo2 retnet"},
	{twoParts, "t5 bart pegasus m2m100 marian whisper nllb prophetnet ledfor blenderbot"},
	{encoder, "bert electra formaskedlm xlmroberta mpnet clipmodel siglip vitmodel"},
	{seeing, "vl llava paligemma mllama idefics internvl pixtral fuyu chameleon blip kosmos cogvlm vision2seq imagetexttotext forconditionalgeneration"},
	{otherKind, "gpt2 gptneox gpt_neox gptj gpt_j gptneo gptbigcode bloom optfor mpt phiforcausallm phi2 falconforcausallm rwforcausallm codegen cohere command-r nemotronforcausallm starcoder2 chatglm baichuan qwenlmhead openelm"},
}

// foreignKind says what an architecture is that is not supported, "" if it is not known.
func foreignKind(name string) string {
	name = strings.ToLower(name)
	if name == "" {
		return ""
	}
	for _, k := range foreignParts {
		for _, part := range strings.Fields(k.parts) {
			if strings.Contains(name, part) {
				return k.kind
			}
		}
	}
	if strings.HasSuffix(name, "model") { // LlamaModel: the body alone
		return headless
	}
	return ""
}

// experts says whether a configuration is a mixture's, whatever its name.
func experts(o object) bool {
	for _, key := range []string{"num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"} {
		if n, ok := o.values[key]; ok && n != nil && fmt.Sprint(n) != "0" && fmt.Sprint(n) != "1" {
			return true
		}
	}
	return false
}

// failArchitecture reports an architecture that is not supported.
func failArchitecture(o object, key, name string) {
	kind := foreignKind(name)
	if experts(o) {
		kind = mixture
	}
	want := "one of " + strings.Join(slices.Sorted(maps.Keys(families)), ", ")
	if key == "model_type" {
		want = "that of " + want
	}
	if kind != "" {
		want += fmt.Sprintf("; %s is %s, which is not supported", name, kind)
	}
	o.fail(key, o.values[key], want)
}

// ggufForeign are the architectures of llama.cpp that need more words than their kind.
var ggufForeign = map[string]string{
	"clip": "it is the part of a multimodal model that sees (mmproj): name the .gguf file of its text model",
}

// ggufTypes are what general.type says a file is, other than a model.
var ggufTypes = map[string]string{
	"adapter": "the file is a LoRA adapter: merge it into its base (llama-export-lora) and name the file that this writes",
	"mmproj":  ggufForeign["clip"],
	"imatrix": "the file is an importance matrix, which quantizers read: name the .gguf file of a model",
	"vocab":   "the file is a vocabulary alone: name the .gguf file of a model",
}

// refuseForeign reports a GGUF file that is no model which is read.
func (g *GGUF) refuseForeign() error {
	arch, _ := g.Metadata["general.architecture"].(string)
	if kind, _ := g.Metadata["general.type"].(string); ggufTypes[kind] != "" {
		return fmt.Errorf("%s: general.type: found %q, want \"model\"; %s", g.path, kind, ggufTypes[kind])
	}
	n, _ := g.Metadata[arch+".expert_count"].(int64)
	_, known := ggufArchitectures[arch]
	if known && n <= 1 {
		return nil
	}
	text := ggufForeign[arch]
	if kind := foreignKind(arch); text == "" && kind != "" {
		text = fmt.Sprintf("%s is %s, which is not supported", arch, kind)
	}
	if n > 1 {
		text = fmt.Sprintf("%s.expert_count is %d: the model is a mixture of experts, which is not supported", arch, n)
	}
	want := strings.Join(slices.Sorted(maps.Keys(ggufArchitectures)), ", ")
	if text != "" {
		want += "; " + text
	}
	return fmt.Errorf("%s: general.architecture: found %q, want one of %s", g.path, arch, want)
}
