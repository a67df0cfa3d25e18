package ir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"google.golang.org/protobuf/proto"

	"eisft/export/onnxpb"
)

// Model is an ONNX file that was read. Tensors in external files stay there until
// Tensor asks for one.
type Model struct {
	Path     string // of the .onnx file; external data lies in its folder
	Bytes    int64  // size of the .onnx file
	Proto    *onnxpb.ModelProto
	Inputs   []Port // graph inputs that are no initializers
	Outputs  []Port
	Metadata map[string]string

	initializers map[string]*onnxpb.TensorProto
}

// Port is an input or output of a graph.
type Port struct {
	Name  string
	DType DType // 0 where the file gives none
	Shape []int64
}

// Static tells whether every size of the port's shape is a number.
func (p Port) Static() bool {
	for _, size := range p.Shape {
		if size < 0 {
			return false
		}
	}
	return p.Shape != nil
}

// Open reads an ONNX file of at most 2 GiB. It does not touch external data.
func Open(path string) (*Model, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, math.MaxInt32+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(raw) > math.MaxInt32 {
		return nil, fmt.Errorf("read %s: above 2 GiB, which is no ONNX file", path)
	}
	return Parse(path, raw)
}

// Parse reads an ONNX file whose bytes are at hand; path says where its external data
// lies and what errors call it.
func Parse(path string, raw []byte) (*Model, error) {
	m := &Model{
		Path: path, Bytes: int64(len(raw)), Proto: &onnxpb.ModelProto{},
		Metadata: map[string]string{}, initializers: map[string]*onnxpb.TensorProto{},
	}
	if err := proto.Unmarshal(raw, m.Proto); err != nil {
		return nil, fmt.Errorf("read %s: not an ONNX file: %w", path, err)
	}
	graph := m.Proto.GetGraph()
	if graph == nil {
		return nil, fmt.Errorf("read %s: not an ONNX file: it holds no graph", path)
	}
	for _, t := range graph.Initializer {
		if _, ok := m.initializers[t.GetName()]; ok {
			return nil, fmt.Errorf("read %s: two initializers are called %q", path, t.GetName())
		}
		m.initializers[t.GetName()] = t
	}
	for _, info := range graph.Input {
		if _, ok := m.initializers[info.GetName()]; !ok {
			m.Inputs = append(m.Inputs, PortOf(info))
		}
	}
	for _, info := range graph.Output {
		m.Outputs = append(m.Outputs, PortOf(info))
	}
	for _, e := range m.Proto.MetadataProps {
		m.Metadata[e.GetKey()] = e.GetValue()
	}
	return m, nil
}

// PortOf reads a value's name, type and shape. A size that is not a number becomes
// -1, an absent shape nil.
func PortOf(info *onnxpb.ValueInfoProto) Port {
	tensor := info.GetType().GetTensorType()
	p := Port{Name: info.GetName(), DType: DType(tensor.GetElemType())}
	if tensor.GetShape() == nil {
		return p
	}
	p.Shape = []int64{}
	for _, d := range tensor.GetShape().GetDim() {
		size := int64(-1)
		if n, ok := d.GetValue().(*onnxpb.TensorShapeProto_Dimension_DimValue); ok {
			size = n.DimValue
		}
		p.Shape = append(p.Shape, size)
	}
	return p
}

// OpCounts counts the nodes of each op.
func (m *Model) OpCounts() map[string]int {
	counts := map[string]int{}
	for _, n := range m.Proto.GetGraph().GetNode() {
		counts[n.GetOpType()]++
	}
	return counts
}

// Initializer returns the constant of that name as the file has it, or nil.
func (m *Model) Initializer(name string) *onnxpb.TensorProto { return m.initializers[name] }

// Tensor reads the constant of that name, from the external file where it lies there.
func (m *Model) Tensor(name string) (Tensor, error) {
	pb := m.initializers[name]
	if pb == nil {
		return Tensor{}, fmt.Errorf("%s: there is no initializer %q", m.Path, name)
	}
	t, err := m.load(pb)
	if err != nil {
		return Tensor{}, fmt.Errorf("%s: initializer %q: %w", m.Path, name, err)
	}
	return t, nil
}

