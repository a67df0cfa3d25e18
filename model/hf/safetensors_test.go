package hf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"eisft/internal/testfiles"
)

// file returns the bytes of a safetensors file with the given header and data.
func file(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func TestSafetensorsErrors(t *testing.T) {
	const a = `"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":          {nil, "found 0 bytes, want at least the 8"},
		"header cut off": {file("{"+a+"}", 8)[:40], "found a header length of 54, but only 32 bytes follow it"},
		"not the format": {[]byte("<!DOCTYPE html><html>"), "this is no safetensors file"},
		"data cut off":   {file("{"+a+"}", 7), "tensor a: found data offsets [0, 8], want them ascending within the 7 bytes of data"},
		"more data":      {file("{"+a+"}", 9), "found 9 bytes of data, want 8, where the last tensor ends"},
		"no object":      {file(`[1]`, 0), "found [, want a JSON object"},
		"no JSON":        {file(`hello`, 0), "invalid JSON"},
		"unclosed":       {file("{"+a, 8), "unexpected EOF"},
		"after object":   {file("{"+a+"} x", 8), "found more after the JSON object, at byte"},
		"wrong type":     {file(`{"a":{"dtype":"F32","shape":["2"],"data_offsets":[0,8]}}`, 8), "invalid JSON for a: json: cannot unmarshal string"},
		"fraction":       {file(`{"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}}`, 8), "invalid JSON for a"},
		"twice":          {file("{"+a+","+a+"}", 8), "a is there twice"},
		"metadata twice": {file(`{"__metadata__":{},"__metadata__":{}}`, 0), "__metadata__ is there twice"},
		"metadata":       {file(`{"__metadata__":{"step":1}}`, 0), "invalid JSON for __metadata__"},
		"no offsets":     {file(`{"a":{"dtype":"F32","shape":[2]}}`, 8), "tensor a: found no shape or data_offsets, want both"},
		"unknown dtype":  {file(`{"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}}`, 8), `tensor a: dtype "F31" is not known: save the model as BF16 or F32`},
		"block dtype":    {file(`{"a":{"dtype":"Q8_0","shape":[32],"data_offsets":[0,34]}}`, 34), `tensor a: dtype "Q8_0" is not known`},
		"size":           {file(`{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}`, 8), "tensor a: found 8 bytes of data, want 12 for F32 [3]"},
		"negative":       {file(`{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}`, 8), "tensor a: shape [-2]: found the dimension -2"},
		"overflow":       {file(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}`, 8), "its number of elements overflows"},
		"byte overflow":  {file(`{"a":{"dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,8]}}`, 8), "its size in bytes overflows"},
		"descending":     {file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}`, 8), "found data offsets [8, 0]"},
		"before start":   {file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}`, 8), "found data offsets [-8, 0]"},
		"hole":           {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), "tensor a: found it to begin at 4, want 0, where the start of the data ends"},
		"overlap":        {file("{"+a+`,"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}`, 12), "tensor b: found it to begin at 4, inside of a, which ends at 8"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "model.safetensors")
			if err := os.WriteFile(path, c.file, 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := OpenFile(path)
			wantError(t, err, path, c.want)
		})
	}
}

// wantError checks that an error holds all the texts.
func wantError(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", texts)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q\nlacks %q", err, text)
		}
	}
}

func TestOpenFileThatIsNone(t *testing.T) {
	dir := t.TempDir()
	_, err := OpenFile(dir)
	wantError(t, err, "found a directory, want a regular file")
	_, err = OpenFile(filepath.Join(dir, "absent"))
	wantError(t, err, "no such file")
}

func TestWriteFileRoundTrip(t *testing.T) {
	entries := []Entry{
		{"odd", []int{3}, []int8{-1, 0, 127}},
		{"f32", []int{2, 2}, []float32{1, -2.5, math.MaxFloat32, float32(math.Inf(1))}},
		{"i64", []int{2}, []int64{math.MinInt64, math.MaxInt64}},
		{"bf16", []int{3}, BF16{1, 1.00390625, -3}}, // 1+2⁻⁸ is a tie
		{"i32", []int{1}, []int32{-7}},
		{"i16", []int{2}, []int16{-7, 300}},
		{"u8", []int{2}, []uint8{255, 1}},
		{"scalar", nil, []float32{4}},
		{"empty", []int{0, 5}, []float32{}},
		{"naïve \"name\"", []int{1}, []float32{5}},
	}
	meta := map[string]string{"b": "2", "a": "<1>"}
	dir := t.TempDir()
	path, reversed := filepath.Join(dir, "a.safetensors"), filepath.Join(dir, "b.safetensors")
	if err := WriteFile(path, entries, meta); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(entries)
	if err := WriteFile(reversed, entries, meta); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, path), read(t, reversed)) {
		t.Error("the order of the entries changes the file")
	}
	f, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFile(t, f)
	if !maps.Equal(f.Metadata, meta) {
		t.Errorf("metadata %v, want %v", f.Metadata, meta)
	}
	if n := binary.LittleEndian.Uint64(read(t, path)); n%8 != 0 {
		t.Errorf("header length %d is no multiple of 8", n)
	}
	for name, want := range map[string]string{
		"odd": "[3] [-1 0 127]", "i64": "[2] [-9223372036854775808 9223372036854775807]", "i32": "[1] [-7]",
		"i16": "[2] [-7 300]", "u8": "[2] [255 1]", "f32": "[2 2] [1 -2.5 3.4028235e+38 +Inf]",
		"bf16": "[3] [1 1 -3]", "scalar": "[] [4]", "empty": "[0 5] []", "naïve \"name\"": "[1] [5]",
	} {
		x, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(x.Shape, numbers(t, x)); got != want {
			t.Errorf("%s: read %s, want %s", name, got, want)
		}
	}
}

