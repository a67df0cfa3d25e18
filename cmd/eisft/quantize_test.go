package main

import (
	"path/filepath"
	"strings"
	"testing"

	"eisft/quant"
)

func TestQuantize(t *testing.T) {
	runFolder(t)
	r := eisft(t, "quantize", "--calib", "train.jsonl", "--samples", "2", "--eval-data", "train.jsonl", "--eval-samples", "1")
	if r.code != 0 {
		t.Fatalf("exit code %d, stderr %q", r.code, r.stderr)
	}
	for _, want := range []string{"w8a16", "before", "perplexity of the answers", "size", filepath.Join("quant", "w8a16", quant.PageFile)} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("stdout has no %q:\n%s", want, r.stdout)
		}
	}
	if _, err := quant.Load(filepath.Join(latestRun, "quant", "w8a16")); err != nil {
		t.Error(err)
	}
}

func TestQuantizeErrors(t *testing.T) {
	runFolder(t)
	writeFile(t, "empty.jsonl", "")
	const help = "\nRun 'eisft quantize --help' for usage.\n"
	for _, tc := range []struct {
		args []string
		code int
		want string // on stderr
	}{
		{nil, exitUsage, "eisft: --calib is required" + help},
		{[]string{"--calib", "train.jsonl", "--scheme", "int"}, exitUsage, `eisft: --scheme is "int"; it must be one of ` + strings.Join(quant.SchemeNames(), ", ") + help},
		{[]string{"--calib", "train.jsonl", "--range", "all"}, exitUsage, `eisft: --range is "all"; it must be one of minmax, mse, percentile` + help},
		{[]string{"--calib", "train.jsonl", "--samples", "-1"}, exitUsage, "eisft: --samples is -1; it must be at least 1, or 0 for all" + help},
		{[]string{"--calib", "train.jsonl", "--run", "absent"}, exitError, "eisft: there is no run absent; train one with eisft train --config FILE, or name its folder with --run\n"},
		{[]string{"--calib", "empty.jsonl"}, exitError, "eisft: empty.jsonl: no rows\n"},
	} {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			if r := eisft(t, append([]string{"quantize"}, tc.args...)...); r.code != tc.code || r.stderr != tc.want || r.stdout != "" {
				t.Errorf("exit code %d, stderr %q, stdout %q; want %d and %q", r.code, r.stderr, r.stdout, tc.code, tc.want)
			}
		})
	}
}
