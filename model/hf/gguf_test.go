package hf_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model/hf"
	"eisft/model/hf/hftest"
)

func TestGGUFEqualsSafetensors(t *testing.T) {
	for _, name := range []string{"llama", "llama31", "qwen2", "qwen3", "stories260k"} {
		t.Run(name, func(t *testing.T) {
			dir := testfiles.Base(t, name)
			config, err := hf.LoadConfig(dir)
			if err != nil {
				t.Fatal(err)
			}
			want, err := hf.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer hf.CloseFile(t, want)
			w := hftest.Convert(t, config, want, nil)
			if config.Rope.Type == "llama3" {
				w.Tensor("rope_freqs.weight", 0, []int{config.HeadDim / 2}, ropeDivisors(t, config))
			}
			path := filepath.Join(t.TempDir(), "model.gguf")
			hf.Write(t, path, string(w.Bytes()))

			got, err := hf.Open(filepath.Dir(path)) // a folder with one .gguf file
			if err != nil {
				t.Fatal(err)
			}
			defer hf.CloseFile(t, got)
			if !slices.Equal(got.Names(), want.Names()) {
				t.Fatalf("names %v\nwant %v", got.Names(), want.Names())
			}
			for _, name := range want.Names() {
				a, _ := got.Tensor(name)
				b, _ := want.Tensor(name)
				if !reflect.DeepEqual(a, b) {
					t.Errorf("%s differs", name)
				}
			}
			wantSameConfig(t, path, config)
			wantSameConfig(t, filepath.Dir(path), config)
			text, err := hf.ConfigText(path)
			if err != nil {
				t.Fatal(err)
			}
			folder := t.TempDir()
			hf.Write(t, filepath.Join(folder, hf.ConfigFile), string(text))
			wantSameConfig(t, folder, config)
		})
	}
}

func ropeDivisors(t *testing.T, c *hf.Config) []byte {
	t.Helper()
	plain, _, err := hf.Rope{Theta: c.Rope.Theta}.InvFreq(c.HeadDim)
	if err != nil {
		t.Fatal(err)
	}
	scaled, _, err := c.Rope.InvFreq(c.HeadDim)
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for i := range plain {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(plain[i]/scaled[i]))
	}
	return b
}

// wantSameConfig compares all that a GGUF file can tell; rope by its frequencies.
func wantSameConfig(t *testing.T, path string, want *hf.Config) {
	t.Helper()
	got, err := hf.LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	a, _, err := got.Rope.InvFreq(got.HeadDim)
	if err != nil {
		t.Fatal(err)
	}
	b, _, _ := want.Rope.InvFreq(want.HeadDim)
	for i := range b {
		if math.Abs(float64(a[i]/b[i]-1)) > 2e-7 {
			t.Errorf("frequency %d is %g, want %g", i, a[i], b[i])
		}
	}
	x, y := *got, *want
	for _, c := range []*hf.Config{&x, &y} {
		c.DType, c.Rope, c.RopeLocal, c.Keys = "", hf.Rope{}, hf.Rope{}, nil
	}
	if !reflect.DeepEqual(x, y) {
		t.Errorf("config %+v\nwant %+v", x, y)
	}
}

func TestGGUFMetadata(t *testing.T) {
	w := &hftest.GGUF{}
	w.Put("tokenizer.ggml.tokens", []string{"a", "ö"})
	w.Put("list", []int8{-1, 2})
	w.Put("flag", true)
	w.Put("number", float32(0.5))
	path := filepath.Join(t.TempDir(), "vocab.gguf")
	hf.Write(t, path, string(w.Bytes()))
	g, err := hf.OpenGGUF(path)
	if err != nil {
		t.Fatal(err)
	}
	defer hf.CloseFile(t, g)
	want := map[string]any{"tokenizer.ggml.tokens": []string{"a", "ö"}, "list": []int64{-1, 2}, "flag": true, "number": 0.5}
	if !reflect.DeepEqual(g.Metadata, want) {
		t.Errorf("metadata %v, want %v", g.Metadata, want)
	}
	_, err = g.Tensor("output.weight")
	hf.WantError(t, err, path+": tensor output.weight is not in the file")
}

