package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"eisft/model/kernels"
)

var update = flag.Bool("update", false, "write the golden files in testdata anew")

// reexec, set in the environment, makes the test binary behave as eisft itself.
const reexec = "EISFT_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(reexec) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// result is what a command line left behind.
type result struct {
	code           int
	stdout, stderr string
}

// eisft runs a command line within the test.
func eisft(t *testing.T, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), append([]string{"eisft"}, args...), strings.NewReader(""), &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// process prepares a command line as a process of its own, for what only a
// process has: signals, a working directory, a real exit code.
func process(ctx context.Context, t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), reexec+"=1")
	return cmd
}

// golden compares got with a file in testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("output differs from %s (go test ./cmd/eisft -update writes it anew)\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

func TestHelp(t *testing.T) {
	commands := [][]string{{"--help"}}
	for _, c := range verbs() {
		commands = append(commands, []string{c.Name, "--help"})
		for _, sub := range c.Subcommands {
			commands = append(commands, []string{c.Name, sub.Name, "--help"})
		}
	}
	for _, args := range commands {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			r := eisft(t, args...)
			if r.code != 0 || r.stderr != "" {
				t.Errorf("exit code %d, stderr %q", r.code, r.stderr)
			}
			name := "help.txt"
			if len(args) > 1 {
				name = "help-" + strings.Join(args[:len(args)-1], "-") + ".txt"
			}
			golden(t, name, strings.ReplaceAll(r.stdout, version(), "VERSION"))
		})
	}
}

func TestUsageErrors(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string // on stderr
	}{
		{[]string{"envv"}, "eisft: unknown command \"envv\". Did you mean \"env\"?\nRun 'eisft --help' for usage.\n"},
		{[]string{"zzz"}, "eisft: unknown command \"zzz\"\nRun 'eisft --help' for usage.\n"},
		{[]string{"--hlep"}, "eisft: unknown flag --hlep; did you mean --help?\nRun 'eisft --help' for usage.\n"},
		{[]string{"env", "--cpuprof", "x"}, "eisft: unknown flag --cpuprof; did you mean --cpuprofile?\nRun 'eisft env --help' for usage.\n"},
		{[]string{"env", "--trace"}, "eisft: flag needs an argument: -trace\nRun 'eisft env --help' for usage.\n"},
		{[]string{"env", "x"}, "eisft: unexpected argument \"x\"\nRun 'eisft env --help' for usage.\n"},
		{[]string{"inspect", "x", "--jsn"}, "eisft: unknown flag --jsn; did you mean --json?\nRun 'eisft inspect --help' for usage.\n"},
		{[]string{"version", "--json"}, "eisft: unknown flag --json\nRun 'eisft version --help' for usage.\n"},
		{[]string{"help", "nope"}, "eisft: No help topic for 'nope'\n"},
	} {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			if r := eisft(t, tc.args...); r.code != exitUsage || r.stderr != tc.want || r.stdout != "" {
				t.Errorf("exit code %d, stderr %q, stdout %q; want %d and %q", r.code, r.stderr, r.stdout, exitUsage, tc.want)
			}
		})
	}
}

func TestEnv(t *testing.T) {
	r := eisft(t, "env")
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("exit code %d, stderr %q", r.code, r.stderr)
	}
	for _, want := range []string{"go ", "cores ", "matrix products ", "measured ", "onnx runtime ", "mpi "} {
		if !strings.Contains(r.stdout, "\n"+want) {
			t.Errorf("no row %q in\n%s", want, r.stdout)
		}
	}
}

func TestEnvNamesWhatIsMissing(t *testing.T) {
	cmd := process(t.Context(), t, "env")
	cmd.Env = append(cmd.Env, "EISFT_BLAS=off", "EISFT_ONNXRUNTIME=/no/library")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const faster = "\nMatrix products are faster with OpenBLAS: "
	if strings.Contains(string(out), faster) != kernels.LibraryIsFaster() {
		t.Errorf("the library is faster: %v; got\n%s", kernels.LibraryIsFaster(), out)
	}
	if !strings.Contains(string(out), "\nmeasured         nothing: EISFT_BLAS=off decides\n") {
		t.Errorf("what is measured is not said in\n%s", out)
	}
	const missing = "\nExported graphs cannot be run: EISFT_ONNXRUNTIME: stat /no/library: no such file or directory\n"
	if !strings.Contains(string(out), missing) {
		t.Errorf("no hint %q in\n%s", missing, out)
	}
}

func TestProfiles(t *testing.T) {
	dir := t.TempDir()
	args := []string{"env"}
	for _, flag := range []string{"cpuprofile", "memprofile", "trace"} {
		args = append(args, "--"+flag, filepath.Join(dir, flag))
	}
	if r := eisft(t, args...); r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 3 {
		t.Fatalf("%d files (%v), want 3", len(files), err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Size() == 0 {
			t.Errorf("%s is empty (%v)", f.Name(), err)
		}
	}
}

func TestProfileThatCannotBeWritten(t *testing.T) {
	r := eisft(t, "env", "--cpuprofile", filepath.Join(t.TempDir(), "no", "folder"))
	if r.code != exitError || !strings.HasPrefix(r.stderr, "eisft: --cpuprofile: ") {
		t.Errorf("exit code %d, stderr %q", r.code, r.stderr)
	}
}

func TestParseShape(t *testing.T) {
	const form = ": want TxC, the new tokens and the places of the cache with an x between them, such as 512x2048"
	for _, tc := range []struct {
		in   string
		want shape
		err  string
	}{
		{"512x2048", shape{512, 2048}, ""},
		{"1x1", shape{1, 1}, ""},
		{"512*2048", shape{}, `--shape "512*2048"` + form},
		{"512", shape{}, `--shape "512"` + form},
		{"512x", shape{}, `--shape "512x"` + form},
		{"x2048", shape{}, `--shape "x2048"` + form},
		{"512x2048x1", shape{}, `--shape "512x2048x1"` + form},
		{"0x2048", shape{}, `--shape "0x2048"` + form},
		{"-1x2048", shape{}, `--shape "-1x2048"` + form},
		{"512X2048", shape{}, `--shape "512X2048"` + form},
		{"", shape{}, `--shape ""` + form},
		{"99999999999999999999x1", shape{}, `--shape "99999999999999999999x1"` + form},
		{"2048x512", shape{}, `--shape "2048x512": the cache holds 512 tokens, but it must have room for the 2048 of a segment beside sinks, slots and window; did you mean 512x2048?`},
	} {
		got, err := parseShape(tc.in)
		if got != tc.want || (err == nil) != (tc.err == "") || (err != nil && err.Error() != tc.err) {
			t.Errorf("parseShape(%q) = %v, %v; want %v, %q", tc.in, got, err, tc.want, tc.err)
		}
	}
}
