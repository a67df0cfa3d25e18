package hf

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"
	"strings"

	"eisft/internal/head"
)

// GGUF is an open file of llama.cpp's format, or the parts that one was split into,
// mapped into memory. Tensors have ggml's names; Open gives the same weights under
// Hugging Face's.
type GGUF struct {
	// Metadata holds the file's key-value pairs. Integers are int64, numbers
	// float64, besides bool and string, and lists of one of these four. The
	// vocabulary is under tokenizer.ggml.*.
	Metadata map[string]any

	path    string            // of the file, or of the first part
	tensors map[string]Tensor // by their names
	files   map[string]string // where they lie
	parts   []string          // the paths of all files
	unmap   []func() error
}

// OpenGGUF opens a GGUF file of version 2 or 3 (specification:
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). Tensors may have every
// type that llama.cpp 0.5 writes: F32, F16, BF16, F64, I8 to I64, Q1_0 to Q8_0, Q2_K to
// Q6_K, IQ1_S to IQ4_XS, TQ1_0, TQ2_0, MXFP4 and NVFP4. Of a model in parts
// (NAME-00001-of-00003.gguf) any part opens all, which lie in one folder.
func OpenGGUF(path string) (*GGUF, error) {
	files, err := openGGUFFiles(path)
	g := &GGUF{Metadata: map[string]any{}, tensors: map[string]Tensor{}, files: map[string]string{}}
	for _, f := range files {
		g.parts, g.unmap = append(g.parts, f.path), append(g.unmap, f.unmap)
	}
	if err == nil {
		g.path = g.parts[0]
		for _, f := range files {
			if err = g.join(f); err != nil {
				break
			}
		}
	}
	if err == nil && len(files) > 1 {
		err = g.checkCount()
	}
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// Names lists the tensors by their ggml names, in alphabetical order.
func (g *GGUF) Names() []string { return slices.Sorted(maps.Keys(g.tensors)) }

// Tensor returns a tensor as a view of the file, by its ggml name.
func (g *GGUF) Tensor(name string) (Tensor, error) {
	t, ok := g.tensors[name]
	if !ok {
		return Tensor{}, fmt.Errorf("%s: tensor %s is not in the file, which holds %d others", g.path, name, len(g.tensors))
	}
	return t, nil
}

// Close unmaps the files. Tensors obtained from it must not be read afterwards.
func (g *GGUF) Close() error {
	var errs []error
	for _, unmap := range g.unmap {
		errs = append(errs, unmap())
	}
	g.unmap = nil
	return errors.Join(errs...)
}

// The numbers of the specification's gguf_metadata_value_type.
const (
	ggufUint8   = 0
	ggufInt8    = 1
	ggufUint16  = 2
	ggufInt16   = 3
	ggufUint32  = 4
	ggufInt32   = 5
	ggufFloat32 = 6
	ggufBool    = 7
	ggufString  = 8
	ggufArray   = 9
	ggufUint64  = 10
	ggufInt64   = 11
	ggufFloat64 = 12
)

// ggmlTypes maps the specification's ggml_type to what Tensor converts.
var ggmlTypes = map[uint32]DType{
	0: DTypeF32, 1: DTypeF16, 2: DTypeQ40, 3: DTypeQ41, 6: DTypeQ50, 7: DTypeQ51, 8: DTypeQ80,
	10: DTypeQ2K, 11: DTypeQ3K, 12: DTypeQ4K, 13: DTypeQ5K, 14: DTypeQ6K,
	16: DTypeIQ2XXS, 17: DTypeIQ2XS, 18: DTypeIQ3XXS, 19: DTypeIQ1S, 20: DTypeIQ4NL, 21: DTypeIQ3S, 22: DTypeIQ2S, 23: DTypeIQ4XS,
	24: DTypeI8, 25: DTypeI16, 26: DTypeI32, 27: DTypeI64, 28: DTypeF64, 29: DTypeIQ1M, 30: DTypeBF16,
	34: DTypeTQ1, 35: DTypeTQ2, 39: DTypeMXFP4, 40: DTypeNVFP4, 41: DTypeQ1, 42: DTypeQ2,
}

// ggmlNames are the types that nothing here converts: those that llama.cpp makes while it computes, and those
// that it has given up.
var ggmlNames = map[uint32]string{
	4: "Q4_2", 5: "Q4_3", 9: "Q8_1", 15: "Q8_K",
	31: "Q4_0_4_4", 32: "Q4_0_4_8", 33: "Q4_0_8_8", 36: "IQ4_NL_4_4", 37: "IQ4_NL_4_8", 38: "IQ4_NL_8_8",
}

// ggmlFloats lists the types that weights may have.
func ggmlFloats() string {
	var names []string
	for _, number := range slices.Sorted(maps.Keys(ggmlTypes)) {
		if d := ggmlTypes[number]; d.IsFloat() {
			names = append(names, string(d))
		}
	}
	return strings.Join(names, ", ")
}

// ggufTensor is a tensor's record; offset counts from the start of the data.
type ggufTensor struct {
	name   string
	dtype  DType
	shape  []int
	offset uint64
}

// parseGGUF returns the metadata and the tensors of a file's bytes, the latter as views of them.
func parseGGUF(file []byte) (map[string]any, map[string]Tensor, error) {
	c := &cursor{data: file}
	if err := head.Check(file); err != nil {
		return nil, nil, err
	}
	if !bytes.Equal(c.take(4), []byte("GGUF")) {
		return nil, nil, errors.New("found no GGUF at the start of the file: this is no GGUF file, or it is damaged")
	}
	version := c.uint32()
	if swapped := bits.ReverseBytes32(version); c.err == nil && swapped > 0 && swapped < 1<<16 && version >= 1<<16 {
		return nil, nil, fmt.Errorf("found version %d with its bytes in big-endian order, want little-endian: convert the model without --bigendian, or the file with gguf_convert_endian.py little", swapped)
	}
	if c.err == nil && version != 2 && version != 3 {
		return nil, nil, fmt.Errorf("found version %d, want 2 or 3: convert the model again", version)
	}
	const minTensor, minPair = 8 + 4 + 4 + 8, 8 + 4 + 1 // bytes of the shortest records
	tensorCount, pairCount := c.count(minTensor), c.count(minPair)
	metadata := make(map[string]any)
	for range pairCount {
		key := c.text()
		if _, twice := metadata[key]; twice {
			c.fail(errors.New("the key is there twice"))
		}
		if metadata[key] = c.value(c.uint32()); c.err != nil {
			return nil, nil, fmt.Errorf("metadata %s: %w; %s", key, c.err, again)
		}
	}
	infos := make([]ggufTensor, 0, tensorCount)
	for range tensorCount {
		info, err := c.tensor()
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %s: %w", info.name, err)
		}
		infos = append(infos, info)
	}
	if c.err != nil {
		return nil, nil, fmt.Errorf("header: %w; %s", c.err, again)
	}
	tensors, err := placeTensors(file, c.pos, metadata, infos)
	return metadata, tensors, err
}

