package model_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/hf"
)

// TestIdentity: every weight of a base counts, and what the configuration says of the
// computation; what says nothing of it does not.
func TestIdentity(t *testing.T) {
	source := testfiles.Base(t, "demo")
	original, err := model.LoadBase(source)
	if err != nil {
		t.Fatal(err)
	}
	weights, err := hf.OpenFile(filepath.Join(source, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer weights.Close()
	var entries []hf.Entry
	for _, name := range weights.Names() {
		x, err := weights.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		values, err := x.Float32()
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, hf.Entry{Name: name, Shape: x.Shape, Data: hf.BF16(values)})
	}
	config, err := os.ReadFile(filepath.Join(source, hf.ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	identity := func(config string) string {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, hf.ConfigFile), []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := hf.WriteFile(filepath.Join(dir, "model.safetensors"), entries, nil); err != nil {
			t.Fatal(err)
		}
		b, err := model.LoadBase(dir)
		if err != nil {
			t.Fatal(err)
		}
		return b.Identity()
	}
	if got := identity(string(config)); got != original.Identity() {
		t.Errorf("the same weights in another file have the identity %s, want %s", got, original.Identity())
	}
	for i, e := range entries {
		if i%5 != 0 { // one of each role and many layers
			continue
		}
		values := e.Data.(hf.BF16)
		values[len(values)/2] *= -1
		if identity(string(config)) == original.Identity() {
			t.Errorf("a number of %s negated: the identity is the same", e.Name)
		}
		values[len(values)/2] *= -1
	}
	for _, c := range []struct {
		old, new string
		same     bool
	}{
		{`"rope_theta": 10000.0`, `"rope_theta": 20000.0`, false},
		{`"max_position_embeddings": 2048`, `"max_position_embeddings": 4096`, true},
	} {
		changed := strings.Replace(string(config), c.old, c.new, 1)
		if changed == string(config) {
			t.Fatalf("the configuration does not hold %s", c.old)
		}
		if got := identity(changed) == original.Identity(); got != c.same {
			t.Errorf("%s: same identity: %v, want %v", c.new, got, c.same)
		}
	}
}

// TestFirstIdentity: what was written before identities covered every weight still opens.
func TestFirstIdentity(t *testing.T) {
	b, err := model.LoadBase(testfiles.Base(t, "demo"))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.CheckIdentity("f4a7dba6cb09ac65e6153d8e24e771a0"); err != nil {
		t.Error(err)
	}
	for _, other := range []string{"f4a7dba6cb09ac65e6153d8e24e771a1", "2-f4a7dba6cb09ac65e6153d8e24e771a0"} {
		if err := b.CheckIdentity(other); err == nil || !strings.Contains(err.Error(), "its identity was "+other) {
			t.Errorf("identity %q: error %v", other, err)
		}
	}
	if err := b.CheckIdentity(""); err == nil || err.Error() != "base_identity is missing" {
		t.Errorf("no identity: error %v", err)
	}
}
