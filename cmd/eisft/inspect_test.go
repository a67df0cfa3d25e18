package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

func TestInspect(t *testing.T) {
	runFolder(t)
	r := eisft(t, "inspect", latestRun)
	for _, want := range []string{"runs/latest: run", "trained parameters", "not evaluated: eisft eval --run runs/latest"} {
		if !strings.Contains(filepath.ToSlash(r.stdout), want) {
			t.Errorf("stdout has no %q:\n%s", want, r.stdout)
		}
	}
	if r.code != 0 || r.stderr != "" {
		t.Errorf("exit code %d, stderr %q", r.code, r.stderr)
	}
	r = eisft(t, "inspect", "--json", "train.jsonl")
	var report struct {
		Kind  string
		Facts struct{ Rows int }
	}
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || report.Kind != "data set" || report.Facts.Rows != 8 {
		t.Errorf("found %+v, %v, want a data set of 8 rows", report, err)
	}
}

func TestInspectErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	writeFile(t, "chats.jsonl", `{"messages":[]}`+"\n")
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{nil, exitUsage, "eisft: name one file or folder\nRun 'eisft inspect --help' for usage.\n"},
		{[]string{"a", "b"}, exitUsage, "eisft: name one file or folder\nRun 'eisft inspect --help' for usage.\n"},
		{[]string{"absent"}, exitError, "eisft: absent: there is no such file or folder\n"},
		{[]string{"chats.jsonl"}, exitError, "eisft: chats.jsonl has a problem\n"},
	} {
		if r := eisft(t, append([]string{"inspect"}, tc.args...)...); r.code != tc.code || r.stderr != tc.want {
			t.Errorf("inspect %q: exit code %d, stderr %q; want %d, %q", tc.args, r.code, r.stderr, tc.code, tc.want)
		}
	}
}
