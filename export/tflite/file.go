// Package tflite writes lowered graphs as one .tflite file, which LiteRT, MediaTek's
// compilers and others take: a signature for each graph, over weights that all of them share.
//
// The graphs are those of package lower. Here a value with an encoding is a tensor of codes,
// ops whose values all have one compute in whole numbers, and those that are kept in float
// get DEQUANTIZE before and QUANTIZE behind them. Frozen maps become FULLY_CONNECTED.
package tflite

import (
	"fmt"
	"slices"

	flatbuffers "github.com/google/flatbuffers/go"

	"eisft/export/ir"
	"eisft/internal/atomicfile"
)

// Signature is a graph under the name that a host calls it by.
type Signature struct {
	Name  string
	Graph *ir.Graph // lowered
}

// Options say how graphs are written.
type Options struct {
	// Quantized gives tensors their encodings; without it all is float32.
	Quantized bool
	// Composites keeps steps that delegates may have kernels for together: one op with a subgraph
	// of the ops that it is made of, which runtimes without such a kernel compute.
	Composites bool
	// Description stands in the file.
	Description string
	// Metadata are texts by name.
	Metadata map[string]string
}

// identifier stands behind a file's first four bytes.
const identifier = "TFL3"

// The fields of tables that are read back.
const (
	modelBuffers = 4
	bufferData   = 0
)

// File is a file under construction.
type File struct {
	Options
	codes     []opcode
	buffers   []buffer // the first one is empty, for tensors without constant bytes
	byKey     map[string]int
	subgraphs []*subgraph
	composed  []*subgraph    // of composites: they stand behind those of signatures
	byStep    map[string]int // indices in composed
}

// NewFile starts a file.
func NewFile(o Options) *File {
	return &File{Options: o, buffers: []buffer{{}}, byKey: map[string]int{}, byStep: map[string]int{}}
}

// opcode is an op and the version of its parameters.
type opcode struct {
	op      builtin
	version int32
}

// buffer is the bytes of a constant, made when they are written.
type buffer struct {
	size int64
	load func() ([]byte, error)
}

// tensor is a tensor of a subgraph.
type tensor struct {
	name   string
	dtype  tensorType
	shape  []int
	buffer int
	quant  *quantization
}

// quantization says what codes stand for: scale·(code − zero), along an axis where there are
// several.
type quantization struct {
	scales []float32
	zeros  []int64
	axis   int32
}

// operator is an op of a subgraph; inputs that are absent are -1.
type operator struct {
	code            int
	inputs, outputs []int
	options         options
}

// subgraph is a graph with its signature.
type subgraph struct {
	name            string
	tensors         []tensor
	operators       []operator
	inputs, outputs []port
}

// port is a tensor under the name that a host knows it by.
type port struct {
	name   string
	tensor int
}

// Add adds a signature and returns how many ops of each kind it has. It fails, naming the op
// and the tensor, on what the format or LiteRT's kernels do not have.
func (f *File) Add(s Signature) (ops map[string]int, err error) {
	g, err := f.translate(s)
	if err != nil {
		return nil, fmt.Errorf("signature %s: %w", s.Name, err)
	}
	f.subgraphs = append(f.subgraphs, g)
	ops = map[string]int{}
	for _, op := range g.operators {
		ops[f.codes[op.code].op.String()]++
	}
	return ops, nil
}

// Write writes the file path, which is whole or absent.
func (f *File) Write(path string) error {
	out, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	defer out.Abort()
	tables := f.flatbuffer() // adds the buffers of metadata
	sizes := make([]int64, 0, len(f.buffers))
	for _, b := range f.buffers {
		sizes = append(sizes, b.size)
	}
	if err := writeFile(out, tables, sizes, func(i int) ([]byte, error) { return f.buffers[i].load() }); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return out.Commit()
}

// code returns the index of an op's code.
func (f *File) code(op builtin, version int32) int {
	c := opcode{op, version}
	if i := slices.Index(f.codes, c); i >= 0 {
		return i
	}
	f.codes = append(f.codes, c)
	return len(f.codes) - 1
}

// buffer returns the index of the buffer of that key, and makes it if there is none.
func (f *File) buffer(key string, size int64, load func() ([]byte, error)) int {
	if i, ok := f.byKey[key]; ok {
		return i
	}
	f.buffers = append(f.buffers, buffer{size, load})
	f.byKey[key] = len(f.buffers) - 1
	return len(f.buffers) - 1
}

