package export_test

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/x448/float16"

	"eisft/export"
	"eisft/export/exporttest"
	"eisft/export/host"
	"eisft/export/ir"
	"eisft/export/lower"
	"eisft/export/manifest"
	"eisft/export/ort"
	"eisft/export/ort/orttest"
	"eisft/model"
	"eisft/model/hf"
)

// TestEmbeddings: rows of every type are those of the table, rounded as the type says, and
// the graphs over them give what the model with these rows does.
func TestEmbeddings(t *testing.T) {
	orttest.Require(t)
	export.VerifyAt(t, ort.Basic)
	m := exporttest.Model(t, exporttest.Block(nil), families["gemma"])
	want := lower.Embeddings(m.Base)
	d := m.Base.Dims.Hidden
	size := map[export.Embeddings]int64{}
	for _, kind := range export.EmbeddingTypes() {
		o := options()
		o.Embeddings = kind
		dir, info := exported(t, m, o)
		if v := info.Verification[0]; v.MaxLogitError > 1e-4 {
			t.Errorf("%s: %+v", kind, v)
		}
		read, n, width, err := host.Embeddings(dir, info.Embeddings)
		if err != nil || n*width != len(want) || width != d {
			t.Fatalf("%s: %d rows of %d: %v", kind, n, width, err)
		}
		rows := make([]float32, len(want))
		read(rows[:d], 0, 1)
		read(rows[d:], 1, n)
		for i, w := range want {
			largest := 0.0
			for _, v := range want[i/d*d : (i/d+1)*d] {
				largest = max(largest, math.Abs(float64(v)))
			}
			off := math.Abs(float64(rows[i] - w))
			switch kind {
			case export.EmbedFloat32:
				if off > 0 {
					t.Fatalf("float32: %g, want %g", rows[i], w)
				}
			case export.EmbedFloat16:
				if rows[i] != float16.Fromfloat32(w).Float32() {
					t.Fatalf("float16: %g, want %g rounded", rows[i], w)
				}
			case export.EmbedInt16, export.EmbedInt8:
				most := map[export.Embeddings]float64{export.EmbedInt16: math.MaxInt16, export.EmbedInt8: math.MaxInt8}[kind]
				if off > 0.5001*largest/most {
					t.Fatalf("%s: %g, want %g within half a step of %g", kind, rows[i], w, largest/most)
				}
			}
		}
		stat, err := os.Stat(filepath.Join(dir, info.Embeddings))
		if err != nil {
			t.Fatal(err)
		}
		size[kind] = stat.Size()
	}
	if !(size[export.EmbedInt8] < size[export.EmbedInt16] && size[export.EmbedFloat16] < size[export.EmbedInt16] && size[export.EmbedInt16] < size[export.EmbedFloat32]) {
		t.Errorf("sizes %v", size)
	}
}

func TestEmbeddingsBeyondFloat16(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), func(c *hf.Config) { c.EmbeddingScale = 1e6 })
	_, _, err := export.Export(t.Context(), m, filepath.Join(t.TempDir(), "out"), options())
	if err == nil || !strings.Contains(err.Error(), "beyond the largest float16; export them with --embeddings float32") {
		t.Errorf("got %v", err)
	}
}

// TestFloat16Graphs: graphs of float16 have no float32 anywhere, and the host drives them,
// also where it turns keys back.
func TestFloat16Graphs(t *testing.T) {
	orttest.Require(t)
	for name, change := range map[string]func(*model.Spec){
		"compact": nil,
		"absolute, mass": func(s *model.Spec) {
			s.Positions, s.Gate, s.Feature = model.PositionsAbsolute, model.GateMass, model.FeatureELU
		},
		"delta": func(s *model.Spec) { s.Memory = model.MemoryDelta },
	} {
		m := exporttest.Model(t, exporttest.Block(change), nil)
		o := options()
		o.Precisions = []export.Precision{export.Float16}
		dir, info := exported(t, m, o)
		v := info.Verification[0]
		if v.Precision != manifest.Float16 || v.MaxLogitError > 0.02*v.LogitRange || v.MaxLogitError < 1e-5 || v.Written == 0 {
			t.Errorf("%s: %+v", name, v)
		}
		for _, g := range info.Graphs {
			for _, p := range append(g.Inputs, g.Outputs...) {
				if p.DType != "float16" {
					t.Errorf("%s: %s is %s", g.Name, p.Name, p.DType)
				}
			}
			file, err := ir.Open(filepath.Join(dir, g.Parts[0].File))
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range file.Proto.Graph.Initializer {
				if ir.DType(c.GetDataType()) == ir.Float32 {
					t.Errorf("%s: constant %s is float32", g.Name, c.GetName())
				}
			}
		}
	}
}
