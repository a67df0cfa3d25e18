package export_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"eisft/export"
	"eisft/export/exporttest"
	"eisft/export/host"
	"eisft/export/manifest"
	"eisft/export/ort/orttest"
	"eisft/model"
)

// TestGolden: the Go host gives what the golden vectors say, in float and quantized.
func TestGolden(t *testing.T) {
	orttest.Require(t)
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	o := options()
	o.NoVerify, o.NoGolden, o.Quantized = true, false, exporttest.Quantized(t, m)
	dir, info := exported(t, m, o)
	all, err := export.Replay(t.Context(), dir, host.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	if err := export.WriteReplayed(&table, all); err != nil {
		t.Error(err)
	}
	t.Log(table.String())
	if len(all) != 2 || all[0].Calls < 10 || all[0].Slots == 0 || all[0].Precision != manifest.Float {
		t.Errorf("replayed %+v", all)
	}
	validate(t, dir)
	for _, g := range info.Golden {
		for _, name := range []string{g.Steps, g.Tensors} {
			if i, err := os.Stat(filepath.Join(dir, name)); err != nil || i.Size() > 300_000 {
				t.Errorf("%s: %v, %v", name, i, err)
			}
		}
	}
}

// validate holds an exported manifest to the JSON schema beside it.
func validate(t *testing.T, dir string) {
	t.Helper()
	c := jsonschema.NewCompiler()
	schema, err := c.Compile(filepath.Join(dir, manifest.SchemaFile))
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(filepath.Join(dir, manifest.Name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	doc, err := jsonschema.UnmarshalJSON(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Error(err)
	}
}

// TestGoldenFindsAnother: graphs of other weights do not pass.
func TestGoldenFindsAnother(t *testing.T) {
	orttest.Require(t)
	o := options()
	o.NoVerify, o.NoGolden = true, false
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	dir, info := exported(t, m, o)
	other, _ := exported(t, exporttest.Join(t, m.Base, exporttest.Block(func(s *model.Spec) { s.Gate = model.GateScalar })), o)
	g := info.Golden[0]
	for _, name := range []string{g.Steps, g.Tensors} {
		text, err := os.ReadFile(filepath.Join(other, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	info.Files = nil
	if err := info.Write(dir); err != nil {
		t.Fatal(err)
	}
	all, err := export.Replay(t.Context(), dir, host.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if all[0].Err() == nil {
		t.Errorf("nothing was found: %+v", all[0])
	}
}
