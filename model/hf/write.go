package hf

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"

	"eisft/internal/atomicfile"
	"eisft/model/kernels"
)

// Entry is a tensor to be written. Data is row-major and of one of the types
// []float32, []int8, []uint8, []int16, []int32, []int64, F16, BF16 and Lazy.
type Entry struct {
	Name  string
	Shape []int
	Data  any
}

// F16 are numbers in float16, bit by bit.
type F16 []uint16

// BF16 are numbers to be written as bfloat16, rounded to nearest, ties to even.
type BF16 []float32

// Lazy are Count numbers that are made when they are written: Write writes their bytes, little
// endian. What many tensors take is never in memory at once.
type Lazy struct {
	DType DType
	Count int
	Write func(w io.Writer) error
}

// WriteFile writes a safetensors file in one atomic step, with the bytes of [Encode].
func WriteFile(path string, entries []Entry, metadata map[string]string) error {
	f, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	w := bufio.NewWriterSize(f, 1<<20)
	if err := Encode(w, entries, metadata); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Commit()
}

// Encode writes the bytes of a safetensors file. Equal arguments give equal bytes, in
// whatever order the entries come: tensors are sorted by the size of their numbers,
// largest first, and then by name. Like this every tensor is aligned to its type, which
// PyTorch's reader needs.
func Encode(w io.Writer, entries []Entry, metadata map[string]string) error {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b Entry) int {
		x, y := layouts[payloadOf(a.Data).dtype].size, layouts[payloadOf(b.Data).dtype].size
		return cmp.Or(cmp.Compare(y, x), cmp.Compare(a.Name, b.Name))
	})
	header, err := encodeHeader(entries, metadata)
	if err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, e := range entries {
		if err := payloadOf(e.Data).write(w); err != nil {
			return err
		}
	}
	return nil
}

// SumKey is where a file's metadata has the hash of its tensors and of all other metadata.
const SumKey = "sha256"

// WriteSummed is [WriteFile] with a hash of the content in the metadata, for [File.Intact].
func WriteSummed(path string, entries []Entry, metadata map[string]string) error {
	metadata = maps.Clone(metadata)
	metadata[SumKey] = ""
	sum, err := Checksum(entries, metadata)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	metadata[SumKey] = sum
	return WriteFile(path, entries, metadata)
}

// Intact compares the content with the hash that WriteSummed has put into the metadata.
func (f *File) Intact() error {
	if have, want := f.checksum(), f.Metadata[SumKey]; have != want {
		return fmt.Errorf("the content has the sha256 %.16s…, want %.16s…; the file is damaged", have, want)
	}
	return nil
}

// Checksum returns the sha256, in hexadecimal, of tensors and metadata: whatever a file of
// them says, wherever it says it.
func Checksum(entries []Entry, metadata map[string]string) (string, error) {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	h := newChecksum(metadata)
	for _, e := range entries {
		p := payloadOf(e.Data)
		fmt.Fprintf(h, "%q %s %v\n", e.Name, p.dtype, e.Shape)
		if err := p.write(h); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// checksum is that of the file's tensors and metadata, without the hash there.
func (f *File) checksum() string {
	metadata := maps.Clone(f.Metadata)
	metadata[SumKey] = ""
	h := newChecksum(metadata)
	for _, name := range f.Names() {
		t := f.tensors[name]
		fmt.Fprintf(h, "%q %s %v\n", name, t.DType, t.Shape)
		h.Write(t.Data)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func newChecksum(metadata map[string]string) hash.Hash {
	h := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		fmt.Fprintf(h, "%q %q\n", key, metadata[key])
	}
	return h
}

// encodeHeader returns the header's length and JSON, padded with spaces so that
// the data begins at a multiple of 8.
func encodeHeader(entries []Entry, metadata map[string]string) ([]byte, error) {
	object := map[string]any{}
	if len(metadata) > 0 {
		object[metadataKey] = metadata
	}
	pos := int64(0)
	for _, e := range entries {
		p := payloadOf(e.Data)
		if p.write == nil {
			return nil, fmt.Errorf("tensor %s: found data of type %T, which safetensors files are not written from", e.Name, e.Data)
		}
		count, size, err := storage(p.dtype, e.Shape)
		if err != nil {
			return nil, fmt.Errorf("tensor %s: %w", e.Name, err)
		}
		if count != p.count {
			return nil, fmt.Errorf("tensor %s: found %d numbers, want %d for the shape %v", e.Name, p.count, count, e.Shape)
		}
		if _, twice := object[e.Name]; twice || e.Name == metadataKey {
			return nil, fmt.Errorf("tensor %s: the name is taken", e.Name)
		}
		end := pos + int64(size)
		object[e.Name] = tensorInfo{DType: p.dtype, Shape: append([]int{}, e.Shape...), Offsets: &[2]int64{pos, end}}
		pos = end
	}
	text, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	for len(text)%8 != 0 {
		text = append(text, ' ')
	}
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), nil
}

// payload is an entry's data as it goes into the file.
type payload struct {
	dtype DType
	count int
	write func(w io.Writer) error
}

// payloadOf returns the zero payload for a type that is not written.
func payloadOf(data any) payload {
	switch v := data.(type) {
	case []float32:
		return payload{DTypeF32, len(v), inPieces(v)}
	case F16:
		return payload{DTypeF16, len(v), inPieces([]uint16(v))}
	case BF16:
		return payload{DTypeBF16, len(v), v.write}
	case []int64:
		return payload{DTypeI64, len(v), inPieces(v)}
	case []int32:
		return payload{DTypeI32, len(v), inPieces(v)}
	case []int16:
		return payload{DTypeI16, len(v), inPieces(v)}
	case []int8:
		return payload{DTypeI8, len(v), inPieces(v)}
	case []uint8:
		return payload{DTypeU8, len(v), inPieces(v)}
	case Lazy:
		return payload{v.DType, v.Count, v.write}
	default:
		return payload{}
	}
}

// piece is how many numbers are encoded at once: no second copy of a tensor is held.
const piece = 1 << 14

func inPieces[T any](v []T) func(io.Writer) error {
	return func(w io.Writer) error {
		var buf []byte
		for chunk := range slices.Chunk(v, piece) {
			var err error
			if buf, err = binary.Append(buf[:0], binary.LittleEndian, chunk); err != nil {
				return err
			}
			if _, err := w.Write(buf); err != nil {
				return err
			}
		}
		return nil
	}
}

// write fails if there are more or fewer bytes than numbers: those behind them would be read
// from the wrong place.
func (l Lazy) write(w io.Writer) error {
	c := &counter{w: w}
	if err := l.Write(c); err != nil {
		return err
	}
	if want := int64(l.DType.Bytes(l.Count)); c.n != want {
		return fmt.Errorf("%d bytes were written for %d numbers of type %s, want %d", c.n, l.Count, l.DType, want)
	}
	return nil
}

// counter counts the bytes that are written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

func (v BF16) write(w io.Writer) error {
	buf := make([]byte, 2*min(piece, len(v)))
	for chunk := range slices.Chunk(v, piece) {
		kernels.F32ToBF16(buf, chunk)
		if _, err := w.Write(buf[:2*len(chunk)]); err != nil {
			return err
		}
	}
	return nil
}
