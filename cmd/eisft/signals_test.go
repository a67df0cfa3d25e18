//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestPipeAsData: data are read more than once: a named pipe is refused by all that read some, and not
// waited for.
func TestPipeAsData(t *testing.T) {
	runFolder(t)
	if err := syscall.Mkfifo("pipe.jsonl", 0o600); err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, args := range [][]string{
		{"eval", "--data", "pipe.jsonl"},
		{"quantize", "--calib", "pipe.jsonl"},
		{"quantize", "--calib", "train.jsonl", "--eval-data", "pipe.jsonl"},
		{"data", "stats", "--config", "s.yaml", "pipe.jsonl"},
		{"train", "--config", "s.yaml", "--set", "data.train=pipe.jsonl"},
		{"train", "--config", "s.yaml", "--set", "eval.data=pipe.jsonl"},
	} {
		cmd := process(ctx, t, args...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		err := cmd.Run()
		if want := "pipe.jsonl: it is not a regular file, and data are read more than once; copy what it gives into one\n"; err == nil || ctx.Err() != nil || !strings.HasSuffix(stderr.String(), want) {
			t.Errorf("%v: %v, %v, stderr %q, want %q", args, err, ctx.Err(), stderr.String(), want)
		}
	}
}

// TestSignalsEndReads: the first signal ends a command that waits for a pipe, and the
// message says which signal it was.
func TestSignalsEndReads(t *testing.T) {
	runFolder(t)
	if err := syscall.Mkfifo("pipe", 0o600); err != nil {
		t.Skip(err)
	}
	for _, c := range []struct {
		args   []string
		signal os.Signal
		want   string
	}{
		{[]string{"generate", "--prompt-file", "pipe"}, os.Interrupt, "stopped by Ctrl-C"},
		{[]string{"generate", "--prompt-file", "-"}, syscall.SIGTERM, "stopped by SIGTERM"},
		{[]string{"generate", "--state", "pipe", "--prompt", "x"}, os.Interrupt, "stopped by Ctrl-C"},
		{[]string{"eval", "--config", "pipe"}, os.Interrupt, "stopped by Ctrl-C"},
		{[]string{"chat"}, os.Interrupt, "stopped by Ctrl-C"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cmd := process(ctx, t, c.args...)
		if _, err := cmd.StdinPipe(); err != nil { // which nobody writes to
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond) // until it reads; earlier it must end as well
		if err := cmd.Process.Signal(c.signal); err != nil {
			t.Fatal(err)
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted || !strings.HasSuffix(stderr.String(), "eisft: "+c.want+"\n") {
			t.Errorf("%v: %v, stderr %q, want %q", c.args, err, stderr.String(), c.want)
		}
	}
}

// TestFewAddresses: ulimit -v ends Go programs without a word of theirs, so that a low one is warned of.
func TestFewAddresses(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for limit, want := range map[string]bool{"3500000": true, "5000000": false} {
		inner := process(ctx, t, "version")
		cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", `ulimit -v "$0" && exec "$@"`, limit}, inner.Args...)...)
		cmd.Env = inner.Env
		out, err := cmd.CombinedOutput()
		if has := strings.Contains(string(out), "eisft: warning: ulimit -v allows 3584.0 MB of addresses"); err != nil || has != want {
			t.Errorf("%s kB: %v, %s", limit, err, out)
		}
	}
}
