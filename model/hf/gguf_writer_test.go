package hf

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"eisft/model/kernels"
)

// ggufWriter builds a GGUF file of version 3 as llama.cpp's converter does.
type ggufWriter struct {
	pairs, infos, data   []byte
	pairCount, infoCount uint64
}

func ggufText(s string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(s))), s...)
}

func (w *ggufWriter) put(key string, value any) {
	w.pairs = append(w.pairs, ggufText(key)...)
	w.pairCount++
	le := binary.LittleEndian
	switch v := value.(type) {
	case uint32:
		w.pairs = le.AppendUint32(le.AppendUint32(w.pairs, ggufUint32), v)
	case float32:
		w.pairs = le.AppendUint32(le.AppendUint32(w.pairs, ggufFloat32), math.Float32bits(v))
	case string:
		w.pairs = append(le.AppendUint32(w.pairs, ggufString), ggufText(v)...)
	case bool:
		w.pairs = append(le.AppendUint32(w.pairs, ggufBool), map[bool]byte{true: 1}[v])
	case []string:
		w.pairs = le.AppendUint64(le.AppendUint32(le.AppendUint32(w.pairs, ggufArray), ggufString), uint64(len(v)))
		for _, s := range v {
			w.pairs = append(w.pairs, ggufText(s)...)
		}
	case []int8:
		w.pairs = le.AppendUint64(le.AppendUint32(le.AppendUint32(w.pairs, ggufArray), ggufInt8), uint64(len(v)))
		for _, n := range v {
			w.pairs = append(w.pairs, byte(n))
		}
	default:
		panic(fmt.Sprintf("no writer for %T", value))
	}
}

func (w *ggufWriter) tensor(name string, kind uint32, shape []int, data []byte) {
	le := binary.LittleEndian
	w.infos = le.AppendUint32(append(w.infos, ggufText(name)...), uint32(len(shape)))
	for _, dim := range slices.Backward(shape) {
		w.infos = le.AppendUint64(w.infos, uint64(dim))
	}
	w.infos = le.AppendUint64(le.AppendUint32(w.infos, kind), uint64(len(w.data)))
	w.infoCount++
	w.data = append(w.data, data...)
	w.data = append(w.data, make([]byte, -len(w.data)&31)...)
}

func (w *ggufWriter) bytes() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32([]byte("GGUF"), 3)
	b = le.AppendUint64(le.AppendUint64(b, w.infoCount), w.pairCount)
	b = append(append(b, w.pairs...), w.infos...)
	b = append(b, make([]byte, -len(b)&31)...)
	return append(b, w.data...)
}

// ggufOf converts an opened Hugging Face model to GGUF.
func ggufOf(t *testing.T, c *Config, ck *Checkpoint) *ggufWriter {
	t.Helper()
	arch := map[string]string{"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}[c.ModelType]
	w := &ggufWriter{}
	w.put("general.architecture", arch)
	for key, value := range map[string]int{
		"embedding_length": c.HiddenSize, "feed_forward_length": c.IntermediateSize, "block_count": c.NumHiddenLayers,
		"attention.head_count": c.NumAttentionHeads, "attention.head_count_kv": c.NumKeyValueHeads, "attention.key_length": c.HeadDim,
		"context_length": c.MaxPositionEmbeddings, "rope.dimension_count": c.HeadDim,
	} {
		w.put(arch+"."+key, uint32(value))
	}
	w.put(arch+".attention.layer_norm_rms_epsilon", c.RMSNormEps)
	w.put(arch+".rope.freq_base", float32(c.Rope.Theta))
	w.put("tokenizer.ggml.tokens", []string{"<s>", "</s>", "a"})
	w.put("tokenizer.ggml.bos_token_id", uint32(c.BOS))
	w.put("tokenizer.ggml.eos_token_id", uint32(c.EOS[0]))
	if c.Pad >= 0 {
		w.put("tokenizer.ggml.padding_token_id", uint32(c.Pad))
	}
	for _, name := range ck.Names() {
		x, err := ck.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		data := x.Data
		if heads := pairedHeadsHF(name, c); arch == "llama" && heads > 0 {
			data = pairRows(data, x.Shape[0], heads)
		}
		w.tensor(ggmlName(t, name), map[DType]uint32{DTypeF32: 0, DTypeBF16: 30}[x.DType], x.Shape, data)
	}
	return w
}

func pairedHeadsHF(name string, c *Config) int {
	switch {
	case strings.Contains(name, ".q_proj."):
		return c.NumAttentionHeads
	case strings.Contains(name, ".k_proj."):
		return c.NumKeyValueHeads
	}
	return 0
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

func ggmlName(t *testing.T, name string) string {
	t.Helper()
	rest, inLayer := strings.CutPrefix(name, "model.layers.")
	prefix := ""
	if inLayer {
		index, tail, _ := strings.Cut(rest, ".")
		prefix, rest = "blk."+index+".", tail
	}
	dot := strings.LastIndex(rest, ".")
	for ggml, hf := range ggufNames {
		if hf == rest[:dot] {
			return prefix + ggml + rest[dot:]
		}
	}
	t.Fatalf("no ggml name for %s", name)
	return ""
}

func maxAbs(v []float32) float64 { return math.Max(float64(slices.Max(v)), -float64(slices.Min(v))) }

// encodeQ80 and encodeQ40 round to the nearest code, with a scale of F16.
func encodeQ80(v []float32) []byte {
	return encodeBlocks(v, 127, func(codes []int) []byte {
		out := make([]byte, 32)
		for i, q := range codes {
			out[i] = byte(int8(q))
		}
		return out
	})
}

func encodeQ40(v []float32) []byte {
	return encodeBlocks(v, 7, func(codes []int) []byte {
		out := make([]byte, 16)
		for i := range out {
			out[i] = byte(codes[i]+8) | byte(codes[i+16]+8)<<4
		}
		return out
	})
}

func encodeBlocks(v []float32, top float64, pack func([]int) []byte) []byte {
	var out []byte
	for block := range slices.Chunk(v, 32) {
		var scale [2]byte
		kernels.F32ToF16(scale[:], []float32{float32(maxAbs(block) / top)})
		d := float64(half(scale[:]))
		codes := make([]int, 32)
		for i, x := range block {
			codes[i] = int(math.Min(math.Max(math.Round(float64(x)/d), -top), top))
		}
		out = append(append(out, scale[:]...), pack(codes)...)
	}
	return out
}
