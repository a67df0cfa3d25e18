package main

import (
	"strings"
	"testing"
)

func TestBenchErrors(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string // start of stderr
	}{
		{[]string{"--dtype", "float16"}, `eisft: --dtype is "float16"; did you mean "float32"? It must be one of auto, float32, stored` + "\n"},
		{[]string{"--policy", "h2o", "--case", "decode"}, "eisft: --policy and --case are both given"},
		{[]string{"--tokens", "64"}, "eisft: --tokens is given without --policy"},
		{[]string{"--cache", "f16"}, `eisft: --cache is "f16"; it must be one of float32, float16, int8` + "\n"},
		{[]string{"--preset", "none"}, "eisft: --"},
		{[]string{"--segment", "0"}, "eisft: --segment"},
		{[]string{"--segment", "1000000000"}, "eisft: --segment is 1000000000; it must be at most 1048576"},
	} {
		r := eisft(t, append([]string{"bench", "--model", "../../model/demo"}, tc.args...)...)
		if r.code != exitUsage || !strings.HasPrefix(r.stderr, tc.want) || r.stdout != "" {
			t.Errorf("%v: exit code %d, stderr %q, stdout %q; want %d and %q", tc.args, r.code, r.stderr, r.stdout, exitUsage, tc.want)
		}
	}
}
