package hf

// bluelm is Llama with a LayerNorm over the embeddings, and with a rotary scaling of its own
// (ntkmixed) in the models for 32K tokens: BlueLM 7B, the base of EdgeInfinite's paper.
// Sources: vivo-ai-lab/BlueLM, example/vllm (bluelm.py, rotary_embedding.py), and vivo's
// modeling_bluelm.py as ssbuild/deep_training has it.
var bluelm = family{
	modelType: "BlueLM",
	defaults:  `{"max_position_embeddings": 2048, "use_stable_embedding": true, "bos_token_id": 1, "eos_token_id": 2}`,
	apply: func(c *Config, o object) {
		c.EmbeddingNorm = o.boolean("use_stable_embedding", true)
		if c.Rope.Type == "ntkmixed" { // the configured length is that before it was extended
			c.MaxPositionEmbeddings *= int(c.Rope.Factor)
		}
	},
}
