// Package hftest writes GGUF files as llama.cpp's converter and quantizer do, for tests:
// of the formats' descriptions it has an implementation of its own.
package hftest

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// GGUF builds a file of version 3.
type GGUF struct {
	pairs, infos, data   []byte
	pairCount, infoCount uint64
	tensors              []func(to *GGUF) // each adds one of the tensors to another file
}

// The numbers of gguf_metadata_value_type.
const (
	typeInt8    = 1
	typeUint16  = 2
	typeUint32  = 4
	typeInt32   = 5
	typeFloat32 = 6
	typeBool    = 7
	typeString  = 8
	typeArray   = 9
)

var le = binary.LittleEndian

func text(s string) []byte { return append(le.AppendUint64(nil, uint64(len(s))), s...) }

// Put adds a key-value pair.
func (w *GGUF) Put(key string, value any) {
	w.pairs = append(w.pairs, text(key)...)
	w.pairCount++
	switch v := value.(type) {
	case uint32:
		w.pairs = le.AppendUint32(le.AppendUint32(w.pairs, typeUint32), v)
	case uint16:
		w.pairs = le.AppendUint16(le.AppendUint32(w.pairs, typeUint16), v)
	case int32:
		w.pairs = le.AppendUint32(le.AppendUint32(w.pairs, typeInt32), uint32(v))
	case float32:
		w.pairs = le.AppendUint32(le.AppendUint32(w.pairs, typeFloat32), math.Float32bits(v))
	case string:
		w.pairs = append(le.AppendUint32(w.pairs, typeString), text(v)...)
	case bool:
		w.pairs = append(le.AppendUint32(w.pairs, typeBool), map[bool]byte{true: 1}[v])
	case []string:
		w.array(typeString, len(v))
		for _, s := range v {
			w.pairs = append(w.pairs, text(s)...)
		}
	case []bool:
		w.array(typeBool, len(v))
		for _, b := range v {
			w.pairs = append(w.pairs, map[bool]byte{true: 1}[b])
		}
	case []int8:
		w.array(typeInt8, len(v))
		for _, n := range v {
			w.pairs = append(w.pairs, byte(n))
		}
	case []int32:
		w.array(typeInt32, len(v))
		for _, n := range v {
			w.pairs = le.AppendUint32(w.pairs, uint32(n))
		}
	case []float32:
		w.array(typeFloat32, len(v))
		for _, x := range v {
			w.pairs = le.AppendUint32(w.pairs, math.Float32bits(x))
		}
	default:
		panic(fmt.Sprintf("no writer for %T", value))
	}
}

func (w *GGUF) array(kind uint32, n int) {
	w.pairs = le.AppendUint64(le.AppendUint32(le.AppendUint32(w.pairs, typeArray), kind), uint64(n))
}

// Tensor adds a tensor; kind is its ggml_type, shape is row-major.
func (w *GGUF) Tensor(name string, kind uint32, shape []int, data []byte) {
	w.infos = le.AppendUint32(append(w.infos, text(name)...), uint32(len(shape)))
	for _, dim := range slices.Backward(shape) {
		w.infos = le.AppendUint64(w.infos, uint64(dim))
	}
	w.infos = le.AppendUint64(le.AppendUint32(w.infos, kind), uint64(len(w.data)))
	w.infoCount++
	w.tensors = append(w.tensors, func(to *GGUF) { to.Tensor(name, kind, shape, data) })
	w.data = append(w.data, data...)
	w.data = append(w.data, make([]byte, -len(w.data)&31)...)
}

// DropData forgets the tensors' bytes, so that the next tensor begins where the first
// one did.
func (w *GGUF) DropData() { w.data = nil }

// Split returns the file in parts, as llama-gguf-split writes it: the first has all metadata.
func (w *GGUF) Split(parts int) []*GGUF {
	files := []*GGUF{{pairs: slices.Clone(w.pairs), pairCount: w.pairCount}}
	for i := range parts {
		if i > 0 {
			files = append(files, &GGUF{})
		}
		files[i].Put("split.no", uint16(i))
		files[i].Put("split.count", uint16(parts))
		files[i].Put("split.tensors.count", int32(len(w.tensors)))
		for _, add := range w.tensors[i*len(w.tensors)/parts : (i+1)*len(w.tensors)/parts] {
			add(files[i])
		}
	}
	return files
}

// Bytes returns the file.
func (w *GGUF) Bytes() []byte {
	b := le.AppendUint32([]byte("GGUF"), 3)
	b = le.AppendUint64(le.AppendUint64(b, w.infoCount), w.pairCount)
	b = append(append(b, w.pairs...), w.infos...)
	b = append(b, make([]byte, -len(b)&31)...)
	return append(b, w.data...)
}

// Write writes the file as model.gguf in a folder of its own and returns its path.
func (w *GGUF) Write(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.gguf")
	if err := os.WriteFile(path, w.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
