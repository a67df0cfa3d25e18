package hf

import (
	"encoding/binary"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"eisft/data/sharedtest"
	"eisft/model/kernels"
)

func TestGGUFEqualsSafetensors(t *testing.T) {
	for _, rel := range []string{"golden/hf/llama", "golden/hf/llama31", "golden/hf/qwen2", "golden/hf/qwen3", "models/stories260k"} {
		t.Run(rel, func(t *testing.T) {
			dir := sharedtest.Path(t, rel)
			config, err := LoadConfig(dir)
			if err != nil {
				t.Fatal(err)
			}
			want, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer closeFile(t, want)
			w := ggufOf(t, config, want)
			if config.Rope.Type == "llama3" {
				w.tensor(ropeFreqs, 0, []int{config.HeadDim / 2}, ropeDivisors(t, config))
			}
			path := filepath.Join(t.TempDir(), "model.gguf")
			write(t, path, string(w.bytes()))

			got, err := Open(filepath.Dir(path)) // a folder with one .gguf file
			if err != nil {
				t.Fatal(err)
			}
			defer closeFile(t, got)
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
		})
	}
}

func ropeDivisors(t *testing.T, c *Config) []byte {
	t.Helper()
	plain, _, err := Rope{Theta: c.Rope.Theta}.InvFreq(c.HeadDim)
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
func wantSameConfig(t *testing.T, path string, want *Config) {
	t.Helper()
	got, err := LoadConfig(path)
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
	x.DType, x.Rope, x.RopeLocal, y.DType, y.Rope, y.RopeLocal = "", Rope{}, Rope{}, "", Rope{}, Rope{}
	if !reflect.DeepEqual(x, y) {
		t.Errorf("config %+v\nwant %+v", x, y)
	}
}

// TestGGUFBlocks checks the block formats on real weights: what comes back is
// within half a step of what went in, and reordered rows of q are put back.
func TestGGUFBlocks(t *testing.T) {
	dir := sharedtest.Path(t, "golden/hf/llama")
	config, err := LoadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	ck, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFile(t, ck)
	const name = "model.layers.1.self_attn.q_proj.weight"
	x, err := ck.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	want, err := x.Float32()
	if err != nil {
		t.Fatal(err)
	}
	for dtype, encode := range map[DType]func([]float32) []byte{DTypeQ80: encodeQ80, DTypeQ40: encodeQ40} {
		data := pairRows(encode(want), x.Shape[0], config.NumAttentionHeads)
		c := &Checkpoint{tensors: map[string]stored{name: {Tensor{name, dtype, x.Shape, data}, config.NumAttentionHeads}}}
		y, err := c.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := y.Float32()
		if err != nil {
			t.Fatal(err)
		}
		steps := map[DType]float64{DTypeQ80: 127, DTypeQ40: 7}[dtype]
		for b := 0; b < len(want); b += 32 {
			limit := 0.51 * maxAbs(want[b:b+32]) / steps
			for i := b; i < b+32; i++ {
				if math.Abs(float64(got[i]-want[i])) > limit {
					t.Fatalf("%s: number %d is %g, want %g up to %g", dtype, i, got[i], want[i], limit)
				}
			}
		}
	}
}

// TestQ6K builds a block from known codes and scales.
func TestQ6K(t *testing.T) {
	block := make([]byte, 210)
	kernels.F32ToF16(block[208:], []float32{0.5})
	want := make([]float32, 256)
	for i := range want {
		code, scale := (i*7)%64, i/16-8
		upper, within := i/128, i%128
		quarter, lane := within/32, within%32
		low := 64*upper + lane + 32*(quarter%2)
		block[low] |= byte(code&15) << (4 * (quarter / 2))
		block[128+32*upper+lane] |= byte(code>>4) << (2 * quarter)
		block[192+i/16] = byte(int8(scale))
		want[i] = 0.5 * float32(scale) * float32(code-32)
	}
	got, err := Tensor{"w", DTypeQ6K, []int{256}, block}.Float32()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestGGUFMetadata(t *testing.T) {
	w := &ggufWriter{}
	w.put("tokenizer.ggml.tokens", []string{"a", "ö"})
	w.put("list", []int8{-1, 2})
	w.put("flag", true)
	w.put("number", float32(0.5))
	path := filepath.Join(t.TempDir(), "vocab.gguf")
	write(t, path, string(w.bytes()))
	g, err := OpenGGUF(path)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFile(t, g)
	want := map[string]any{"tokenizer.ggml.tokens": []string{"a", "ö"}, "list": []int64{-1, 2}, "flag": true, "number": 0.5}
	if !reflect.DeepEqual(g.Metadata, want) {
		t.Errorf("metadata %v, want %v", g.Metadata, want)
	}
	_, err = g.Tensor("output.weight")
	wantError(t, err, path+": tensor output.weight is not in the file")
}

func TestGGUFErrors(t *testing.T) {
	one := make([]byte, 4*32)
	with := func(build func(w *ggufWriter)) []byte {
		w := &ggufWriter{}
		build(w)
		return w.bytes()
	}
	whole := with(func(w *ggufWriter) { w.put("a", "b"); w.tensor("t", 0, []int{32}, one) })
	version := slices.Clone(whole)
	version[4] = 1
	counts := slices.Clone(whole)
	counts[12] = 1 // 2³² tensors
	overlap := with(func(w *ggufWriter) { w.tensor("t", 0, []int{32}, one); w.data = nil; w.tensor("u", 0, []int{32}, one) })
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
		"key twice":      {with(func(w *ggufWriter) { w.put("a", "b"); w.put("a", "c") }), "metadata a: the key is there twice"},
		"tensor twice":   {with(func(w *ggufWriter) { w.tensor("t", 0, []int{32}, one); w.tensor("t", 0, []int{32}, one) }), "tensor t is there twice"},
		"overlap":        {overlap, "tensor u: found it to begin at 0, inside of t, which ends at 128"},
		"split":          {with(func(w *ggufWriter) { w.put("split.count", uint32(3)) }), "found one of 3 parts, want a whole model"},
		"alignment":      {with(func(w *ggufWriter) { w.put("general.alignment", uint32(24)) }), "metadata general.alignment: found 24, want a power of two"},
		"rank":           {with(func(w *ggufWriter) { w.tensor("t", 0, []int{1, 1, 1, 1, 1}, one) }), "tensor t: found 5 dimensions, want at most 4"},
		"overflow":       {with(func(w *ggufWriter) { w.tensor("t", 0, []int{1 << 40, 1 << 40}, one) }), "its number of elements overflows"},
		"block rows":     {with(func(w *ggufWriter) { w.tensor("t", 8, []int{32, 2}, one) }), "tensor t: shape [32 2]: Q8_0 needs rows of a multiple of 32"},
		"Q4_K":           {with(func(w *ggufWriter) { w.tensor("t", 12, []int{256}, one) }), "tensor t: found Q4_K, which is not read; want F32"},
		"unknown format": {with(func(w *ggufWriter) { w.tensor("t", 99, []int{256}, one) }), "tensor t: found ggml type 99"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "model.gguf")
			write(t, path, string(c.file))
			_, err := OpenGGUF(path)
			wantError(t, err, path, c.want)
		})
	}
}

