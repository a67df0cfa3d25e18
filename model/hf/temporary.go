package hf

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"runtime"
)

// TemporaryF32 returns a tensor of float32 numbers that lie in a temporary file, mapped as
// a checkpoint is: pages can leave memory and come back. fill calls write with the numbers,
// in row-major order. The file loses its name before it is filled, where the system lets it, so
// that a process that is killed leaves nothing; it is unmapped once the tensor is not used (where
// the system maps no files it is read instead).
func TemporaryF32(name string, shape []int, fill func(write func(x []float32) error) error) (*Tensor, error) {
	f, err := os.CreateTemp("", "eisft-*.weights")
	if err != nil {
		return nil, err
	}
	named := os.Remove(f.Name()) != nil
	defer func() {
		_ = f.Close()
		if named {
			_ = os.Remove(f.Name())
		}
	}()
	w, bits := bufio.NewWriterSize(f, 1<<18), make([]byte, 4)
	err = fill(func(x []float32) error {
		for _, v := range x {
			binary.LittleEndian.PutUint32(bits, math.Float32bits(v))
			if _, err := w.Write(bits); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	data, unmap, err := mapOpened(f)
	if err != nil {
		return nil, err
	}
	t := &Tensor{Name: name, DType: DTypeF32, Shape: shape, Data: data}
	if _, err := t.check(); err != nil {
		_ = unmap()
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	runtime.AddCleanup(t, func(unmap func() error) { _ = unmap() }, unmap)
	return t, nil
}
