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