func numbers(t *testing.T, x Tensor) any {
	t.Helper()
	if x.DType.IsFloat() {
		v, err := x.Float32()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v, err := x.Int64()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func closeFile(t testing.TB, f interface{ Close() error }) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestWriteFileErrors(t *testing.T) {
	dir := t.TempDir()
	for want, entries := range map[string][]Entry{
		"tensor a: found 2 numbers, want 3 for the shape [3]":                                    {{"a", []int{3}, []float32{1, 2}}},
		"tensor a: found data of type []float64, which safetensors files are not written from":   {{"a", []int{1}, []float64{1}}},
		"tensor a: the name is taken":                                                            {{"a", []int{1}, []float32{1}}, {"a", []int{1}, []int64{1}}},
		"tensor __metadata__: the name is taken":                                                 {{"__metadata__", []int{1}, []float32{1}}},
		"tensor a: shape [-1]: found the dimension -1, want 0 or more":                           {{"a", []int{-1}, []float32{}}},
		"tensor a: found data of type <nil>, which safetensors files are not written from":       {{"a", nil, nil}},
		"tensor a: shape [9223372036854775807]: its size in bytes overflows":                     {{"a", []int{math.MaxInt}, []float32{}}},
		"tensor a: shape [9223372036854775807 9223372036854775807]: its number of elements over": {{"a", []int{math.MaxInt, math.MaxInt}, []float32{}}},
	} {
		wantError(t, WriteFile(filepath.Join(dir, "x.safetensors"), entries, nil), want)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestTensorConversions(t *testing.T) {
	for _, c := range []struct {
		dtype DType
		data  []byte
		want  string
	}{
		{DTypeF64, binary.LittleEndian.AppendUint64(nil, math.Float64bits(1.5)), "[1.5]"},
		{DTypeF16, []byte{0x00, 0x3c}, "[1]"},
		{DTypeBF16, []byte{0x80, 0xbf}, "[-1]"},
		{DTypeF32, []byte{0, 0, 0x40, 0x40}, "[3]"},
	} {
		if got := fmt.Sprint(numbers(t, Tensor{"x", c.dtype, []int{1}, c.data})); got != c.want {
			t.Errorf("%s: %s, want %s", c.dtype, got, c.want)
		}
	}
	_, err := Tensor{"w", DTypeI8, []int{1}, []byte{1}}.Float32()
	wantError(t, err, "tensor w: found I8, want a floating-point type")
	_, err = Tensor{"w", "F8_E4M3", []int{1}, []byte{1}}.Float32()
	wantError(t, err, "tensor w: found F8_E4M3, want a floating-point type", "convert the checkpoint to BF16")
	_, err = Tensor{"w", DTypeF16, []int{1}, []byte{1, 0}}.Int64()
	wantError(t, err, "tensor w: found F16, want an integer type")
	_, err = Tensor{"w", DTypeF32, []int{2}, []byte{1, 0}}.Float32()
	wantError(t, err, "tensor w: found 2 bytes, want 8 for F32 [2]")
}

func TestReadGoldens(t *testing.T) {
	for _, rel := range []string{"edge/retain.safetensors", "hf/llama/golden.safetensors", "demo/golden.safetensors"} {
		f, err := OpenFile(testfiles.Golden(t, rel))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range f.Names() {
			x, err := f.Tensor(name)
			if err != nil {
				t.Fatal(err)
			}
			if v, ok := numbers(t, x).([]float32); ok && len(v) > 0 && (math.IsNaN(float64(v[0])) || slices.Max(v) > 1e6) {
				t.Errorf("%s: %s holds no plausible values", rel, name)
			}
		}
		ids, err := f.Tensor("input_ids")
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range numbers(t, ids).([]int64) {
			if id < 0 || id >= 4096 {
				t.Errorf("%s: token id %d", rel, id)
			}
		}
		if rel == "edge/retain.safetensors" && f.Metadata["retain"] != "16" {
			t.Errorf("metadata %v, want retain 16", f.Metadata)
		}
		closeFile(t, f)
	}
}

// TestOpenIsLazy opens a file of 1 GB that takes no space on the disk: reading it would take a second.
func TestOpenIsLazy(t *testing.T) {
	const size = 1 << 30
	header := fmt.Sprintf(`{"w":{"dtype":"BF16","shape":[%d],"data_offsets":[0,%d]}}`, size/2, size)
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := os.WriteFile(path, file(header, 0), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(8+len(header)+size)); err != nil {
		t.Skipf("no sparse files here: %v", err)
	}
	start := time.Now()
	f, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFile(t, f)
	if took := time.Since(start); took > 100*time.Millisecond {
		t.Errorf("opening took %v", took)
	}
}

func FuzzSafetensors(f *testing.F) {
	f.Add(file(`{"__metadata__":{"a":"b"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8))
	f.Add(file(`{"a":{"dtype":"BF16","shape":[],"data_offsets":[0,2]},"b":{"dtype":"I64","shape":[0],"data_offsets":[2,2]}}`, 2))
	f.Add(file(`{}`, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		tensors, _, err := parseSafetensors(b)
		if err != nil {
			return
		}
		total := 0
		for name, x := range tensors {
			if _, err := x.check(); err != nil {
				t.Errorf("accepted %s: %v", name, err)
			}
			total += len(x.Data)
			if x.DType.IsFloat() {
				_, err = x.Float32()
			} else if _, known := map[DType]bool{DTypeI64: true, DTypeI32: true, DTypeI16: true, DTypeI8: true, DTypeU8: true}[x.DType]; known {
				_, err = x.Int64()
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if total > len(b) {
			t.Errorf("%d bytes of tensors in a file of %d", total, len(b))
		}
	})
}
