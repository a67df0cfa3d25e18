package half

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"eisft/export/ir"
	"eisft/export/onnxpb"
	"eisft/internal/atomicfile"
	"eisft/model/kernels"
)

// Weights are the weights of graphs after float16, in a temporary file that all these graphs
// share as they share the file that they were written with. The zero value has none yet.
type Weights struct {
	folder string
	dir    *atomicfile.Dir // which the next process removes where this one is killed
	file   *os.File
	size   int64
	at     map[source]int64 // where what was copied lies
}

// source is what is copied: bytes of a file, as they are or rounded.
type source struct {
	path           string
	offset, length int64
	rounded        bool
}

// copied is how much is copied at once.
const copied = 4 << 20

// Close removes the file. Sessions that have loaded graphs keep what they have mapped of it.
func (w *Weights) Close() error {
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file = nil
	w.dir.Abort()
	return err
}

// storeRounded lets the graph read its external weights from w, where some of them are rounded:
// those that ops that compute in float read, and no others. Of a model that is given as bytes,
// ONNX Runtime wants all external data in one folder, so that the others go there as they are.
func (r *rounder) storeRounded(m *ir.Model, w *Weights) error {
	floats, others := map[string]bool{}, map[string]bool{} // what reads a value
	for _, n := range r.graph.Node {
		for _, name := range n.Input {
			if r.computesFloat(n) {
				floats[name] = true
			} else {
				others[name] = true
			}
		}
	}
	var external []*onnxpb.TensorProto
	for _, t := range r.graph.Initializer {
		if t.GetDataLocation() != onnxpb.TensorProto_EXTERNAL {
			continue
		}
		external = append(external, t)
		if name := t.GetName(); ir.DType(t.GetDataType()) == ir.Float32 && floats[name] && !others[name] {
			r.stored[name] = true
		}
	}
	if len(r.stored) == 0 {
		return nil
	}
	for _, t := range external {
		if err := w.move(t, filepath.Dir(m.Path), r.stored[t.GetName()]); err != nil {
			return fmt.Errorf("copy weights %s to %s, which holds them while graphs are compared (the environment variable TMPDIR names another folder): %w", t.GetName(), w.folder, err)
		}
	}
	return nil
}

// move copies a constant's bytes, once, and lets it read the copy.
func (w *Weights) move(t *onnxpb.TensorProto, folder string, round bool) error {
	from, err := ir.ExternalOf(t)
	if err != nil {
		return err
	}
	if err := w.create(); err != nil {
		return err
	}
	of := source{filepath.Join(folder, filepath.FromSlash(from.Location)), from.Offset, from.Length, round}
	at, ok := w.at[of]
	if !ok {
		if at, err = w.copy(of); err != nil {
			return err
		}
		w.at[of] = at
	}
	t.ExternalData = nil
	for _, e := range [][2]string{{"location", w.file.Name()}, {"offset", strconv.FormatInt(at, 10)}, {"length", strconv.FormatInt(from.Length, 10)}} {
		t.ExternalData = append(t.ExternalData, &onnxpb.StringStringEntryProto{Key: e[0], Value: e[1]})
	}
	return nil
}

// create makes the file, the first time.
func (w *Weights) create() (err error) {
	if w.file != nil {
		return nil
	}
	w.folder = os.TempDir()
	if w.dir, err = atomicfile.CreateDir(filepath.Join(w.folder, fmt.Sprintf("eisft-float16-%d", os.Getpid()))); err != nil {
		return err
	}
	w.folder = w.dir.Path()
	w.at, w.size = map[source]int64{}, 0
	if err = os.Chmod(w.folder, 0o700); err == nil {
		w.file, err = os.Create(filepath.Join(w.folder, "weights.bin"))
	}
	if err != nil {
		w.dir.Abort()
	}
	return err
}

// copy appends bytes of a file, rounded or as they are, and returns where they lie.
func (w *Weights) copy(of source) (at int64, err error) {
	f, err := os.Open(of.path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	at = (w.size + ir.PageSize - 1) / ir.PageSize * ir.PageSize
	block := make([]byte, min(copied, of.length))
	for done := int64(0); done < of.length; done += int64(len(block)) {
		block = block[:min(int64(len(block)), of.length-done)]
		if _, err := f.ReadAt(block, of.offset+done); err != nil && err != io.EOF {
			return 0, err
		}
		if of.rounded {
			kernels.Parallel(len(block)/4, 1<<14, func(lo, hi int) { roundBytes(block[4*lo : 4*hi]) })
		}
		if _, err := w.file.WriteAt(block, at+done); err != nil {
			return 0, err
		}
	}
	w.size = at + of.length
	return at, nil
}

// roundBytes rounds little-endian float32 numbers to float16.
func roundBytes(b []byte) {
	const n = 1 << 10
	var floats [n]float32
	var halves [2 * n]byte
	for len(b) > 0 {
		x := floats[:min(n, len(b)/4)]
		for i := range x {
			x[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
		kernels.F32ToF16(halves[:], x)
		kernels.F16ToF32(x, halves[:])
		for i, v := range x {
			binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(v))
		}
		b = b[4*len(x):]
	}
}