// placeTensors finds each tensor's bytes; the data begins at the first aligned
// place after the header, which ends at pos.
func placeTensors(file []byte, pos int, metadata map[string]any, infos []ggufTensor) (map[string]Tensor, error) {
	align := int64(32)
	if v, ok := metadata["general.alignment"]; ok {
		if align, ok = v.(int64); !ok || align < 1 || align > 1<<20 || align&(align-1) != 0 {
			return nil, fmt.Errorf("metadata general.alignment: found %v, want a power of two; %s", v, again)
		}
	}
	start := min((int64(pos)+align-1)/align*align, int64(len(file)))
	data := file[start:]
	slices.SortStableFunc(infos, func(a, b ggufTensor) int { return cmp.Compare(a.offset, b.offset) })
	tensors := make(map[string]Tensor, len(infos))
	end, before := uint64(0), ""
	for _, t := range infos {
		_, size, err := storage(t.dtype, t.shape)
		if err != nil {
			return nil, fmt.Errorf("tensor %s: %w; %s", t.name, err, again)
		}
		if _, twice := tensors[t.name]; twice {
			return nil, fmt.Errorf("tensor %s is there twice; %s", t.name, again)
		}
		if t.offset%uint64(align) != 0 || t.offset > uint64(len(data)) || uint64(size) > uint64(len(data))-t.offset {
			return nil, fmt.Errorf("tensor %s: found %d bytes at offset %d, want them within the %d bytes of data, at a multiple of %d; %s",
				t.name, size, t.offset, len(data), align, again)
		}
		if t.offset < end {
			return nil, fmt.Errorf("tensor %s: found it to begin at %d, inside of %s, which ends at %d; %s", t.name, t.offset, before, end, again)
		}
		end, before = t.offset+uint64(size), t.name
		tensors[t.name] = Tensor{Name: t.name, DType: t.dtype, Shape: t.shape, Data: data[t.offset:end:end]}
	}
	return tensors, nil
}

// cursor reads little-endian values one after the other. After the first
// failure every read returns zero.
type cursor struct {
	data []byte
	pos  int
	err  error
}

func (c *cursor) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

