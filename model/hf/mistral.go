package hf

// mistral is Llama with a sliding window in every layer (arXiv 2310.06825);
// from version 0.2 on without.
var mistral = family{
	modelType: "mistral",
	defaults: `{"num_key_value_heads": 8, "max_position_embeddings": 131072, "sliding_window": 4096,
		"bos_token_id": 1, "eos_token_id": 2}`,
	slides: everyLayer,
}