func TestGGUFModelErrors(t *testing.T) {
	dir := sharedtest.Path(t, "golden/hf/llama")
	config, err := LoadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	ck, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFile(t, ck)
	for want, build := range map[string]func() *ggufWriter{
		`general.architecture: found "mamba", want one of llama, qwen2, qwen3`: func() *ggufWriter {
			w := &ggufWriter{}
			w.put("general.architecture", "mamba")
			return w
		},
		"llama.embedding_length: found nothing, want a positive integer": func() *ggufWriter {
			w := &ggufWriter{}
			w.put("general.architecture", "llama")
			w.put("llama.context_length", uint32(8))
			w.tensor("token_embd.weight", 0, []int{1, 1}, make([]byte, 4))
			w.put("llama.feed_forward_length", uint32(8))
			return w
		},
		"tensor blk.0.ffn_gate_exps.weight: found a name that LlamaForCausalLM has no counterpart for": func() *ggufWriter {
			w := ggufOf(t, config, ck)
			w.tensor("blk.0.ffn_gate_exps.weight", 0, []int{1}, make([]byte, 4))
			return w
		},
		"tensor blk.9.attn_q.bias: found F32 [7], want the rows of 4 heads of even size": func() *ggufWriter {
			w := ggufOf(t, config, ck)
			w.tensor("blk.9.attn_q.bias", 0, []int{7}, make([]byte, 28))
			return w
		},
		"tensor rope_freqs.weight: short_factor: found 1, want 8 factors": func() *ggufWriter {
			w := ggufOf(t, config, ck)
			w.tensor(ropeFreqs, 0, []int{1}, []byte{0, 0, 0x80, 0x3f})
			return w
		},
		"tensor rope_freqs.weight: found 0, want positive numbers": func() *ggufWriter {
			w := ggufOf(t, config, ck)
			w.tensor(ropeFreqs, 0, []int{1}, make([]byte, 4))
			return w
		},
		`eos_token_id: found true, want a token id from 0 to 255`: func() *ggufWriter {
			w := ggufOf(t, config, ck)
			w.put("tokenizer.ggml.eot_token_id", true)
			return w
		},
		"llama.rope.dimension_count: found 4, want the head size, which is 16": func() *ggufWriter {
			w := ggufOf(t, config, ck)
			w.pairs = []byte(strings.Replace(string(w.pairs), "rope.dimension_count\x04\x00\x00\x00\x10", "rope.dimension_count\x04\x00\x00\x00\x04", 1))
			return w
		},
	} {
		path := filepath.Join(t.TempDir(), "model.gguf")
		write(t, path, string(build().bytes()))
		_, err := Open(path)
		wantError(t, err, path, want)
	}
}

func FuzzGGUF(f *testing.F) {
	w := &ggufWriter{}
	w.put("general.architecture", "llama")
	w.put("tokenizer.ggml.tokens", []string{"a", "b"})
	w.put("n", uint32(7))
	w.put("scores", []int8{1, 2})
	w.tensor("token_embd.weight", 0, []int{2, 4}, make([]byte, 32))
	w.tensor("blk.0.attn_q.weight", 8, []int{2, 32}, make([]byte, 68))
	f.Add(w.bytes())
	f.Add((&ggufWriter{}).bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		metadata, tensors, err := parseGGUF(b)
		if err != nil {
			return
		}
		for name, x := range tensors {
			if _, err := x.check(); err != nil {
				t.Errorf("accepted %s: %v", name, err)
			}
			if x.DType.IsFloat() {
				if _, err := x.Float32(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		c := &Checkpoint{tensors: map[string]stored{}}
		if c.addGGUF(&GGUF{Metadata: metadata, tensors: tensors}) != nil {
			return
		}
		for _, name := range c.Names() {
			if _, err := c.Tensor(name); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