// flatbuffer makes the tables; buffers point to nothing yet.
func (f *File) flatbuffer() []byte {
	b := flatbuffers.NewBuilder(1 << 16)
	nothing := b.CreateByteVector(nil)
	metadata := f.metadata(b) // adds buffers
	buffers := make([]flatbuffers.UOffsetT, len(f.buffers))
	for i, data := range f.buffers {
		if data.size == 0 {
			buffers[i] = table(b, 3)
			continue
		}
		buffers[i] = table(b, 3, offset(bufferData, nothing))
	}
	graphs, signatures := make([]flatbuffers.UOffsetT, len(f.subgraphs)), make([]flatbuffers.UOffsetT, len(f.subgraphs))
	for i, g := range f.subgraphs {
		graphs[i] = g.flatten(b)
		signatures[i] = g.signature(b, uint32(i))
	}
	for _, g := range f.composed {
		graphs = append(graphs, g.flatten(b))
	}
	codes := make([]flatbuffers.UOffsetT, len(f.codes))
	for i, c := range f.codes {
		const lastOfByte = 127 // ops beyond it stand in the newer field alone
		codes[i] = table(b, 4, byteField(0, byte(min(c.op, lastOfByte))), int32Field(2, c.version), int32Field(3, int32(c.op)))
	}
	const version = 3
	fields := []field{
		uint32Field(0, version), offset(1, tables(b, codes)), offset(2, tables(b, graphs)), offset(3, b.CreateString(f.Description)),
		offset(modelBuffers, tables(b, buffers)), offset(7, tables(b, signatures)),
	}
	if len(metadata) > 0 {
		fields = append(fields, offset(6, tables(b, metadata)))
	}
	b.FinishWithFileIdentifier(table(b, 10, fields...), []byte(identifier))
	return b.FinishedBytes()
}

func (f *File) metadata(b *flatbuffers.Builder) []flatbuffers.UOffsetT {
	names := make([]string, 0, len(f.Metadata))
	for name := range f.Metadata {
		names = append(names, name)
	}
	slices.Sort(names)
	list := make([]flatbuffers.UOffsetT, len(names))
	for i, name := range names {
		text := []byte(f.Metadata[name])
		at := f.buffer("metadata/"+name, int64(len(text)), func() ([]byte, error) { return text, nil })
		list[i] = table(b, 2, offset(0, b.CreateString(name)), uint32Field(1, uint32(at)))
	}
	return list
}

func (g *subgraph) flatten(b *flatbuffers.Builder) flatbuffers.UOffsetT {
	tensors := make([]flatbuffers.UOffsetT, len(g.tensors))
	for i, t := range g.tensors {
		tensors[i] = t.flatten(b)
	}
	operators := make([]flatbuffers.UOffsetT, len(g.operators))
	for i, op := range g.operators {
		fields := []field{uint32Field(0, uint32(op.code)), offset(1, int32Vector(b, op.inputs)), offset(2, int32Vector(b, op.outputs))}
		if o := op.options; o.kind != 0 {
			fields = append(fields, byteField(o.slot(), o.kind), offset(o.slot()+1, o.flatten(b)))
		}
		operators[i] = table(b, 14, fields...)
	}
	indices := func(ports []port) flatbuffers.UOffsetT {
		list := make([]int, len(ports))
		for i, p := range ports {
			list[i] = p.tensor
		}
		return int32Vector(b, list)
	}
	return table(b, 6, offset(0, tables(b, tensors)), offset(1, indices(g.inputs)), offset(2, indices(g.outputs)),
		offset(3, tables(b, operators)), offset(4, b.CreateString(g.name)))
}

func (t tensor) flatten(b *flatbuffers.Builder) flatbuffers.UOffsetT {
	fields := []field{
		offset(0, int32Vector(b, t.shape)), byteField(1, byte(t.dtype)), uint32Field(2, uint32(t.buffer)), offset(3, b.CreateString(t.name)),
		boolField(8, true), // has_rank
	}
	if q := t.quant; q != nil {
		scales := vector(b, flatbuffers.SizeFloat32, q.scales, b.PrependFloat32)
		zeros := vector(b, flatbuffers.SizeInt64, q.zeros, b.PrependInt64)
		fields = append(fields, offset(4, table(b, 7, offset(2, scales), offset(3, zeros), int32Field(6, q.axis))))
	}
	return table(b, 11, fields...)
}

func (g *subgraph) signature(b *flatbuffers.Builder, index uint32) flatbuffers.UOffsetT {
	list := func(ports []port) flatbuffers.UOffsetT {
		maps := make([]flatbuffers.UOffsetT, len(ports))
		for i, p := range ports {
			maps[i] = table(b, 2, offset(0, b.CreateString(p.name)), uint32Field(1, uint32(p.tensor)))
		}
		return tables(b, maps)
	}
	return table(b, 5, offset(0, list(g.inputs)), offset(1, list(g.outputs)), offset(2, b.CreateString(g.name)), uint32Field(4, index))
}