func TestGGUFErrors(t *testing.T) {
	one := make([]byte, 4*32)
	with := func(build func(w *hftest.GGUF)) []byte {
		w := &hftest.GGUF{}
		build(w)
		return w.Bytes()
	}
	whole := with(func(w *hftest.GGUF) { w.Put("a", "b"); w.Tensor("t", 0, []int{32}, one) })
	version := slices.Clone(whole)
	version[4] = 1
	counts := slices.Clone(whole)
	counts[12] = 1 // 2³² tensors
	overlap := with(func(w *hftest.GGUF) { w.Tensor("t", 0, []int{32}, one); w.DropData(); w.Tensor("u", 0, []int{32}, one) })
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":          {nil, "found no GGUF at the start of the file"},
		"version":        {version, "found version 1, want 2 or 3"},
		"counts":         {counts, "found a count of 4294967297, but the file has room for"},
		"header cut":     {whole[:45], "metadata a: found 0 bytes after byte 45, want 1"},
		"record cut":     {whole[:60], "tensor t: found"},
		"data cut":       {whole[:len(whole)-32], "tensor t: found 128 bytes at offset 0, want them within the 96 bytes of data"},
		"key twice":      {with(func(w *hftest.GGUF) { w.Put("a", "b"); w.Put("a", "c") }), "metadata a: the key is there twice"},
		"tensor twice":   {with(func(w *hftest.GGUF) { w.Tensor("t", 0, []int{32}, one); w.Tensor("t", 0, []int{32}, one) }), "tensor t is there twice"},
		"overlap":        {overlap, "tensor u: found it to begin at 0, inside of t, which ends at 128"},
		"alignment":      {with(func(w *hftest.GGUF) { w.Put("general.alignment", uint32(24)) }), "metadata general.alignment: found 24, want a power of two"},
		"rank":           {with(func(w *hftest.GGUF) { w.Tensor("t", 0, []int{1, 1, 1, 1, 1}, one) }), "tensor t: found 5 dimensions, want at most 4"},
		"overflow":       {with(func(w *hftest.GGUF) { w.Tensor("t", 0, []int{1 << 40, 1 << 40}, one) }), "its number of elements overflows"},
		"block rows":     {with(func(w *hftest.GGUF) { w.Tensor("t", 8, []int{32, 2}, one) }), "tensor t: shape [32 2]: Q8_0 needs rows of a multiple of 32"},
		"of computing":   {with(func(w *hftest.GGUF) { w.Tensor("t", 15, []int{256}, one) }), "tensor t: found Q8_K, which is not read; want one of F32, F16, Q4_0"},
		"unknown format": {with(func(w *hftest.GGUF) { w.Tensor("t", 99, []int{256}, one) }), "tensor t: found ggml type 99"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "model.gguf")
			hf.Write(t, path, string(c.file))
			_, err := hf.OpenGGUF(path)
			hf.WantError(t, err, path, c.want)
		})
	}
}

