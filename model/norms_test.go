package model_test

import (
	"strings"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/hf"
)

// TestParametersOfFamilies: a base counts every number of its checkpoint.
func TestParametersOfFamilies(t *testing.T) {
	for _, name := range families {
		dir := testfiles.Base(t, name)
		ck, err := hf.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		for _, tensor := range ck.Names() {
			x, err := ck.Tensor(tensor)
			if err != nil {
				t.Fatal(err)
			}
			n := 1
			for _, size := range x.Shape {
				n *= size
			}
			want += n
		}
		if err := ck.Close(); err != nil {
			t.Fatal(err)
		}
		b, err := model.LoadBase(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.Parameters(); got != want {
			t.Errorf("%s has %d parameters, but its checkpoint has %d numbers", name, got, want)
		}
	}
}

// TestIdentityKnowsNorms: a base with another bias of a norm, another norm over its
// embeddings or other weights after rotary embedding is another base.
func TestIdentityKnowsNorms(t *testing.T) {
	for name, part := range map[string]func(*model.Base) []float32{
		"stablelm":  func(b *model.Base) []float32 { return b.Layers[1].PostAttentionNorm.Bias },
		"bluelm":    func(b *model.Base) []float32 { return b.EmbeddingNorm.Bias },
		"hunyuan":   func(b *model.Base) []float32 { return b.Layers[1].QueryWeight },
		"internlm2": func(b *model.Base) []float32 { return b.Layers[0].InputNorm.Weight },
	} {
		b := openFamily(t, testfiles.Base(t, name), func(w model.Tensors) model.Tensors { return w })
		part(b)[3]++
		if b.Identity() == openFamily(t, testfiles.Base(t, name), func(w model.Tensors) model.Tensors { return w }).Identity() {
			t.Errorf("%s: the identity does not depend on %v", name, part(b))
		}
	}
}

// TestNormsAfterScaledRotary: a norm after rotary embedding takes back a factor of cosines
// and sines, which one before it does not.
func TestNormsAfterScaledRotary(t *testing.T) {
	c, err := hf.LoadConfig(testfiles.Base(t, "hunyuan"))
	if err != nil {
		t.Fatal(err)
	}
	c.Rope = hf.Rope{Type: "yarn", Theta: 10000, Factor: 4, OriginalMaxPositionEmbeddings: 128}
	c.RopeLocal = c.Rope
	if _, err := model.NewBase(c, nil); err == nil || !strings.Contains(err.Error(), "yarn multiplies queries and keys by 1.138") {
		t.Errorf("error %v", err)
	}
}
