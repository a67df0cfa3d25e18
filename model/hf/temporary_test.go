package hf

import (
	"os"
	"runtime"
	"testing"
)

// TestTemporaryF32: the numbers are those that were written, and the folder holds no file even
// while they are, which a killed process would leave.
func TestTemporaryF32(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	x, err := TemporaryF32("x", []int{2, 2}, func(write func([]float32) error) error {
		if left, err := os.ReadDir(dir); runtime.GOOS == "linux" && (err != nil || len(left) > 0) {
			t.Errorf("while it is written there are %v (%v)", left, err)
		}
		if err := write([]float32{1, 2}); err != nil {
			return err
		}
		return write([]float32{3, 4})
	})
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, 4)
	if err := x.ReadFloat32(got); err != nil || (got[0] != 1 || got[3] != 4) {
		t.Errorf("got %v (%v)", got, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("it left %v (%v)", left, err)
	}
}
