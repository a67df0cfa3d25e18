package ir

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"slices"

	"eisft/internal/atomicfile"
)

// PageSize is the alignment of tensors in an external-data file; ONNX asks for it
// (onnx.proto, TensorProto.external_data) so that a runtime can map each tensor.
const PageSize = 4096

// Weights is an external-data file that several graphs refer to. Tensors are
// written as they are put, so that memory holds one at a time; the file appears
// under its name on Commit. The graphs must be written into the same folder.
type Weights struct {
	*weightsFile
	prefix string // of names, see Under
}

// weightsFile is what all views of a file share.
type weightsFile struct {
	path    string
	file    *atomicfile.File
	size    int64
	byName  map[string]stored
	content map[[sha256.Size]byte]span
}

type span struct{ offset, length int64 }

type stored struct {
	span
	sum   [sha256.Size]byte
	dtype DType
	shape []int
}

// CreateWeights starts the external-data file path.
func CreateWeights(path string) (*Weights, error) {
	file, err := atomicfile.Create(path)
	if err != nil {
		return nil, err
	}
	return &Weights{weightsFile: &weightsFile{
		path: path, file: file,
		byName: map[string]stored{}, content: map[[sha256.Size]byte]span{},
	}}, nil
}

// Under returns a view of the file for graphs whose tensors have the names of others and
// another content: names are told apart by the prefix. Equal bytes are stored once all the
// same.
func (w *Weights) Under(prefix string) *Weights { return &Weights{w.weightsFile, w.prefix + prefix} }

// Has tells whether a tensor of that name is in the file.
func (w *Weights) Has(name string) bool {
	_, ok := w.byName[w.prefix+name]
	return ok
}

// Size is the file's length in bytes so far.
func (w *Weights) Size() int64 { return w.size }

// put stores t under name. Bytes that are in the file already are not written
// again, whatever their name (a tied embedding and head); the same name with other
// content is an error.
func (w *Weights) put(name string, t Tensor) error {
	sum := sha256.Sum256(t.Raw)
	if old, ok := w.byName[w.prefix+name]; ok {
		if old.sum != sum || old.dtype != t.DType || !slices.Equal(old.shape, t.Shape) {
			return fmt.Errorf("%s: tensor %q is already stored with other content (%s %v)", w.path, name, old.dtype, old.shape)
		}
		return nil
	}
	at, ok := w.content[sum]
	if !ok {
		var err error
		if at, err = w.append(t.Raw); err != nil {
			return fmt.Errorf("store tensor %q: %w", name, err)
		}
		w.content[sum] = at
	}
	w.byName[w.prefix+name] = stored{span: at, sum: sum, dtype: t.DType, shape: t.Shape}
	return nil
}

func (w *Weights) append(raw []byte) (span, error) {
	if pad := -w.size & (PageSize - 1); pad > 0 {
		if _, err := w.file.Write(make([]byte, pad)); err != nil {
			return span{}, err
		}
		w.size += pad
	}
	at := span{offset: w.size, length: int64(len(raw))}
	if _, err := w.file.Write(raw); err != nil {
		return span{}, err
	}
	w.size += at.length
	return at, nil
}

// at returns where a tensor is.
func (w *Weights) at(name string) stored { return w.byName[w.prefix+name] }

// Commit publishes the file.
func (w *Weights) Commit() error { return w.file.Commit() }

// Abort discards the file; after Commit it does nothing.
func (w *Weights) Abort() { w.file.Abort() }

// location is the file's name as graphs in the same folder write it.
func (w *Weights) location() string { return filepath.Base(w.path) }
