package ir

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"eisft/export/onnxpb"
)

// external is an initializer [2,3] of float32 whose bytes the given entries locate.
func external(keyValues ...string) *onnxpb.TensorProto {
	pb := &onnxpb.TensorProto{
		Name: "w", DataType: int32(Float32), Dims: []int64{2, 3}, DataLocation: onnxpb.TensorProto_EXTERNAL,
	}
	for i := 0; i < len(keyValues); i += 2 {
		pb.ExternalData = append(pb.ExternalData, entry(keyValues[i], keyValues[i+1]))
	}
	return pb
}

func marshal(t testing.TB, initializers ...*onnxpb.TensorProto) []byte {
	raw, err := proto.Marshal(&onnxpb.ModelProto{Graph: &onnxpb.GraphProto{Initializer: initializers}})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestTensorErrors(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret.bin")
	for path, size := range map[string]int{outside: 100, filepath.Join(dir, "w.bin"): 100} {
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"out": filepath.Dir(outside), "lost.bin": filepath.Join(dir, "gone")} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	cases := []struct {
		name string
		pb   *onnxpb.TensorProto
		want string
	}{
		{"parent", external("location", "../secret.bin"), `location "../secret.bin" leaves the model's folder`},
		{"absolute", external("location", outside), "leaves the model's folder"},
		{"none", external("offset", "0"), `location "" leaves the model's folder`},
		{"link out of the folder", external("location", "out/secret.bin"), "escapes"},
		{"link to a folder", external("location", "out"), "not a regular file"},
		{"link to nothing", external("location", "lost.bin"), "lost.bin: no such file"},
		{"folder", external("location", "."), "not a regular file"},
		{"missing", external("location", "no.bin"), "no such file"},
		{"offset", external("location", "w.bin", "offset", "x"), `offset "x" is no position`},
		{"negative offset", external("location", "w.bin", "offset", "-4"), `offset "-4" is no position`},
		{"length", external("location", "w.bin", "length", "20"), "20 bytes for float32 [2 3], want 24"},
		{"beyond the end", external("location", "w.bin", "offset", "80"), "external data w.bin: it has 100 bytes, want 24 at 80"},
		{"far beyond", external("location", "w.bin", "offset", "9223372036854775807"), "it has 100 bytes"},
		{"inline length", &onnxpb.TensorProto{Name: "w", DataType: int32(Float32), Dims: []int64{2}, RawData: make([]byte, 9)}, "9 bytes for float32 [2], want 8"},
		{"huge shape", &onnxpb.TensorProto{Name: "w", DataType: int32(Float32), Dims: []int64{1 << 40, 1 << 40}}, "more than 2^40 elements"},
		{"negative size", &onnxpb.TensorProto{Name: "w", DataType: int32(Float32), Dims: []int64{-1}}, "size -1 is negative"},
		{"type", &onnxpb.TensorProto{Name: "w", DataType: 99, Dims: []int64{1}}, "ONNX data type 99"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m, err := Parse(filepath.Join(dir, "m.onnx"), marshal(t, c.pb))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Tensor("w"); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `initializer "w"`) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestOpenErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		raw  []byte
		want string
	}{
		{"noise", []byte("this is no protobuf"), "m.onnx: not an ONNX file"},
		{"empty", nil, "it holds no graph"},
		{"names", marshal(t, external(), external()), `two initializers are called "w"`},
	} {
		path := filepath.Join(t.TempDir(), "m.onnx")
		if err := os.WriteFile(path, c.raw, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "absent.onnx")); !os.IsNotExist(err) {
		t.Errorf("absent file: %v", err)
	}
}

func TestTypedFields(t *testing.T) {
	cases := []struct {
		pb   *onnxpb.TensorProto
		want []int64
	}{
		{&onnxpb.TensorProto{DataType: int32(Int64), Dims: []int64{2}, Int64Data: []int64{-1, 1 << 40}}, []int64{-1, 1 << 40}},
		{&onnxpb.TensorProto{DataType: int32(Int32), Dims: []int64{1}, Int32Data: []int32{-70000}}, []int64{-70000}},
		{&onnxpb.TensorProto{DataType: int32(Int16), Dims: []int64{2}, Int32Data: []int32{-2, 300}}, []int64{-2, 300}},
		{&onnxpb.TensorProto{DataType: int32(UInt16), Dims: []int64{1}, Int32Data: []int32{65535}}, []int64{65535}},
		{&onnxpb.TensorProto{DataType: int32(Int8), Dims: []int64{2}, Int32Data: []int32{-2, 127}}, []int64{-2, 127}},
		{&onnxpb.TensorProto{DataType: int32(UInt8), Dims: []int64{1}, Int32Data: []int32{255}}, []int64{255}},
		{&onnxpb.TensorProto{DataType: int32(Int4), Dims: []int64{3}, Int32Data: []int32{0x8f, 0x07}}, []int64{-1, -8, 7}},
		{&onnxpb.TensorProto{DataType: int32(UInt4), Dims: []int64{3}, RawData: []byte{0x8f, 0x07}}, []int64{15, 8, 7}},
	}
	for _, c := range cases {
		c.pb.Name = "c"
		m, err := Parse("m.onnx", marshal(t, c.pb))
		if err != nil {
			t.Fatal(err)
		}
		tensor, err := m.Tensor("c")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tensor.Ints(); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v (%v), want %v", tensor.DType, got, err, c.want)
		}
	}
	m, err := Parse("m.onnx", marshal(t, &onnxpb.TensorProto{Name: "f", DataType: int32(Float32), Dims: []int64{1}, FloatData: []float32{0.5}}))
	if err != nil {
		t.Fatal(err)
	}
	tensor, err := m.Tensor("f")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tensor.Floats(); err != nil || got[0] != 0.5 {
		t.Errorf("float32: got %v (%v)", got, err)
	}
}