func (m *Model) load(pb *onnxpb.TensorProto) (Tensor, error) {
	t := Tensor{DType: DType(pb.GetDataType())}
	for _, d := range pb.GetDims() {
		t.Shape = append(t.Shape, int(d))
	}
	if pb.GetDataLocation() != onnxpb.TensorProto_EXTERNAL {
		t.Raw = inlineBytesOf(pb)
		return t, t.validate()
	}
	at, err := ExternalOf(pb)
	if err != nil {
		return t, err
	}
	file, err := at.open(filepath.Dir(m.Path))
	if err != nil {
		return t, err
	}
	defer file.Close()
	t.Raw = make([]byte, at.Length) // at most the file's size, as open has checked
	_, err = file.ReadAt(t.Raw, at.Offset)
	return t, err
}

// inlineBytesOf gives the raw form of a constant inside the file. The typed fields
// hold one element each, the 32-bit one also the low bytes of smaller types.
func inlineBytesOf(pb *onnxpb.TensorProto) []byte {
	var raw []byte
	switch dtype := DType(pb.GetDataType()); {
	case len(pb.GetRawData()) > 0:
		return pb.RawData
	case dtype == Float32:
		for _, x := range pb.GetFloatData() {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
		}
	case dtype == Int64:
		for _, x := range pb.GetInt64Data() {
			raw = binary.LittleEndian.AppendUint64(raw, uint64(x))
		}
	default: // float16 too
		for _, x := range pb.GetInt32Data() {
			word := binary.LittleEndian.AppendUint32(nil, uint32(x))
			raw = append(raw, word[:max(dtype.Bits(), 8)/8]...)
		}
	}
	return raw
}

// External is where a constant's bytes lie in an external-data file.
type External struct {
	Location       string // relative to the .onnx file's folder, slash-separated
	Offset, Length int64
}

// ExternalOf reads a constant's external_data entries. The location must stay in
// the model's folder, and the length must be what type and shape need.
func ExternalOf(pb *onnxpb.TensorProto) (External, error) {
	e := External{Length: -1}
	for _, kv := range pb.GetExternalData() {
		var err error
		switch kv.GetKey() {
		case "location":
			e.Location = kv.GetValue()
		case "offset":
			e.Offset, err = strconv.ParseInt(kv.GetValue(), 10, 64)
		case "length":
			e.Length, err = strconv.ParseInt(kv.GetValue(), 10, 64)
		}
		if err != nil || e.Offset < 0 {
			return e, fmt.Errorf("external data: %s %q is no position", kv.GetKey(), kv.GetValue())
		}
	}
	if !filepath.IsLocal(filepath.FromSlash(e.Location)) {
		return e, fmt.Errorf("external data: location %q leaves the model's folder", e.Location)
	}
	n, err := elements(pb.GetDims())
	if err != nil {
		return e, err
	}
	dtype := DType(pb.GetDataType())
	if dtype.Bits() == 0 {
		return e, fmt.Errorf("external data of %s cannot be read", dtype)
	}
	want := dtype.bytesFor(n)
	if e.Length < 0 {
		e.Length = want
	}
	if e.Length != want {
		return e, fmt.Errorf("external data: %d bytes for %s %v, want %d", e.Length, dtype, pb.GetDims(), want)
	}
	return e, nil
}

// open opens the file within folder and checks its size. The file itself may be a link to
// anywhere, as all files of a folder in Hugging Face's cache are: it is the folder that says
// so, not the graph, which only names it. A name that goes through a folder which is a link
// out of this one is refused.
func (e External) open(folder string) (*os.File, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	name := filepath.FromSlash(e.Location)
	if _, err := root.Stat(filepath.Dir(name)); err != nil {
		return nil, fmt.Errorf("external data: %w", err)
	}
	path := filepath.Join(folder, name)
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("external data: %w", err)
	case !info.Mode().IsRegular():
		err = errors.New("not a regular file")
	case e.Offset > info.Size() || e.Length > info.Size()-e.Offset:
		err = fmt.Errorf("it has %d bytes, want %d at %d", info.Size(), e.Length, e.Offset)
	}
	if err != nil {
		return nil, fmt.Errorf("external data %s: %w", e.Location, err)
	}
	return os.Open(path)
}

// Verify checks that the bytes are there: the file is inside folder, regular and
// long enough.
func (e External) Verify(folder string) error {
	file, err := e.open(folder)
	if err != nil {
		return err
	}
	return file.Close()
}
