package export_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"eisft/export"
	"eisft/export/exporttest"
	"eisft/export/hostfiles"
	"eisft/export/ir"
	"eisft/export/ort"
	"eisft/export/ort/orttest"
	"eisft/internal/testfiles"
)

// TestSameBytes: the same inputs give the same bytes, in every format, type of embeddings and
// host: graphs, weights, encodings, manifest and page.
func TestSameBytes(t *testing.T) { sameBytes(t, false) }

// TestSlowSameBytes: golden vectors and the figures of the comparison, too.
func TestSlowSameBytes(t *testing.T) {
	testfiles.Slow(t)
	orttest.Require(t)
	export.VerifyAt(t, ort.Basic)
	sameBytes(t, true)
}

func sameBytes(t *testing.T, driven bool) {
	t.Helper()
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	q := exporttest.Quantized(t, m)
	types := export.EmbeddingTypes()
	for i, format := range export.Formats() {
		if format == export.FormatTFLite {
			continue // TestTFLiteIsDeterministic does this
		}
		t.Run(string(format), func(t *testing.T) {
			o := options()
			o.Quantized, o.Format, o.Embeddings, o.Precisions = q, format, types[i%len(types)], export.Precisions()
			o.NoGolden, o.NoVerify, o.Hosts = !driven, !driven, hostfiles.Names()
			first, _ := exported(t, m, o)
			second, _ := exported(t, m, o)
			n := 0
			err := fs.WalkDir(os.DirFS(first), ".", func(name string, e fs.DirEntry, err error) error {
				if err != nil || e.IsDir() {
					return err
				}
				a, err := os.ReadFile(filepath.Join(first, name))
				if err != nil {
					return err
				}
				b, err := os.ReadFile(filepath.Join(second, name))
				if n++; err == nil && !bytes.Equal(a, b) {
					err = fmt.Errorf("%s differs: %s", name, firstDifference(string(a), string(b)))
				}
				return err
			})
			if err != nil || n < 15 {
				t.Errorf("%v, after %d files", err, n)
			}
		})
	}
}

// lie copies a graph, and gives its first inner value another shape.
func lie(t *testing.T, from, to string) {
	t.Helper()
	m, err := ir.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	m.Proto.Graph.ValueInfo[0].Type = m.Proto.Graph.ValueInfo[1].Type
	for _, v := range m.Proto.Graph.ValueInfo[1:] {
		if !proto.Equal(v.Type, m.Proto.Graph.ValueInfo[0].Type) {
			m.Proto.Graph.ValueInfo[0].Type = v.Type
			break
		}
	}
	raw, err := proto.Marshal(m.Proto)
	if err == nil {
		err = os.WriteFile(to, raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