// FuzzParse reads arbitrary bytes as a model beside one real external file: nothing
// may panic, and no bytes from outside the model's folder may appear.
func FuzzParse(f *testing.F) {
	f.Add(marshal(f, external("location", "w.bin", "offset", "8", "length", "24")))
	f.Add(marshal(f, external("location", "../secret.bin")))
	f.Add(marshal(f, &onnxpb.TensorProto{Name: "c", DataType: int32(Int4), Dims: []int64{3}, RawData: []byte{1, 2}}))
	root := f.TempDir()
	dir := filepath.Join(root, "model")
	if err := os.Mkdir(dir, 0o700); err != nil {
		f.Fatal(err)
	}
	const secret = "not to be read"
	if err := os.WriteFile(filepath.Join(root, "secret.bin"), []byte(strings.Repeat(secret, 10)), 0o600); err != nil {
		f.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "w.bin"), make([]byte, 64), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := Parse(filepath.Join(dir, "m.onnx"), raw)
		if err != nil {
			return
		}
		for name, pb := range m.initializers {
			tensor, err := m.Tensor(name)
			if err != nil {
				continue
			}
			if pb.GetDataLocation() == onnxpb.TensorProto_EXTERNAL && strings.Contains(string(tensor.Raw), secret[:4]) {
				t.Errorf("%v: bytes from outside the model's folder", pb)
			}
			_, _ = tensor.Ints()
			_, _ = tensor.Floats()
		}
		for _, p := range slices.Concat(m.Inputs, m.Outputs) {
			p.Static()
		}
	})
}

// TestLinkedData: the file of weights may be a link out of the folder, as in Hugging Face's cache.
func TestLinkedData(t *testing.T) {
	dir, blob := t.TempDir(), filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(blob, make([]byte, 24), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(blob, filepath.Join(dir, "w.bin")); err != nil {
		t.Fatal(err)
	}
	m, err := Parse(filepath.Join(dir, "m.onnx"), marshal(t, external("location", "w.bin")))
	if err != nil {
		t.Fatal(err)
	}
	if x, err := m.Tensor("w"); err != nil || len(x.Raw) != 24 {
		t.Errorf("%d bytes, %v", len(x.Raw), err)
	}
}
