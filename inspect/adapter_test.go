package inspect_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"eisft/inspect"
	"eisft/model"
	"eisft/model/modeltest"
)

// TestAdapterDiff: what was doubled is off by its own norm, and nothing else is off.
func TestAdapterDiff(t *testing.T) {
	m := modeltest.Open(t, demoBase, modeltest.DefaultBlock(t))
	a, b := t.TempDir(), t.TempDir()
	save := func(dir string) {
		t.Helper()
		if err := m.SaveAdapter(dir, demoBase); err != nil {
			t.Fatal(err)
		}
	}
	save(a)
	for i := range m.Params.Layers[3].Gate[0].Data {
		m.Params.Layers[3].Gate[0].Data[i] = 2 * m.Params.Layers[3].Gate[0].Data[i]
	}
	for i := range m.Params.Layers[1].RetentionWeight.Data {
		m.Params.Layers[1].RetentionWeight.Data[i]++ // from zero
	}
	save(b)
	name := m.Params.Layers[3].Gate[0].Name
	r, err := inspect.AdapterDiff(a, b)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	cells := map[string]map[string]any{} // by kind and layer
	for _, table := range r.Tables {
		if table.Title != "relative difference by layer" {
			continue
		}
		for _, row := range table.Rows {
			for i, cell := range row[1:] {
				kind := table.Columns[i+1]
				if cells[kind] == nil {
					cells[kind] = map[string]any{}
				}
				cells[kind][strconv.Itoa(row[0].(int))] = cell
			}
		}
	}
	kind := strings.TrimPrefix(name, "layers.3.")
	if cells[kind]["3"] != 1.0 || cells[kind]["2"] != 0.0 || cells["retention.weight"]["1"] != "from zero" {
		t.Errorf("%v\n%s", cells, text.String())
	}
	n := len(m.Params.List())
	wantText(t, text.String(), "equal tensors", " of "+strconv.Itoa(n)+" that both have")

	m, err = m.KeepSlots([]int{2})
	if err != nil {
		t.Fatal(err)
	}
	save(b)
	if r, err = inspect.AdapterDiff(a, b); err != nil {
		t.Fatal(err)
	}
	text.Reset()
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	wantText(t, text.String(), "slot_layers all, but [2]", "tensors that are not in both with the same shape", "layers.0.retention.weight")
	if err := os.Remove(filepath.Join(b, model.AdapterWeights)); err != nil {
		t.Fatal(err)
	}
	if _, err := inspect.AdapterDiff(a, b); err == nil {
		t.Error("an adapter without weights is compared")
	}
}
