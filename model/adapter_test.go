package model_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/model"
	"eisft/model/modeltest"
)

// TestSavingCutOff: whatever a process that is killed while it saves an adapter leaves
// behind can be opened: it is the adapter before, or the new one, with its own block.
func TestSavingCutOff(t *testing.T) {
	base, err := model.LoadBase("demo")
	if err != nil {
		t.Fatal(err)
	}
	spec, err := model.Preset("eisft")
	if err != nil {
		t.Fatal(err)
	}
	first, err := model.New(base, spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := first.KeepSlots([]int{2, 6}) // pruned: another block, other tensors
	if err != nil {
		t.Fatal(err)
	}
	dir, before := t.TempDir(), t.TempDir()
	save := func(m *model.Model, step float32) {
		t.Helper()
		m.Params.List()[0].Data[0] = step
		if err := m.SaveAdapter(dir, "demo"); err != nil {
			t.Fatal(err)
		}
	}
	wantStep := func(what string, want *model.Model, step float32) {
		t.Helper()
		got, err := model.LoadAdapter(base, dir)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		if !got.Spec.Equal(want.Spec) || got.Params.List()[0].Data[0] != step {
			t.Errorf("%s: block %+v, step %g, want %+v, step %g", what, got.Spec, got.Params.List()[0].Data[0], want.Spec, step)
		}
	}
	keep := func(name, from, to string) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	save(first, 1)
	for i, next := range []*model.Model{second, second} {
		step := float32(i + 2)
		was, wasStep := first, float32(1)
		if i > 0 {
			was, wasStep = second, step-1
		}
		keep(model.AdapterWeights, dir, before)
		save(next, step)
		wantStep("saved", next, step)
		whole, err := os.ReadFile(filepath.Join(dir, model.AdapterWeights))
		if err != nil {
			t.Fatal(err)
		}
		keep(model.AdapterWeights, before, dir) // the description is written, the weights are not yet
		wantStep("cut off", was, wasStep)
		save(next, step) // resumed
		wantStep("saved again", next, step)
		again, err := os.ReadFile(filepath.Join(dir, model.AdapterWeights))
		if err != nil || string(again) != string(whole) {
			t.Errorf("the weights differ when they are saved again (%v)", err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, model.AdapterWeights), []byte("damaged"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := model.LoadAdapter(base, dir); err == nil || !strings.Contains(err.Error(), "weights_sha256 is ") {
		t.Errorf("damaged weights: %v", err)
	}
}

// TestEarlierAdapters: a description that does not name its weights is that of theirs.
func TestEarlierAdapters(t *testing.T) {
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
	dir := t.TempDir()
	if err := m.SaveAdapter(dir, "demo"); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, model.AdapterConfig)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, _, found := strings.Cut(string(text), ",\n  \"weights_sha256\"")
	if !found {
		t.Fatalf("no weights_sha256 in %s", text)
	}
	if err := os.WriteFile(path, []byte(before+"\n}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := model.LoadAdapter(base, dir); err != nil {
		t.Error(err)
	}
}

// TestAdapterDescriptions: a description that says what the block or the weights do not have,
// or not as it can be read, is refused by its key.
func TestAdapterDescriptions(t *testing.T) {
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
	dir := t.TempDir()
	if err := m.SaveAdapter(dir, "demo"); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, model.AdapterConfig)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ from, to, want string }{
		{`"window"`, `"temperature": 2, "window"`, `block has the key "temperature", which this version of eisft does not know`},
		{`"window"`, `"windows"`, `block has the key "windows"`},
		{`"window": 256`, `"window": 256.5`, "block.window is a JSON number 256.5; it must be a whole number"},
		{`"map": false`, `"map": "no"`, "block.map is a JSON string; it must be true or false"},
		{`"gate": "slot"`, `"gate": 1`, "block.gate is a JSON number; it must be text"},
		{`"block": {`, `"block": 3, "other": {`, "block is a JSON number; it must be an object"},
		{`"slots": 256`, `"slots": 256, "slot_layers": "all"`, "block.slot_layers is a JSON string; it must be a list of whole numbers"},
		{`"parameters": 202800`, `"parameters": 7`, "parameters is 7, but adapter.safetensors holds 202800"},
		{`"parameters": 202800`, `"parameters": "x"`, "parameters is a JSON string; it must be a whole number"},
		{`"base_identity"`, `"identity"`, "base_identity is missing"},
		{`"map": false`, `"map"`, "not valid JSON"},
		{`"window": 256`, `"window": 256, "sink": 4`, "block.sink stands there twice; leave one of them out"},
		{`"base_parameters": `, `"base_parameters": 1`, "base_parameters is 1"},
	} {
		text := strings.Replace(string(good), tc.from, tc.to, 1)
		if text == string(good) {
			t.Fatalf("the description has no %s:\n%s", tc.from, good)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := model.LoadAdapter(base, dir)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v\nwant %s", tc.to, err, tc.want)
		}
	}
}

// FuzzAdapter: whatever stands in an adapter's files, they are refused, or make a block of the base.
func FuzzAdapter(f *testing.F) {
	e := modeltest.OpenEdge(f, "retain-memory")
	dir := f.TempDir()
	if err := e.Model.SaveAdapter(dir, "demo"); err != nil {
		f.Fatal(err)
	}
	description, weights := filepath.Join(dir, model.AdapterConfig), filepath.Join(dir, model.AdapterWeights)
	text, err := os.ReadFile(description)
	if err != nil {
		f.Fatal(err)
	}
	tensors, err := os.ReadFile(weights)
	if err != nil {
		f.Fatal(err)
	}
	before, _, _ := strings.Cut(string(text), ",\n  \"weights_sha256\"") // which would refuse nearly all
	f.Add([]byte(before+"}"), tensors)
	f.Add([]byte(before+`, "weights_sha256": "0", "before": {"before": {}}}`), tensors[:8])
	f.Add([]byte(`{"format": "eisft-adapter-1", "block": {"segment": 1, "slots": 1, "slot_layers": [0, 9], "feature_dim": 4096}}`), []byte{})
	f.Fuzz(func(t *testing.T, text, tensors []byte) {
		if err := os.WriteFile(description, text, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(weights, tensors, 0o644); err != nil {
			t.Fatal(err)
		}
		m, err := model.LoadAdapter(e.Model.Base, dir)
		if err != nil {
			if !strings.Contains(err.Error(), dir) {
				t.Errorf("the error does not name the adapter: %v", err)
			}
			return
		}
		if err := m.Spec.Validate(); err != nil || len(m.Params.Layers) != len(e.Model.Base.Layers) {
			t.Errorf("a block that cannot be was read: %+v (%v)", m.Spec, err)
		}
	})
}
