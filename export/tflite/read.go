package tflite

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	flatbuffers "github.com/google/flatbuffers/go"

	"eisft/export/ir"
	"eisft/quant/encoding"
)

// Model is a file that was read, with the bytes of its constants.
type Model struct {
	Path       string
	Bytes      int64
	Metadata   map[string]string
	Signatures []ReadSignature
}

// ReadSignature is a signature of a file.
type ReadSignature struct {
	Name            string
	Inputs, Outputs []Port
	Tensors         []*Tensor      // behind them those of the subgraphs of composites
	Ops             map[string]int // how many of each kind
}

// Port is an input or output under the name that a host knows it by.
type Port struct {
	Name   string
	Tensor *Tensor
}

// Tensor is a tensor of a signature.
type Tensor struct {
	Name     string
	DType    ir.DType // 0 of a type that this package does not write
	Shape    []int
	Encoding *encoding.Encoding // nil of floats and whole numbers
	Raw      []byte             // of a constant; nil else
}

// Point is what the tensor's codes encode, as the quantized model calls it, "" where the file
// does not say.
func (t *Tensor) Point() string {
	_, point, ok := strings.Cut(t.Name, " [")
	if !ok || t.Encoding == nil {
		return ""
	}
	return strings.TrimSuffix(point, "]")
}

// Integers returns the elements of a constant of codes or whole numbers.
func (t *Tensor) Integers() ([]int64, error) {
	return ir.Tensor{DType: t.DType, Shape: t.Shape, Raw: t.Raw}.Ints()
}

// Open reads a file of at most 2 GiB.
func Open(path string) (*Model, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return Parse(path, raw)
}

// Parse reads the bytes of a file called path.
func Parse(path string, raw []byte) (m *Model, err error) {
	if len(raw) > maxFile {
		return nil, fmt.Errorf("read %s: above 2 GiB, which is no TFLite file", path)
	}
	if len(raw) < 8 || string(raw[4:8]) != identifier {
		return nil, fmt.Errorf("read %s: it is no TFLite file: %s does not stand in its fifth to eighth bytes", path, identifier)
	}
	defer func() {
		if cause := recover(); cause != nil { // an offset that leads out of the file
			m, err = nil, fmt.Errorf("read %s: it is damaged: %v", path, cause)
		}
	}()
	p := &parser{raw: raw, left: len(raw)}
	if m, err = p.model(node{flatbuffers.Table{Bytes: raw, Pos: flatbuffers.GetUOffsetT(raw)}}); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	m.Path, m.Bytes = path, int64(len(raw))
	return m, nil
}

// parser reads a file. What it reads cannot have more elements than the file has bytes.
type parser struct {
	raw     []byte
	left    int
	buffers []node
	codes   []builtin
}

// node is a table of the file.
type node struct{ flatbuffers.Table }

// at is where a field's value stands, 0 where it is not set.
func (n node) at(slot int) flatbuffers.UOffsetT {
	if o := n.Offset(slotOf(slot)); o != 0 {
		return n.Pos + flatbuffers.UOffsetT(o)
	}
	return 0
}

func (n node) int32(slot int) int32 {
	if at := n.at(slot); at != 0 {
		return n.GetInt32(at)
	}
	return 0
}

func (n node) byte(slot int) byte {
	if at := n.at(slot); at != 0 {
		return n.GetByte(at)
	}
	return 0
}

func (n node) text(slot int) string {
	if at := n.at(slot); at != 0 {
		return string(n.ByteVector(at))
	}
	return ""
}

func (n node) bytes(slot int) []byte {
	if at := n.at(slot); at != 0 {
		return n.ByteVector(at)
	}
	return nil
}

// vector returns the elements of a field, of the given size, by what get makes of the place of
// each.
func vectorOf[T any](p *parser, n node, slot, size int, get func(at flatbuffers.UOffsetT) T) []T {
	at := n.at(slot)
	if at == 0 {
		return nil
	}
	offset := at - n.Pos
	start, count := n.Vector(offset), n.VectorLen(offset)
	if p.left -= count; count < 0 || p.left < 0 {
		panic("it has more elements than bytes")
	}
	list := make([]T, count)
	for i := range list {
		list[i] = get(start + flatbuffers.UOffsetT(size*i))
	}
	return list
}

func (p *parser) nodes(n node, slot int) []node {
	return vectorOf(p, n, slot, flatbuffers.SizeUOffsetT, func(at flatbuffers.UOffsetT) node {
		return node{flatbuffers.Table{Bytes: p.raw, Pos: n.Indirect(at)}}
	})
}

func (p *parser) ints(n node, slot int) []int {
	return vectorOf(p, n, slot, flatbuffers.SizeInt32, func(at flatbuffers.UOffsetT) int { return int(n.GetInt32(at)) })
}

