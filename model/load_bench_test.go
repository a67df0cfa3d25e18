package model_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"eisft/model"
)

// BenchmarkLoadBase opens a checkpoint of 1 GB. Its file has holes for weights:
// how long opening takes does not depend on them.
func BenchmarkLoadBase(b *testing.B) {
	dir := b.TempDir()
	size := writeSparse(b, dir, 2048, 8192, 9, 32000)
	for b.Loop() {
		if _, err := model.LoadBase(dir); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(size)/1e9, "GB")
}

// writeSparse makes a Llama of the given sizes in BF16 and returns the size of
// its file.
func writeSparse(b *testing.B, dir string, hidden, ffn, layers, vocab int) int64 {
	b.Helper()
	type entry struct {
		DType   string   `json:"dtype"`
		Shape   []int    `json:"shape"`
		Offsets [2]int64 `json:"data_offsets"`
	}
	header, end := map[string]entry{}, int64(0)
	add := func(name string, shape ...int) {
		n := int64(2)
		for _, s := range shape {
			n *= int64(s)
		}
		header[name+".weight"] = entry{"BF16", shape, [2]int64{end, end + n}}
		end += n
	}
	add("model.embed_tokens", vocab, hidden)
	for i := range layers {
		p := fmt.Sprintf("model.layers.%d.", i)
		add(p+"input_layernorm", hidden)
		add(p+"post_attention_layernorm", hidden)
		for _, name := range []string{"q_proj", "k_proj", "v_proj", "o_proj"} {
			add(p+"self_attn."+name, hidden, hidden)
		}
		add(p+"mlp.gate_proj", ffn, hidden)
		add(p+"mlp.up_proj", ffn, hidden)
		add(p+"mlp.down_proj", hidden, ffn)
	}
	add("model.norm", hidden)
	text, err := json.Marshal(header)
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(dir, "model.safetensors")
	if err := os.WriteFile(path, append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), 0o600); err != nil {
		b.Fatal(err)
	}
	end += 8 + int64(len(text))
	if err := os.Truncate(path, end); err != nil {
		b.Fatal(err)
	}
	config := fmt.Sprintf(`{"architectures": ["LlamaForCausalLM"], "hidden_size": %d, "intermediate_size": %d, "num_hidden_layers": %d,
		"vocab_size": %d, "num_attention_heads": 32, "max_position_embeddings": 2048, "tie_word_embeddings": true}`, hidden, ffn, layers, vocab)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	return end
}
