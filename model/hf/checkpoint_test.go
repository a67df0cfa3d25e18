package hf

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/internal/testfiles"
)

func TestCheckpoints(t *testing.T) {
	for _, name := range []string{
		"llama", "llama31", "mistral", "qwen2", "qwen3",
		"demo", "stories260k",
	} {
		t.Run(name, func(t *testing.T) {
			dir := testfiles.Base(t, name)
			config, err := LoadConfig(dir)
			if err != nil {
				t.Fatal(err)
			}
			c, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer closeFile(t, c)
			for name, shape := range wantShapes(config) {
				x, err := c.Tensor(name)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(x.Shape, shape) {
					t.Errorf("%s: shape %v, want %v", name, x.Shape, shape)
				}
			}
			if got, want := len(c.Names()), len(wantShapes(config)); got != want {
				t.Errorf("%d tensors, want %d", got, want)
			}
			for _, name := range c.Names() {
				x, err := c.Tensor(name)
				if err != nil {
					t.Fatal(err)
				}
				v, err := x.Float32()
				if err != nil {
					t.Fatal(err)
				}
				if lo, hi := slices.Min(v), slices.Max(v); !(lo >= -100 && hi <= 100) || lo == 0 && hi == 0 && !strings.HasSuffix(name, ".bias") {
					t.Errorf("%s: values from %g to %g", name, lo, hi)
				}
			}
		})
	}
}