func (p *parser) model(n node) (*Model, error) {
	m := &Model{Metadata: map[string]string{}}
	p.buffers = p.nodes(n, modelBuffers)
	for _, c := range p.nodes(n, 1) {
		p.codes = append(p.codes, max(builtin(c.byte(0)), builtin(c.int32(3))))
	}
	for _, entry := range p.nodes(n, 6) {
		m.Metadata[entry.text(0)] = string(p.buffer(entry.int32(1)))
	}
	graphs := p.nodes(n, 2)
	for _, s := range p.nodes(n, 7) {
		index := int(s.int32(4))
		if index < 0 || index >= len(graphs) {
			return nil, fmt.Errorf("signature %q is of subgraph %d, and there are %d", s.text(2), index, len(graphs))
		}
		read, err := p.signature(s, graphs[index], graphs)
		if err != nil {
			return nil, fmt.Errorf("signature %q: %w", s.text(2), err)
		}
		m.Signatures = append(m.Signatures, read)
	}
	if len(m.Signatures) == 0 {
		return nil, errors.New("it has no signatures, by which a host calls its graphs")
	}
	return m, nil
}

func (p *parser) buffer(i int32) []byte { return p.buffers[i].bytes(bufferData) }

func (p *parser) signature(s, g node, graphs []node) (ReadSignature, error) {
	read := ReadSignature{Name: s.text(2), Ops: map[string]int{}}
	var err error
	if read.Tensors, err = p.tensors(g); err != nil {
		return read, err
	}
	steps := map[int]bool{} // subgraphs of composites
	for _, o := range p.nodes(g, 3) {
		op := p.codes[o.int32(0)]
		read.Ops[op.String()]++
		if at := o.at(operatorOptions2 + 1); op == opComposite && at != 0 {
			index := int(node{flatbuffers.Table{Bytes: p.raw, Pos: o.Indirect(at)}}.int32(compositeGraph))
			if index < 0 || index >= len(graphs) {
				return read, fmt.Errorf("a composite is of subgraph %d, and there are %d", index, len(graphs))
			}
			steps[index] = true
		}
	}
	ports := func(slot int) []Port {
		var list []Port
		for _, entry := range p.nodes(s, slot) {
			list = append(list, Port{entry.text(0), read.Tensors[entry.int32(1)]})
		}
		return list
	}
	read.Inputs, read.Outputs = ports(0), ports(1)
	for _, index := range slices.Sorted(maps.Keys(steps)) {
		inner, err := p.tensors(graphs[index])
		if err != nil {
			return read, fmt.Errorf("composite %q: %w", graphs[index].text(4), err)
		}
		read.Tensors = append(read.Tensors, inner...)
	}
	return read, nil
}

// tensors reads those of a subgraph.
func (p *parser) tensors(g node) ([]*Tensor, error) {
	var list []*Tensor
	for _, t := range p.nodes(g, 0) {
		made, err := p.tensor(t)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.text(0), err)
		}
		list = append(list, made)
	}
	return list, nil
}

func (p *parser) tensor(n node) (*Tensor, error) {
	t := &Tensor{Name: n.text(3), Shape: p.ints(n, 0), DType: typeRead(tensorType(n.byte(1)))}
	size := int64(1)
	for _, s := range t.Shape {
		if s < 1 || size > math.MaxInt32/int64(s) {
			return nil, fmt.Errorf("its shape is %v; want static sizes", t.Shape)
		}
		size *= int64(s)
	}
	t.Raw = p.buffer(n.int32(2))
	if at := n.at(4); at != 0 {
		t.Encoding = p.encoding(node{flatbuffers.Table{Bytes: p.raw, Pos: n.Indirect(at)}}, t)
	}
	return t, nil
}

// encoding reads what the codes of a tensor stand for.
func (p *parser) encoding(n node, t *Tensor) *encoding.Encoding {
	scales := vectorOf(p, n, 2, flatbuffers.SizeFloat32, n.GetFloat32)
	zeros := vectorOf(p, n, 3, flatbuffers.SizeInt64, func(at flatbuffers.UOffsetT) int32 { return int32(n.GetInt64(at)) })
	if len(scales) == 0 || len(zeros) != len(scales) || t.DType.Bits() == 0 {
		return nil
	}
	e := t.DType.Encoding(scales, zeros, int(n.int32(6)), 0)
	if e.Bits == 0 {
		return nil // a bias
	}
	return &e
}

// typeRead is the type of an element as the lowered graph has it.
func typeRead(t tensorType) ir.DType {
	for _, d := range []ir.DType{ir.Float32, ir.Int64, ir.Int32, ir.Int16, ir.Int8, ir.Int4} {
		if known, err := typeOf(d); err == nil && known == t {
			return d
		}
	}
	return 0
}
