package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/export/manifest"
)

// smallDevice writes a device that a small shape alone fits, and scenarios for it.
func smallDevice(t *testing.T) {
	t.Helper()
	writeFile(t, "device.yaml", `name: small
rates: {a16w8: 2, float16: 1}
bandwidth: 10
memory: 60
mask_bytes: 200000
sources: [{figures: all, from: made up, date: 2026-11-26}]
`)
	writeFile(t, "float.yaml", `name: measured
rates: {float32: 1}
bandwidth: 10
memory: 60
sources: [{figures: all, from: made up, date: 2026-11-26}]
`)
	writeFile(t, "short.yaml", "name: short\nprompt: 300\nanswer: 20\nfirst_token: 60\n")
	writeFile(t, "hopeless.yaml", "name: hopeless\nprompt: 300\nanswer: 20\ntokens: 1000000000\n")
}

// planned is what eisft plan writes as JSON.
type planned struct {
	Choice *struct {
		Size struct{ Tokens, Cache int }
	}
	Why string
}

// TestPlan: plan lists shapes of a run, and of a base that is not there but for its
// configuration, says which it would take and why, and what is wrong with its flags.
func TestPlan(t *testing.T) {
	config := string(readFile(t, filepath.Join("../../model/demo", "config.json")))
	runFolder(t)
	smallDevice(t)
	base := t.TempDir()
	writeFile(t, filepath.Join(base, "config.json"), config)
	for _, args := range [][]string{
		{"plan", "--device", "device.yaml", "--scenario", "short.yaml", "--json", "plan.json"},
		{"plan", "--device", "device.yaml", "--model", base, "--scheme", "none", "--shape", "16x1024"},
	} {
		r := eisft(t, args...)
		if r.code != 0 || !strings.Contains(r.stdout, "predictions") || !strings.Contains(r.stdout, "16x1024") {
			t.Errorf("%v: exit code %d, %s%s", args, r.code, r.stdout, r.stderr)
		}
	}
	r := eisft(t, "plan", "--device", "float.yaml", "--shape", "16x1024")
	if r.code != 0 || !strings.Contains(r.stdout, "measured, float;") {
		t.Errorf("a device that is known in float alone: exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
	var p planned
	if err := json.Unmarshal(readFile(t, "plan.json"), &p); err != nil || p.Choice == nil || p.Choice.Size.Tokens == 0 || p.Why == "" {
		t.Errorf("plan.json: %+v (%v)", p, err)
	}
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"plan"}, exitUsage, "eisft: --device is required\n"},
		{[]string{"plan", "--device", "device.yaml", "--scheme", "w8a61"}, exitUsage, `eisft: --scheme is "w8a61"; did you mean "w8a16"?`},
		{[]string{"plan", "--device", "float.yaml", "--scheme", "w8a16"}, exitError, "eisft: device measured has no rate for a16w8 (bits of activations and weights), which w8a16 multiplies; it can be planned for in none (float), w4-g32"},
		{[]string{"plan", "--device", "device.yaml", "--shape", "16"}, exitUsage, `eisft: --shape "16": want TxC`},
		{[]string{"plan", "--device", "device.yaml", "--model", base, "--preset", "eisf"}, exitUsage, "eisft: --"},
		{[]string{"plan", "--device", "none"}, exitError, "eisft: "},
		{[]string{"plan", "--device", "device.yaml", "--measure", "here.yaml"}, exitUsage, "eisft: --measure takes this machine for the device; leave --device out"},
		{[]string{"plan", "--measure", "no/here.yaml"}, exitError, "eisft: --measure: write no/here.yaml: "},
		{[]string{"plan", "--device", "device.yaml", "--scenario", "none"}, exitError, "eisft: "},
		{[]string{"plan", "--device", "device.yaml", "--json", "no/where.json"}, exitError, "eisft: "},
	} {
		if r := eisft(t, tc.args...); r.code != tc.code || !strings.HasPrefix(r.stderr, tc.want) || r.stdout != "" {
			t.Errorf("%v: exit code %d, stderr %q, want %d and %q", tc.args, r.code, r.stderr, tc.code, tc.want)
		}
	}
}

// TestExportScenario: export takes the shape that plan takes for the same scenario, and says
// why there is none.
func TestExportScenario(t *testing.T) {
	runFolder(t)
	smallDevice(t)
	if r := eisft(t, "plan", "--device", "device.yaml", "--scenario", "short.yaml", "--scheme", "none", "--json", "plan.json"); r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	var p planned
	if err := json.Unmarshal(readFile(t, "plan.json"), &p); err != nil || p.Choice == nil {
		t.Fatalf("%+v (%v)", p, err)
	}
	export := []string{"export", "--device", "device.yaml", "--verify=false", "--golden=false", "--out", "out", "--scenario"}
	r := eisft(t, append(export, "short.yaml")...)
	if r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	info, err := manifest.Read("out")
	if err != nil {
		t.Fatal(err)
	}
	s := info.Shapes[0]
	if len(info.Shapes) != 1 || s.Tokens != p.Choice.Size.Tokens || s.Cache != p.Choice.Size.Cache || !strings.HasPrefix(r.stdout, s.Name+" for short on small: "+p.Why+"\n") {
		t.Errorf("exported %+v, planned %+v; %s", info.Shapes, p.Choice, r.stdout)
	}
	if err := os.RemoveAll("out"); err != nil {
		t.Fatal(err)
	}
	if r := eisft(t, append(export, "hopeless.yaml")...); r.code != exitError || !strings.HasPrefix(r.stderr, "eisft: for hopeless on small no shape fits; ") {
		t.Errorf("exit code %d, %s", r.code, r.stderr)
	}
}
