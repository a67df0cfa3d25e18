package tensorboard

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// crc32c is the checksum bit by bit, by its definition (RFC 3720, appendix B.4): nothing that
// the writer uses.
func crc32c(data []byte) uint32 {
	sum := ^uint32(0)
	for _, b := range data {
		sum ^= uint32(b)
		for range 8 {
			if sum&1 == 1 {
				sum = sum>>1 ^ 0x82f63b78
			} else {
				sum >>= 1
			}
		}
	}
	return ^sum
}

// varint reads a number of a protobuf message.
func varint(b []byte) (v uint64, rest []byte, err error) {
	for i, c := range b {
		if i == 10 {
			break
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, b[i+1:], nil
		}
	}
	return 0, nil, errors.New("a number does not end")
}

// fields reads a protobuf message by the encoding's specification.
func fields(b []byte) (map[uint64][]any, error) {
	found := map[uint64][]any{}
	for len(b) > 0 {
		key, rest, err := varint(b)
		if err != nil {
			return nil, err
		}
		b = rest
		var v any
		switch n := len(b); {
		case key&7 == 0:
			v, b, err = varint(b)
			if err != nil {
				return nil, err
			}
		case key&7 == 1 && n >= 8:
			v, b = math.Float64frombits(binary.LittleEndian.Uint64(b)), b[8:]
		case key&7 == 5 && n >= 4:
			v, b = math.Float32frombits(binary.LittleEndian.Uint32(b)), b[4:]
		case key&7 == 2:
			size, rest, err := varint(b)
			if err != nil || size > uint64(len(rest)) {
				return nil, fmt.Errorf("%d bytes of %d, %w", size, len(rest), err)
			}
			v, b = rest[:size], rest[size:]
		default:
			return nil, fmt.Errorf("key %d", key)
		}
		found[key>>3] = append(found[key>>3], v)
	}
	return found, nil
}

// events reads the records of a file and checks their checksums.
func events(t *testing.T, path string) (all []map[uint64][]any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	mask := func(sum uint32) uint32 { return (sum>>15 | sum<<17) + 0xa282ead8 }
	for len(text) > 0 {
		n := binary.LittleEndian.Uint64(text)
		if got, want := binary.LittleEndian.Uint32(text[8:]), mask(crc32c(text[:8])); got != want {
			t.Fatalf("the length's checksum is %x, want %x", got, want)
		}
		data := text[12 : 12+n]
		if got, want := binary.LittleEndian.Uint32(text[12+n:]), mask(crc32c(data)); got != want {
			t.Fatalf("the data's checksum is %x, want %x", got, want)
		}
		m, err := fields(data)
		if err != nil {
			t.Fatal(err)
		}
		all, text = append(all, m), text[16+n:]
	}
	return all
}

// TestEvents reads a file back with a parser that shares nothing with the writer.
func TestEvents(t *testing.T) {
	if got := crc32c([]byte("123456789")); got != 0xe3069283 { // the catalogue's check value
		t.Fatalf("the test's own checksum is %x", got)
	}
	dir := t.TempDir()
	w, err := Create(dir, 7)
	if err != nil {
		t.Fatal(err)
	}
	w.now = func() time.Time { return time.Unix(1700000000, 500000000) }
	if err := errors.Join(w.Add(7, Scalar{"s-sft/loss", 1.5}, Scalar{"s-sft/kept", 0.25}), w.Add(300, Scalar{"s-sft/loss", -2}), w.Close()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "events.out.tfevents.*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v, want one that TensorBoard knows by its name", files, err)
	}
	all := events(t, files[0])
	if len(all) != 4 {
		t.Fatalf("%d events, want 4", len(all))
	}
	if v := all[0][3][0].([]byte); string(v) != "brain.Event:2" {
		t.Errorf("the version is %q", v)
	}
	if s, err := fields(all[1][7][0].([]byte)); err != nil || s[1][0] != uint64(1) || all[1][2][0] != uint64(7) {
		t.Errorf("the start is %v, %v", all[1], err)
	}
	var got []string
	for _, e := range all[2:] {
		s, err := fields(e[5][0].([]byte))
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range s[1] {
			value, err := fields(v.([]byte))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%v %v %s %v", e[1][0], e[2][0], value[1][0], value[2][0]))
		}
	}
	const want = "1.7000000005e+09 7 s-sft/loss 1.5, 1.7000000005e+09 7 s-sft/kept 0.25, 1.7000000005e+09 300 s-sft/loss -2"
	if text := strings.Join(got, ", "); text != want {
		t.Errorf("read back: %s\nwant %s", text, want)
	}
}

// readEvents is a reader of event files in Python's standard library alone.
const readEvents = `
import struct, sys
def crc(b):
    s = 0xffffffff
    for c in b:
        s ^= c
        for _ in range(8): s = s >> 1 ^ (0x82f63b78 if s & 1 else 0)
    s ^= 0xffffffff
    return ((s >> 15 | s << 17) + 0xa282ead8) & 0xffffffff
def message(b):
    i, out = 0, {}
    def number():
        nonlocal i
        v = shift = 0
        while True:
            c = b[i]; i += 1; v |= (c & 127) << shift; shift += 7
            if c < 128: return v
    while i < len(b):
        key = number()
        if key & 7 == 0: v = number()
        elif key & 7 == 1: v = struct.unpack('<d', b[i:i+8])[0]; i += 8
        elif key & 7 == 5: v = struct.unpack('<f', b[i:i+4])[0]; i += 4
        else:
            n = number(); v = b[i:i+n]; i += n
        out.setdefault(key >> 3, []).append(v)
    return out
b = open(sys.argv[1], 'rb').read()
while b:
    n, c = struct.unpack('<QI', b[:12]); assert c == crc(b[:8])
    data, c = b[12:12+n], struct.unpack('<I', b[12+n:16+n])[0]; assert c == crc(data)
    e = message(data); b = b[16+n:]
    for s in e.get(5, []):
        for v in message(s)[1]:
            v = message(v); print(e[2][0], v[1][0].decode(), v[2][0])
`

// TestEventsInPython reads the file with another program.
func TestEventsInPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3 here")
	}
	dir := t.TempDir()
	w, err := Create(dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Add(1, Scalar{"distill/loss", 0.5}), w.Add(2, Scalar{"distill/loss", 0.25}, Scalar{"distill/kept", 1}), w.Close()); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	out, err := exec.CommandContext(t.Context(), python, "-c", readEvents, files[0]).CombinedOutput()
	if want := "1 distill/loss 0.5\n2 distill/loss 0.25\n2 distill/kept 1.0\n"; err != nil || !bytes.Equal(out, []byte(want)) {
		t.Errorf("python reads %q, %v, want %q", out, err, want)
	}
}

// TestNoWriter: no writer writes nothing.
func TestNoWriter(t *testing.T) {
	var w *Writer
	if err := errors.Join(w.Add(1, Scalar{"a", 1}), w.Close()); err != nil {
		t.Error(err)
	}
}