func (c *cursor) take(n uint64) []byte {
	if c.err == nil && n > uint64(len(c.data)-c.pos) {
		c.fail(fmt.Errorf("found %d bytes after byte %d, want %d", len(c.data)-c.pos, c.pos, n))
	}
	if c.err != nil {
		return nil
	}
	b := c.data[c.pos : c.pos+int(n)]
	c.pos += int(n)
	return b
}

func (c *cursor) uint32() uint32 {
	if b := c.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) uint64() uint64 {
	if b := c.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// count reads how many records of at least the given size follow, so that no
// number in a damaged file makes the reader allocate more than the file justifies.
func (c *cursor) count(recordSize int) int {
	n := c.uint64()
	if left := uint64((len(c.data) - c.pos) / recordSize); c.err == nil && n > left {
		c.fail(fmt.Errorf("found a count of %d, but the file has room for %d", n, left))
	}
	if c.err != nil {
		return 0
	}
	return int(n)
}

func (c *cursor) text() string { return string(c.take(c.uint64())) }

// value reads a metadata value of the given type.
func (c *cursor) value(kind uint32) any {
	switch kind {
	case ggufBool:
		return c.bool()
	case ggufString:
		return c.text()
	case ggufFloat32, ggufFloat64:
		return c.float(kind)
	case ggufArray:
		return c.array(c.uint32())
	default:
		return c.integer(kind)
	}
}

// array reads a list. Lists of lists are in the specification, but neither
// llama.cpp nor this reader knows them.
func (c *cursor) array(kind uint32) any {
	switch kind {
	case ggufBool:
		return items(c, 1, c.bool)
	case ggufString:
		return items(c, 8, c.text)
	case ggufFloat32, ggufFloat64:
		return items(c, 4, func() float64 { return c.float(kind) })
	default:
		return items(c, 1, func() int64 { return c.integer(kind) })
	}
}

func items[T any](c *cursor, size int, read func() T) []T {
	out := make([]T, c.count(size))
	for i := range out {
		out[i] = read()
	}
	return out
}

func (c *cursor) bool() bool {
	b := c.take(1)
	if b != nil && b[0] > 1 {
		c.fail(fmt.Errorf("found %d, want 0 or 1", b[0]))
	}
	return b != nil && b[0] == 1
}

func (c *cursor) float(kind uint32) float64 {
	if kind == ggufFloat32 {
		return float64(math.Float32frombits(c.uint32()))
	}
	return math.Float64frombits(c.uint64())
}

func (c *cursor) integer(kind uint32) int64 {
	switch kind {
	case ggufUint8, ggufInt8:
		b := c.take(1)
		if b == nil {
			return 0
		}
		if kind == ggufInt8 {
			return int64(int8(b[0]))
		}
		return int64(b[0])
	case ggufUint16, ggufInt16:
		b := c.take(2)
		if b == nil {
			return 0
		}
		if kind == ggufInt16 {
			return int64(int16(binary.LittleEndian.Uint16(b)))
		}
		return int64(binary.LittleEndian.Uint16(b))
	case ggufUint32:
		return int64(c.uint32())
	case ggufInt32:
		return int64(int32(c.uint32()))
	case ggufInt64:
		return int64(c.uint64())
	case ggufUint64:
		n := c.uint64()
		if n > math.MaxInt64 {
			c.fail(fmt.Errorf("found %d, want at most %d", n, math.MaxInt64))
		}
		return int64(n)
	default:
		c.fail(fmt.Errorf("found the value type %d, which is not known", kind))
		return 0
	}
}

// tensor reads a tensor's record. GGUF lists dimensions from the contiguous one on.
func (c *cursor) tensor() (ggufTensor, error) {
	t := ggufTensor{name: c.text()}
	rank := c.uint32()
	const maxRank = 4 // of ggml
	if c.err == nil && rank > maxRank {
		return t, fmt.Errorf("found %d dimensions, want at most %d; %s", rank, maxRank, again)
	}
	for range rank {
		dim := c.uint64()
		if dim > math.MaxInt {
			return t, fmt.Errorf("found the dimension %d, want one that fits; %s", dim, again)
		}
		t.shape = append(t.shape, int(dim))
	}
	slices.Reverse(t.shape)
	kind := c.uint32()
	t.offset = c.uint64()
	var ok bool
	if t.dtype, ok = ggmlTypes[kind]; !ok && c.err == nil {
		name := cmp.Or(ggmlNames[kind], fmt.Sprintf("ggml type %d", kind))
		return t, fmt.Errorf("found %s, which is not read; want one of %s: take another variant of the model, for example Q8_0 or Q4_K_M", name, ggmlFloats())
	}
	return t, c.err
}
