//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"eisft/internal/mpi"
	"eisft/internal/testfiles"
	"eisft/train/config"
	"eisft/train/runs"
)

// asRanks prepares a command line that so many ranks carry out. Each leaves its process's
// number in the file pid.RANK.
func asRanks(ctx context.Context, t *testing.T, n int, args ...string) *exec.Cmd {
	t.Helper()
	testfiles.Slow(t)
	mpirun, err := exec.LookPath("mpirun")
	if err != nil {
		t.Skip("there is no mpirun here: scripts/setup.sh --mpi installs it")
	}
	if _, err := mpi.Version(); err != nil {
		t.Skip(err)
	}
	command := append([]string{mpirun, "--allow-run-as-root", "--oversubscribe", "-n", strconv.Itoa(n), "sh", "-c", `echo $$ >pid.$OMPI_COMM_WORLD_RANK; exec "$@"`, "sh"}, process(ctx, t, args...).Args...)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), reexec+"=1")
	return cmd
}

// mustRun runs a command line to its end.
func mustRun(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return string(out)
}

// trainedBytes reads the trained parameters of a run.
func trainedBytes(t *testing.T, run string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("runs", run, "adapter.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestSlowRanks: two and four processes train the bits of one, and speak once.
func TestSlowRanks(t *testing.T) {
	t.Chdir(trainingFolder(t, 3))
	replace(t, "s.yaml", "steps: 3", "steps: 3, batch: 5")
	args := []string{"train", "--config", "s.yaml"}
	alone := mustRun(t, asRanks(t.Context(), t, 1, args...))
	for i, n := range []int{2, 4} {
		run := "s-" + strconv.Itoa(i+2)
		out := mustRun(t, asRanks(t.Context(), t, n, args...))
		said, want := linesOf(strings.ReplaceAll(out, run, "s")), linesOf(alone)
		if len(said) != len(want) || said[len(said)-1] != want[len(want)-1] { // free memory differs
			t.Errorf("%d ranks say\n%s\nand one\n%s", n, out, alone)
		}
		if !bytes.Equal(trainedBytes(t, run), trainedBytes(t, "s")) {
			t.Errorf("%d ranks train other parameters than one", n)
		}
	}
}

// TestSlowRanksQuantize: two processes write the quantized model that one writes.
func TestSlowRanksQuantize(t *testing.T) {
	t.Chdir(trainingFolder(t, 1))
	mustRun(t, asRanks(t.Context(), t, 1, "train", "--config", "s.yaml"))
	calib := calibrationOf(t)
	files := [2]map[string][]byte{}
	for i, n := range []int{1, 2} {
		mustRun(t, asRanks(t.Context(), t, n, "quantize", "--run", filepath.Join("runs", "s"), "--calib", calib, "--eval-data", "held.jsonl", "--eval-samples", "2"))
		files[i] = map[string][]byte{}
		for _, name := range []string{"weights.safetensors", "encodings.json"} {
			text, err := os.ReadFile(filepath.Join("runs", "s", "quant", "w8a16", name))
			if err != nil {
				t.Fatal(err)
			}
			files[i][name] = text
		}
	}
	for name, text := range files[0] {
		if !bytes.Equal(files[1][name], text) {
			t.Errorf("two ranks write another %s than one", name)
		}
	}
}

// calibrationOf is the data that the configuration trains on.
func calibrationOf(t *testing.T) string {
	t.Helper()
	c, err := config.Load("s.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return c.Data.Train.String()
}

func linesOf(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") }

func replace(t *testing.T, path, old, with string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, bytes.Replace(text, []byte(old), []byte(with), 1), 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestSlowRankDies: when a rank is killed, or the launcher is told to stop, all end, and any
// number of ranks goes on from the last whole step with the bits of a run that was not
// stopped.
func TestSlowRankDies(t *testing.T) {
	const steps = 16
	t.Chdir(trainingFolder(t, steps))
	replace(t, "s.yaml", "warmup", "batch: 4, warmup")
	replace(t, "s.yaml", "every: 1", "every: 0")
	args := []string{"train", "--config", "s.yaml"}
	mustRun(t, asRanks(t.Context(), t, 1, args...))
	for i, tc := range []struct {
		name   string
		signal syscall.Signal
		of     func(launcher int) int // the process that gets it
		resume int
	}{
		{"rank 1 is killed", syscall.SIGKILL, func(int) int { return pid(t, 1) }, 4},
		{"rank 0 is terminated", syscall.SIGTERM, func(int) int { return pid(t, 0) }, 3},
		{"Ctrl-C", syscall.SIGINT, func(launcher int) int { return launcher }, 1},
	} {
		run := "s-" + strconv.Itoa(i+2)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := asRanks(ctx, t, 2, args...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for lines(run) < 2 && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		if err := syscall.Kill(tc.of(cmd.Process.Pid), tc.signal); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Fatalf("%s: %v, %v\n%s", tc.name, err, ctx.Err(), out.String())
		}
		taken := lines(run)
		if taken >= steps {
			t.Fatalf("%s: the run was too short to be stopped", tc.name)
		}
		if want := "runs/" + run + " holds a checkpoint after step " + strconv.Itoa(taken); !strings.Contains(out.String(), want) {
			t.Errorf("%s: no word of %q in\n%s", tc.name, want, out.String())
		}
		said := mustRun(t, asRanks(t.Context(), t, tc.resume, append(args, "--resume")...))
		if want := "resuming runs/" + run + ", which was stopped after step " + strconv.Itoa(taken); !strings.Contains(said, want) {
			t.Errorf("%s: no word of %q in\n%s", tc.name, want, said)
		}
		if !bytes.Equal(trainedBytes(t, run), trainedBytes(t, "s")) {
			t.Errorf("%s: the resumed run has other parameters", tc.name)
		}
	}
}

// pid is the process of a rank.
func pid(t *testing.T, rank int) int {
	t.Helper()
	text, err := os.ReadFile("pid." + strconv.Itoa(rank))
	n, numErr := strconv.Atoi(strings.TrimSpace(string(text)))
	if err := errors.Join(err, numErr); err != nil {
		t.Fatal(err)
	}
	return n
}

// lines is how many steps a run has taken.
func lines(run string) int {
	text, _ := os.ReadFile(filepath.Join("runs", run, runs.MetricsFile)) // nothing at first
	return bytes.Count(text, []byte("\n"))
}

// TestSlowRanksFail: what only one rank finds wrong ends all, and is said once; a command
// that knows no ranks refuses them.
func TestSlowRanksFail(t *testing.T) {
	t.Chdir(trainingFolder(t, 2))
	for _, tc := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{"train", "--config", "nope.yaml"}, "eisft: nope.yaml: no such file", exitError},
		{[]string{"train"}, "eisft: --config is required", exitUsage},
		{[]string{"inspect", "x"}, "eisft: eisft inspect works as one process: leave the launcher (mpirun, srun) out", exitUsage},
	} {
		out, err := asRanks(t.Context(), t, 3, tc.args...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != tc.code || strings.Count(string(out), "eisft: ") != 1 || !strings.Contains(string(out), tc.want) {
			t.Errorf("%v: %v\n%s\nwant exit code %d and once %q", tc.args, err, out, tc.code, tc.want)
		}
	}
	cmd := asRanks(t.Context(), t, 2, "train", "--config", "only.$OMPI_COMM_WORLD_RANK.yaml")
	if err := os.Rename("s.yaml", "only.0.yaml"); err != nil {
		t.Fatal(err)
	}
	cmd.Args[len(cmd.Args)-1] = "only.0.yaml"
	for i, a := range cmd.Args { // rank 1 reads another file
		if strings.Contains(a, "exec") {
			cmd.Args[i] = `[ $OMPI_COMM_WORLD_RANK = 0 ] || set -- "$1" train --config only.1.yaml; ` + a
		}
	}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "eisft: rank 1: only.1.yaml: no such file") {
		t.Errorf("rank 1 lacks its file: %v\n%s", err, out)
	}
}

// agent is what ssh is to a host that is a network namespace: agent HOST COMMAND. The host's
// name is the namespace's.
const agent = `#!/bin/sh
host=eisft${1##*.}; shift
exec ip netns exec $host unshare --uts sh -c "hostname $host; cd $PWD; $*"
`

// TestSlowTwoHosts: ranks on two hosts, here network namespaces with a cable between them,
// train the bits of one process.
func TestSlowTwoHosts(t *testing.T) {
	t.Chdir(trainingFolder(t, 2))
	replace(t, "s.yaml", "warmup", "batch: 4, warmup")
	mustRun(t, asRanks(t.Context(), t, 1, "train", "--config", "s.yaml"))
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	clean := func() {
		for _, host := range []string{"eisft1", "eisft2"} {
			_ = exec.Command("ip", "netns", "del", host).Run()
		}
	}
	clean() // of what a killed test has left
	t.Cleanup(clean)
	for _, command := range []string{
		"netns add eisft1", "netns add eisft2", "link add eisft1 netns eisft1 type veth peer name eisft2 netns eisft2",
		"-n eisft1 addr add 10.213.0.1/24 dev eisft1", "-n eisft2 addr add 10.213.0.2/24 dev eisft2",
		"-n eisft1 link set eisft1 up", "-n eisft2 link set eisft2 up", "-n eisft1 link set lo up", "-n eisft2 link set lo up",
	} {
		if out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(command)...).CombinedOutput(); err != nil {
			t.Skipf("no network namespaces here: ip %s: %v: %s", command, err, out)
		}
	}
	if err := os.WriteFile("agent", []byte(agent), 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{
		"10.213.0.1", "exec mpirun --allow-run-as-root --mca plm_rsh_agent " + dir + "/agent --host 10.213.0.1,10.213.0.2 -x " + reexec + " sh -c 'hostname >$(hostname); exec \"$@\"' sh",
	}, process(t.Context(), t, "train", "--config", "s.yaml").Args...)
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "agent"), args...)
	cmd.Env = append(os.Environ(), reexec+"=1")
	mustRun(t, cmd)
	for _, host := range []string{"eisft1", "eisft2"} {
		if _, err := os.Stat(host); err != nil {
			t.Errorf("no rank ran on %s: %v", host, err)
		}
	}
	if !bytes.Equal(trainedBytes(t, "s-2"), trainedBytes(t, "s")) {
		t.Error("two hosts train other parameters than one process")
	}
}

// TestFirstRankSays: what all ranks would say alike the first one says, without Open MPI.
func TestFirstRankSays(t *testing.T) {
	for rank, want := range map[string]string{"0": "eisft", "1": ""} {
		t.Setenv("OMPI_COMM_WORLD_RANK", rank)
		t.Setenv("OMPI_COMM_WORLD_SIZE", "2")
		for _, command := range []string{"env", "version"} {
			if r := eisft(t, command); r.code != 0 || r.stderr != "" || (r.stdout == "") != (want == "") {
				t.Errorf("%s as rank %s: exit code %d, %s%s", command, rank, r.code, r.stdout, r.stderr)
			}
		}
	}
}
