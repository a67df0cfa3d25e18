//go:build unix

package train

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"eisft/internal/mapped"
	"eisft/model"
)

// cutAfter cuts a file short when training has asked often enough whether to stop.
type cutAfter struct {
	context.Context
	left atomic.Int64
	path string
}

func (c *cutAfter) Err() error {
	if c.left.Add(-1) == 0 {
		if err := os.Truncate(c.path, 1000); err != nil {
			panic(err)
		}
	}
	return c.Context.Err()
}

// TestTruncatedBase: a base that is cut short while it is trained on is an error that names
// it, wherever training reads it: in the stream, the graph's goroutine or a core's worker.
func TestTruncatedBase(t *testing.T) {
	for _, asked := range []int64{1, 7, 20, 40} {
		c := tinyConfig(t, "["+distillStage+", "+sftStage+"]")
		base := filepath.Join(t.TempDir(), "base")
		if err := os.CopyFS(base, os.DirFS(c.Model.Path)); err != nil {
			t.Fatal(err)
		}
		c.Model.Path, c.Model.DType = base, model.DTypeStored // no copy is kept
		ctx := &cutAfter{Context: t.Context(), path: filepath.Join(base, "model.safetensors")}
		ctx.left.Store(asked)
		err := func() (err error) {
			defer mapped.Recover(func(e *mapped.Error) { err = e })
			defer mapped.Watch()()
			_, err = Train(ctx, c, Options{})
			return err
		}()
		var fault *mapped.Error
		if !errors.As(err, &fault) || fault.Path != ctx.path {
			t.Errorf("cut short at question %d: error %v, want one that names %s", asked, err, ctx.path)
		}
	}
}