// TestGoldenEmbeddings compares the rows of the embedding table with what
// transformers looked up in it.
func TestGoldenEmbeddings(t *testing.T) {
	for _, name := range []string{"llama", "llama31", "mistral", "qwen2", "qwen3"} {
		dir := testfiles.Golden(t, "hf/"+name)
		c, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer closeFile(t, c)
		golden, err := OpenFile(filepath.Join(dir, "golden.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer closeFile(t, golden)
		read := func(from interface{ Tensor(string) (Tensor, error) }, name string) any {
			x, err := from.Tensor(name)
			if err != nil {
				t.Fatal(err)
			}
			return numbers(t, x)
		}
		table := read(c, "model.embed_tokens.weight").([]float32)
		want := read(golden, "hidden.0").([]float32)
		ids := read(golden, "input_ids").([]int64)
		d := len(want) / len(ids)
		for i, id := range ids {
			if !slices.Equal(table[int(id)*d:][:d], want[i*d:][:d]) {
				t.Fatalf("%s: the row of token %d (id %d) differs", name, i, id)
			}
		}
	}
}

// wantShapes lists the weights that a configuration implies.
func wantShapes(c *Config) map[string][]int {
	q, kv := c.NumAttentionHeads*c.HeadDim, c.NumKeyValueHeads*c.HeadDim
	shapes := map[string][]int{
		"model.embed_tokens.weight": {c.VocabSize, c.HiddenSize},
		"model.norm.weight":         {c.HiddenSize},
	}
	if !c.TieWordEmbeddings {
		shapes["lm_head.weight"] = []int{c.VocabSize, c.HiddenSize}
	}
	layer := map[string][]int{
		"input_layernorm.weight": {c.HiddenSize}, "post_attention_layernorm.weight": {c.HiddenSize},
		"self_attn.q_proj.weight": {q, c.HiddenSize}, "self_attn.k_proj.weight": {kv, c.HiddenSize},
		"self_attn.v_proj.weight": {kv, c.HiddenSize}, "self_attn.o_proj.weight": {c.HiddenSize, q},
		"mlp.gate_proj.weight": {c.IntermediateSize, c.HiddenSize}, "mlp.up_proj.weight": {c.IntermediateSize, c.HiddenSize},
		"mlp.down_proj.weight": {c.HiddenSize, c.IntermediateSize},
	}
	if c.AttentionBias {
		layer["self_attn.q_proj.bias"], layer["self_attn.k_proj.bias"], layer["self_attn.v_proj.bias"] = []int{q}, []int{kv}, []int{kv}
	}
	if c.QKNorm {
		layer["self_attn.q_norm.weight"], layer["self_attn.k_norm.weight"] = []int{c.HeadDim}, []int{c.HeadDim}
	}
	for i := range c.NumHiddenLayers {
		for name, shape := range layer {
			shapes["model.layers."+string(rune('0'+i))+"."+name] = shape
		}
	}
	return shapes
}

func TestShardedCheckpoint(t *testing.T) {
	dir := t.TempDir()
	for shard, entries := range map[string][]Entry{
		"model-00001-of-00002.safetensors": {{"a", []int{2}, []float32{1, 2}}, {"unlisted", []int{1}, []float32{9}}},
		"model-00002-of-00002.safetensors": {{"b", []int{1}, []float32{3}}},
	} {
		if err := WriteFile(filepath.Join(dir, shard), entries, nil); err != nil {
			t.Fatal(err)
		}
	}
	index := filepath.Join(dir, indexFile)
	write(t, index, `{"metadata":{"total_size":12},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}`)
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Names(); !slices.Equal(got, []string{"a", "b", "unlisted"}) || !c.Has("b") {
		t.Errorf("names %v", got)
	}
	x, err := c.Tensor("b")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := x.Float32(); err != nil || !slices.Equal(v, []float32{3}) {
		t.Errorf("b holds %v (%v)", v, err)
	}
	_, err = c.Tensor("lm_head.weight")
	wantError(t, err, "tensor lm_head.weight is not in the checkpoint, which holds 3 others")
	closeFile(t, c)

	for want, text := range map[string]string{
		"names 2 files, of which 1 is not there: model-00003.safetensors": `{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00003.safetensors"}}`,
		"weight_map.b: found the shard model-00001":                       `{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00001-of-00002.safetensors"}}`,
		`weight_map.a: found "../up", want a file name`:                   `{"weight_map":{"a":"../up"}}`,
		"invalid JSON: unexpected end of JSON input":                      `{"weight_map":`,
		"found no weight_map, want one that names each":                   `{}`,
		"invalid JSON: json: cannot unmarshal number in":                  `{"weight_map":{"a":1}}`,
	} {
		write(t, index, text)
		_, err := Open(dir)
		wantError(t, err, want)
	}
}

func TestOpenWithoutWeights(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(filepath.Join(dir, "absent"))
	wantError(t, err, "open checkpoint: ", "absent: no such file")
	_, err = Open(dir)
	wantError(t, err, dir+": want model.safetensors, model.safetensors.index.json or one .gguf file, found an empty folder")
	write(t, filepath.Join(dir, "pytorch_model.bin"), "")
	_, err = Open(dir)
	wantError(t, err, "found pytorch_model.bin, which is not read since it can run code")
	write(t, filepath.Join(dir, "a.gguf"), "")
	write(t, filepath.Join(dir, "b.GGUF"), "")
	_, err = Open(dir)
	wantError(t, err, "found 2 .gguf files, want one: name the file itself, for example "+filepath.Join(dir, "a.gguf"))
}

func BenchmarkOpen(b *testing.B) {
	dir := testfiles.Repository(b, "model/demo")
	info, err := os.Stat(filepath.Join(dir, weightsFile))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		c, err := Open(dir)
		if err != nil {
			b.Fatal(err)
		}
		closeFile(b, c)
	}
	b.ReportMetric(float64(info.Size()), "file-bytes")
}

func BenchmarkFloat32(b *testing.B) {
	c, err := Open(testfiles.Repository(b, "model/demo"))
	if err != nil {
		b.Fatal(err)
	}
	defer closeFile(b, c)
	x, err := c.Tensor("model.embed_tokens.weight")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(x.Data)))
	for b.Loop() {
		if _, err := x.Float32(); err != nil {
			b.Fatal(err)
		}
	}
}