func TestGGUFModelErrors(t *testing.T) {
	dir := testfiles.Golden(t, "hf/llama")
	config, err := hf.LoadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	ck, err := hf.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer hf.CloseFile(t, ck)
	for want, build := range map[string]func() *hftest.GGUF{
		`general.architecture: found "mamba", want one of `: func() *hftest.GGUF {
			w := &hftest.GGUF{}
			w.Put("general.architecture", "mamba")
			return w
		},
		"llama.embedding_length: found nothing, want a positive integer": func() *hftest.GGUF {
			w := &hftest.GGUF{}
			w.Put("general.architecture", "llama")
			w.Put("llama.context_length", uint32(8))
			w.Tensor("token_embd.weight", 0, []int{1, 1}, make([]byte, 4))
			w.Put("llama.feed_forward_length", uint32(8))
			return w
		},
		"tensor blk.0.ffn_gate_exps.weight: found a name that LlamaForCausalLM has no counterpart for": func() *hftest.GGUF {
			w := hftest.Convert(t, config, ck, nil)
			w.Tensor("blk.0.ffn_gate_exps.weight", 0, []int{1}, make([]byte, 4))
			return w
		},
		"tensor blk.9.attn_q.bias: found F32 [7], want the rows of 4 heads of even size": func() *hftest.GGUF {
			w := hftest.Convert(t, config, ck, nil)
			w.Tensor("blk.9.attn_q.bias", 0, []int{7}, make([]byte, 28))
			return w
		},
		"rope_freqs.weight.short_factor: found 1, want 8 factors": func() *hftest.GGUF {
			w := hftest.Convert(t, config, ck, nil)
			w.Tensor("rope_freqs.weight", 0, []int{1}, []byte{0, 0, 0x80, 0x3f})
			return w
		},
		"rope_freqs.weight.short_factor[0]: found 0, want a list of positive numbers": func() *hftest.GGUF {
			w := hftest.Convert(t, config, ck, nil)
			w.Tensor("rope_freqs.weight", 0, []int{1}, make([]byte, 4))
			return w
		},
		`eos_token_id: found true, want a token id from 0 to 255`: func() *hftest.GGUF {
			w := hftest.Convert(t, config, ck, nil)
			w.Put("tokenizer.ggml.eot_token_id", true)
			return w
		},
	} {
		path := filepath.Join(t.TempDir(), "model.gguf")
		hf.Write(t, path, string(build().Bytes()))
		_, err := hf.LoadConfig(path)
		if err == nil { // then it is a tensor
			_, err = hf.Open(path)
		}
		hf.WantError(t, err, path, want)
	}
}

// TestGGUFGemma3: the scale of the attention is that of the head size, but for 27b.
func TestGGUFGemma3(t *testing.T) {
	for layers, want := range map[uint32]float64{34: 256, 62: 168} {
		w := &hftest.GGUF{}
		w.Put("general.architecture", "gemma3")
		for key, value := range map[string]uint32{
			"embedding_length": 5376, "feed_forward_length": 21504, "block_count": layers, "attention.head_count": 32,
			"attention.head_count_kv": 16, "attention.key_length": 256, "context_length": 131072, "attention.sliding_window": 1024,
		} {
			w.Put("gemma3."+key, value)
		}
		w.Put("gemma3.rope.freq_base", float32(1e6))
		w.Put("gemma3.rope.scaling.type", "linear")
		w.Put("gemma3.rope.scaling.factor", float32(8))
		w.Tensor("token_embd.weight", 0, []int{1, 1}, make([]byte, 4))
		c, err := hf.LoadConfig(w.Write(t))
		if err != nil {
			t.Fatal(err)
		}
		if got := 1 / (c.QueryPreAttnScale * c.QueryPreAttnScale); math.Abs(got-want) > 1e-6 {
			t.Errorf("%d layers: attention is scaled for heads of %g, want %g", layers, got, want)
		}
		if c.SlidingWindow != 1024 || c.LayerTypes[4] != hf.SlidingAttention || c.LayerTypes[5] != hf.FullAttention ||
			c.Rope.Factor != 8 || c.RopeLocal.Type != "default" || c.RopeLocal.Theta != 1e4 || !c.TieWordEmbeddings {
			t.Errorf("read as %+v", c)
		}
	}
}

// TestGGUFPartialRotary: a head that is turned in part is not what config.json says.
func TestGGUFPartialRotary(t *testing.T) {
	dir := testfiles.Golden(t, "hf/llama")
	config, err := hf.LoadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	ck, err := hf.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer hf.CloseFile(t, ck)
	const key = "rope.dimension_count\x04\x00\x00\x00"
	file := bytes.Replace(hftest.Convert(t, config, ck, nil).Bytes(), []byte(key+"\x10"), []byte(key+"\x04"), 1)
	path := filepath.Join(t.TempDir(), "model.gguf")
	hf.Write(t, path, string(file))
	_, err = hf.LoadConfig(path)
	hf.WantError(t, err, path, "llama.rope.dimension_count: found 4, want the head size, which is 16")
}

