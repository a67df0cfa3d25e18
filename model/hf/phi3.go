package hf

// phi3 is Llama with q, k and v stacked in one matrix, gate and up in another
// (arXiv 2404.14219): Phi-3, Phi-3.5 and Phi-4.
var phi3 = family{
	modelType: "phi3",
	defaults: `{"max_position_embeddings": 4096, "original_max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
		"bos_token_id": 1, "eos_token_id": 32000, "pad_token_id": 32000}`,
	slides: everyLayer,
	apply:  func(c *Config, _ object) { c.FusedProjections = true },
}
