package model_test

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"eisft/model"
	"eisft/model/hf"
)

// altered is a checkpoint with some tensors added or replaced.
type altered struct {
	model.Tensors
	with map[string]hf.Tensor
}

func (a altered) Names() []string {
	names := a.Tensors.Names()
	for name := range a.with {
		names = append(names, name)
	}
	return names
}

func (a altered) Tensor(name string) (hf.Tensor, error) {
	if t, ok := a.with[name]; ok {
		return t, nil
	}
	return a.Tensors.Tensor(name)
}

func TestNewBaseRefuses(t *testing.T) {
	ones := func(n int) []byte {
		b := make([]byte, 4*n)
		for i := range n {
			binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(1))
		}
		return b
	}
	damaged := ones(64)
	binary.LittleEndian.PutUint32(damaged[4*3:], math.Float32bits(float32(math.NaN())))
	for name, tc := range map[string]struct {
		tensor hf.Tensor
		config func(*hf.Config)
		want   string
	}{
		"missing tensor": {
			config: func(c *hf.Config) { c.NumHiddenLayers, c.LayerTypes = 3, append(c.LayerTypes, c.LayerTypes[0]) },
			want:   "tensor model.layers.2.input_layernorm.weight is not in the checkpoint",
		},
		"layers beyond": {
			config: func(c *hf.Config) { c.NumHiddenLayers = 1 },
			want:   "tensor model.layers.1.input_layernorm.weight has no place in a Phi3ForCausalLM",
		},
		"stray tensor": {
			tensor: hf.Tensor{Name: "model.layers.0.self_attn.q_norm.weight", DType: hf.DTypeF32, Shape: []int{16}, Data: ones(16)},
			want:   "tensor model.layers.0.self_attn.q_norm.weight has no place in a Phi3ForCausalLM with the values of config.json",
		},
		"wrong shape": {
			config: func(c *hf.Config) { c.VocabSize = 97 },
			want:   "tensor model.embed_tokens.weight has shape [96 64], but config.json makes it [97 64]",
		},
		"wrong dtype": {
			tensor: hf.Tensor{Name: "model.norm.weight", DType: hf.DTypeI32, Shape: []int{64}, Data: ones(64)},
			want:   "tensor model.norm.weight is I32; weights must be F32, F16 or BF16",
		},
		"not a number": {
			tensor: hf.Tensor{Name: "model.norm.weight", DType: hf.DTypeF32, Shape: []int{64}, Data: damaged},
			want:   "tensor model.norm.weight holds NaN at index 3; the checkpoint is damaged",
		},
		"no attention scale": {
			config: func(c *hf.Config) { c.QueryPreAttnScale = 0 },
			want:   "QueryPreAttnScale is 0; it must be above 0",
		},
		"rotary": {
			config: func(c *hf.Config) { c.Rope.ShortFactor = nil },
			want:   "short_factor: found 0, want 6 factors",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := ourFamily(t, "phi3")
			c, err := hf.LoadConfig(dir)
			if err != nil {
				t.Fatal(err)
			}
			ck, err := hf.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = ck.Close() }()
			if tc.config != nil {
				tc.config(c)
			}
			weights := altered{ck, map[string]hf.Tensor{}}
			if tc.tensor.Name != "" {
				weights.with[tc.tensor.Name] = tc.tensor
			}
			if _, err = model.NewBase(c, weights); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}
