package errtext

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"
)

func TestOf(t *testing.T) {
	gone := &fs.PathError{Op: "open", Path: "a/b.yaml", Err: syscall.ENOENT}
	for _, c := range []struct {
		err  error
		want string
	}{
		{gone, "a/b.yaml: no such file or directory"},
		{fmt.Errorf("a/b.yaml: %w", gone), "a/b.yaml: no such file or directory"},
		{fmt.Errorf("read a/b.yaml: %w", gone), "read a/b.yaml: no such file or directory"},
		{fmt.Errorf("run a: %w", gone), "run a: a/b.yaml: no such file or directory"},
		{fmt.Errorf("--state: %w; go on", gone), "--state: a/b.yaml: no such file or directory; go on"},
		{errors.Join(errors.New("first"), fmt.Errorf("second: %w", gone)), "first\nsecond: a/b.yaml: no such file or directory"},
		{fmt.Errorf("%w and %w", gone, &fs.PathError{Op: "stat", Path: "x", Err: syscall.EACCES}), "a/b.yaml: no such file or directory and x: permission denied"},
		{os.NewSyscallError("flock", syscall.EINTR), "interrupted system call"},
		{errors.New("bad.jsonl: bad.jsonl:line 2: no"), "bad.jsonl:line 2: no"},
		{errors.New("s.yaml: s.yaml:3: no"), "s.yaml:3: no"},
		{errors.New("tensor: x: y: x: z"), "tensor: x: y: x: z"},
		{errors.New(": "), ": "},
		{errors.New("the template refuses: \x1b[2Jno"), "the template refuses: ␛[2Jno"},
		{errors.New("stopped"), "stopped"},
	} {
		if got := Of(c.err); got != c.want {
			t.Errorf("%q became %q, want %q", c.err, got, c.want)
		}
	}
}
