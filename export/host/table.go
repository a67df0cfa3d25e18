package host

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"

	"eisft/export/manifest"
	"eisft/model/hf"
)

// table is an exported folder's file of embeddings, of which rows are read as they are needed.
type table struct {
	file       *hf.File
	tensor     hf.Tensor
	rows, size int       // [V',D]
	scales     []float32 // of rows of codes, nil of numbers
}

func openTable(dir, name string) (_ *table, err error) {
	t := &table{}
	if t.file, err = hf.OpenFile(filepath.Join(dir, name)); err != nil {
		return nil, fmt.Errorf("embeddings: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.file.Close())
		}
	}()
	if t.tensor, err = t.file.Tensor(manifest.Embedding); err != nil {
		return nil, err
	}
	if len(t.tensor.Shape) != 2 || t.tensor.Shape[0] < 1 || t.tensor.Shape[1] < 1 {
		return nil, fmt.Errorf("%s: tensor %s has shape %v, want [V,D]", name, t.tensor.Name, t.tensor.Shape)
	}
	t.rows, t.size = t.tensor.Shape[0], t.tensor.Shape[1]
	if t.tensor.DType != hf.DTypeI8 && t.tensor.DType != hf.DTypeI16 {
		return t, t.read(make([]float32, t.size), 0) // a type that is no number's is found here
	}
	scale, err := t.file.Tensor(manifest.EmbeddingScale)
	if err != nil {
		return nil, err
	}
	if t.scales, err = scale.Float32(); err != nil {
		return nil, err
	}
	if len(t.scales) != t.rows {
		return nil, fmt.Errorf("%s: tensor %s has %d scales for %d rows", name, scale.Name, len(t.scales), t.rows)
	}
	return t, nil
}

// read writes the embeddings of consecutive ids [n,D], from one on.
func (t *table) read(dst []float32, id int) error {
	rows := t.tensor.Rows(id, id+len(dst)/t.size)
	if t.scales == nil {
		return rows.ReadFloat32(dst)
	}
	codes, err := rows.Int64()
	for i, c := range codes {
		dst[i] = t.scales[id+i/t.size] * float32(c)
	}
	return err
}

// Embeddings opens an exported folder's file of embeddings [n,d], whatever their type: rows writes
// those in [lo,hi) to dst. The file stays mapped as long as rows is there, and none of it is read before.
func Embeddings(dir, file string) (rows func(dst []float32, lo, hi int), n, d int, err error) {
	t, err := openTable(dir, file)
	if err != nil {
		return nil, 0, 0, err
	}
	runtime.AddCleanup(t, func(f *hf.File) { _ = f.Close() }, t.file)
	return func(dst []float32, lo, hi int) {
		_ = t.read(dst[:(hi-lo)*t.size], lo) // it never fails where openTable has read a row
		runtime.KeepAlive(t)
	}, t.rows, t.size, nil
}
