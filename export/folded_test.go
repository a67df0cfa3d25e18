package export_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"eisft/data"
	"eisft/export"
	"eisft/export/exporttest"
	"eisft/export/lower"
	"eisft/export/manifest"
	"eisft/export/onnxpb"
	"eisft/export/ort"
	"eisft/export/ort/orttest"
	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/modeltest"
	"eisft/quant"
)

// folded quantizes a model after transforms.
func folded(t testing.TB, m *model.Model, r quant.Recipe) *quant.Quantized {
	t.Helper()
	r.Scheme = "w8a16"
	samples := func(yield func(data.Encoded, error) bool) {
		yield(data.Encoded{Where: "random", IDs: modeltest.Tokens(m, 400)}, nil)
	}
	seen, err := quant.CollectChannels(t.Context(), m, samples)
	if err != nil {
		t.Fatal(err)
	}
	float, f, err := quant.Transform(t.Context(), m, &r, seen)
	if err != nil {
		t.Fatal(err)
	}
	q := exporttest.Quantized(t, float)
	q.Folded = f
	return q
}

// TestFoldedGraphs: quantized graphs with transforms folded in compute what the rounded Go
// model does, beside float graphs of the untouched model.
func TestFoldedGraphs(t *testing.T) { foldedGraphs(t, "biases", "gemma2", "head norms", "tied") }

// TestSlowFoldedGraphs: so they do over every kind of base.
func TestSlowFoldedGraphs(t *testing.T) {
	testfiles.Slow(t)
	foldedGraphs(t, slices.Sorted(maps.Keys(families))...)
}

func foldedGraphs(t *testing.T, names ...string) {
	t.Helper()
	orttest.Require(t)
	export.VerifyAt(t, ort.Basic)
	for i, name := range names {
		kinds := []lower.Inputs{lower.InputEmbeds, lower.InputIDs}
		if i%4 != 0 {
			kinds = kinds[:1] // what a base has in its own way lies behind the rows
		}
		for _, inputs := range kinds {
			t.Run(name+" "+string(inputs), func(t *testing.T) {
				m := exporttest.Model(t, exporttest.Block(func(s *model.Spec) { s.Map = true }), families[name])
				r := quant.Recipe{Transforms: []string{"rotate", "smoothquant"}}
				normed := m.Base.Layers[0].AttentionOutputNorm != nil
				if normed {
					r.Rotate.R1 = "none"
				}
				o := options()
				o.Inputs, o.Quantized = inputs, folded(t, m, r)
				dir, info := exported(t, m, o)
				for _, v := range info.Verification {
					if most := map[bool]float64{true: 1e-4, false: 0.05 * v.LogitRange}[v.Precision == manifest.Float]; v.MaxLogitError > most {
						t.Errorf("%s: largest difference of a logit %.2g, the largest one is %.2g", v.Precision, v.MaxLogitError, v.LogitRange)
					}
				}
				wantTables(t, dir, info, inputs == lower.InputEmbeds, !normed)
			})
		}
	}
}

// wantTables checks that there is a table of embeddings for the float graphs, if they read
// rows of one, and another one for the quantized graphs, if the stream is rotated.
func wantTables(t *testing.T, dir string, info *manifest.Manifest, rows, rotated bool) {
	t.Helper()
	table := func(precision string) []byte {
		name := info.EmbeddingsOf(precision)
		if name == "" {
			return nil
		}
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		}
		return raw
	}
	float, quantized := table(manifest.Float), table("w8a16")
	if rows != (float != nil) || rows != (quantized != nil) {
		t.Errorf("tables of %d and %d bytes, want some: %t", len(float), len(quantized), rows)
	}
	if rows && bytes.Equal(float, quantized) == rotated {
		t.Errorf("the tables of both precisions are the same: %t", !rotated)
	}
}

// TestFloatGraphsStay: what is folded into quantized graphs changes nothing in the float
// graphs beside them.
func TestFloatGraphsStay(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	o := options()
	o.NoVerify, o.Quantized = true, exporttest.Quantized(t, m)
	plain, _ := exported(t, m, o)
	o.Quantized = folded(t, m, quant.Recipe{Transforms: []string{"rotate"}})
	turned, info := exported(t, m, o)
	for _, name := range info.GraphFiles() {
		if info.PrecisionOf(name) != manifest.Float {
			continue
		}
		if !proto.Equal(graphIn(t, plain, name), graphIn(t, turned, name)) {
			t.Errorf("%s differs", name)
		}
	}
	a, errA := os.ReadFile(filepath.Join(plain, export.EmbeddingsFile))
	b, errB := os.ReadFile(filepath.Join(turned, export.EmbeddingsFile))
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("the table of the float graphs differs (%v, %v)", errA, errB)
	}
}

// graphIn reads a graph without the file's metadata.
func graphIn(t testing.TB, dir, name string) *onnxpb.GraphProto {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	m := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(raw, m); err != nil {
		t.Fatal(err)
	}
	return m.Graph
}

// TestOnlyQuantizedFolded: without float graphs there is one table, that of the others.
func TestOnlyQuantizedFolded(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	o := options()
	o.NoVerify, o.QuantizedOnly, o.Quantized = true, true, folded(t, m, quant.Recipe{Transforms: []string{"rotate"}})
	dir, info := exported(t, m, o)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var tables []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "embeddings") {
			tables = append(tables, e.Name())
		}
	}
	if want := []string{info.EmbeddingsOf("w8a16")}; !slices.Equal(tables, want) {
		t.Errorf("tables %q, want %q", tables, want)
	}
}