func FuzzGGUF(f *testing.F) {
	w := &hftest.GGUF{}
	w.Put("general.architecture", "llama")
	w.Put("tokenizer.ggml.tokens", []string{"a", "b"})
	w.Put("n", uint32(7))
	w.Put("scores", []int8{1, 2})
	w.Tensor("token_embd.weight", 0, []int{2, 4}, make([]byte, 32))
	w.Tensor("blk.0.attn_q.weight", 8, []int{2, 32}, make([]byte, 68))
	f.Add(w.Bytes())
	f.Add((&hftest.GGUF{}).Bytes())
	reference := readGGMLReference(f)
	for _, of := range reference.Types {
		one := &hftest.GGUF{}
		one.Tensor("token_embd.weight", of.Number, []int{2, len(of.First)}, randomBlocks(2, of.Size, of.Halves))
		f.Add(one.Bytes())
	}
	f.Add(withMetadata("qwen3", map[string]any{".rope.scaling.type": "yarn", ".rope.scaling.factor": float32(4), ".rope.scaling.yarn_attn_factor": float32(0.5)}).Bytes())
	f.Add(withMetadata("gemma3", map[string]any{".attention.sliding_window": uint32(8), ".attention.sliding_window_pattern": []bool{true, false, true}}).Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		metadata, tensors, err := hf.ParseGGUF(b)
		if err != nil {
			return
		}
		for name, x := range tensors {
			if err := hf.CheckTensor(x); err != nil {
				t.Errorf("accepted %s: %v", name, err)
			}
			if x.DType.IsFloat() {
				if _, err := x.Float32(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		if c, err := hf.ConfigOf(metadata, tensors); err == nil && len(c.Keys) != len(metadata) {
			t.Errorf("of %d keys %d are listed", len(metadata), len(c.Keys))
		}
		c, err := hf.CheckpointOf(metadata, tensors)
		if err != nil {
			return
		}
		for _, name := range c.Names() {
			if _, err := c.Tensor(name); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// TestGGUFForeign: a file that is no supported model says what it is and what to take.
func TestGGUFForeign(t *testing.T) {
	all := hf.GGUFArchitectures()
	for _, tc := range []struct {
		keys map[string]any
		want string
	}{
		{map[string]any{"general.architecture": "clip"}, `general.architecture: found "clip", want one of ` + all + "; it is the part of a multimodal model that sees (mmproj): name the .gguf file of its text model"},
		{map[string]any{"general.architecture": "clip", "general.type": "mmproj"}, `general.type: found "mmproj", want "model"; it is the part of a multimodal model that sees (mmproj): name the .gguf file of its text model`},
		{map[string]any{"general.architecture": "llama", "general.type": "adapter"}, `general.type: found "adapter", want "model"; the file is a LoRA adapter: merge it into its base (llama-export-lora) and name the file that this writes`},
		{map[string]any{"general.architecture": "qwen3moe"}, `general.architecture: found "qwen3moe", want one of ` + all + "; qwen3moe is a mixture of experts, which is not supported"},
		{map[string]any{"general.architecture": "gpt-oss"}, `general.architecture: found "gpt-oss", want one of ` + all + "; gpt-oss is a mixture of experts, which is not supported"},
		{map[string]any{"general.architecture": "deepseek2"}, `general.architecture: found "deepseek2", want one of ` + all + "; deepseek2 is a mixture of experts, which is not supported"},
		{map[string]any{"general.architecture": "llama", "llama.expert_count": uint32(8)}, `general.architecture: found "llama", want one of ` + all + "; llama.expert_count is 8: the model is a mixture of experts, which is not supported"},
		{map[string]any{"general.architecture": "mamba"}, `general.architecture: found "mamba", want one of ` + all + "; mamba is a model with recurrent (state-space or linear attention) layers, which is not supported"},
		{map[string]any{"general.architecture": "nomic-bert"}, `general.architecture: found "nomic-bert", want one of ` + all + "; nomic-bert is an encoder that writes no text, which is not supported"},
		{map[string]any{"general.architecture": "new"}, `general.architecture: found "new", want one of ` + all},
		{nil, `general.architecture: found "", want one of ` + all},
	} {
		w := &hftest.GGUF{}
		for key, value := range tc.keys {
			w.Put(key, value)
		}
		path := w.Write(t)
		_, err := hf.LoadConfig(path)
		_, weights := hf.Open(path)
		if want := path + ": " + tc.want; err == nil || err.Error() != want || weights == nil || weights.Error() != want {
			t.Errorf("error %v\nand   %v\nwant  %s", err, weights, want)
		}
	}
}
