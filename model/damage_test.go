package model_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/model"
	"eisft/model/hf"
)

// TestNotNumbers: a base with a NaN in one row of the head, or in a layer, is found by its
// logits, and the error names file, tensor and row.
func TestNotNumbers(t *testing.T) {
	for name, row := range map[string]int{"model.embed_tokens.weight": 4090, "model.layers.3.mlp.down_proj.weight": 7} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS("demo")); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "model.safetensors")
		f, err := hf.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var entries []hf.Entry
		for _, n := range f.Names() {
			tensor, err := f.Tensor(n)
			if err != nil {
				t.Fatal(err)
			}
			v, err := tensor.Float32()
			if err != nil {
				t.Fatal(err)
			}
			if n == name {
				v[row*tensor.Shape[1]+1] = float32(math.NaN())
			}
			entries = append(entries, hf.Entry{Name: n, Shape: tensor.Shape, Data: hf.BF16(v)})
		}
		if err := errors.Join(hf.WriteFile(path+".new", entries, f.Metadata), f.Close(), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
		base, err := model.LoadBase(dir)
		if err != nil {
			t.Fatal(err)
		}
		spec, err := model.Preset("eisft")
		if err != nil {
			t.Fatal(err)
		}
		m, err := model.New(base, spec, nil)
		if err != nil {
			t.Fatal(err)
		}
		s := m.NewStream(model.StreamOptions{})
		next, err := s.Read(t.Context(), []int32{5, 6, 7}, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Generate(t.Context(), next, model.GenerateOptions{MaxNewTokens: 1})
		want := fmt.Sprintf("%s: tensor %s holds NaN in row %d;", path, name, row)
		if !errors.Is(err, model.ErrNotNumbers) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestDamagedBlock: the trained block is searched, too, and a model without damage is not
// blamed.
func TestDamagedBlock(t *testing.T) {
	base, err := model.LoadBase("demo")
	if err != nil {
		t.Fatal(err)
	}
	spec, err := model.Preset("eisft")
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.New(base, spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Damage(); err != nil {
		t.Error(err)
	}
	if err := m.NotNumbers(); !strings.Contains(err.Error(), "too large for float32") {
		t.Error(err)
	}
	p := m.Params.List()[3]
	p.Data[2] = float32(math.Inf(1))
	if err := m.Damage(); err == nil || !strings.Contains(err.Error(), "tensor "+p.Name+" holds +Inf at index 2") {
		t.Errorf("%v, want %s", err, p.Name)
	}
}
