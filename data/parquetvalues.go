package data

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/parquet-go/parquet-go/format"
)

// The values of a page are decoded one at a time and never as a whole: the counts and
// run lengths in a page can claim billions of values in a few bytes, and whoever takes
// memory for them first is at the file's mercy. The encodings are those of
// https://github.com/apache/parquet-format/blob/master/Encodings.md.

// oldDictionary is how writers of the format's first version call indexes into a
// dictionary, and the dictionary.
const oldDictionary = format.PlainDictionary //nolint:staticcheck // such files are still read

var (
	errPageEnds = errors.New("its data end before its values do")
	errEncoding = errors.New("encoding that is not supported")
)

// scalar is a value of a leaf column: bytes of the two kinds of byte arrays, the bits of
// an integer (sign-extended), a boolean or a float64 of any other. Its bytes are valid
// until the next value is read.
type scalar struct {
	bytes []byte
	bits  uint64
}

// decoder gives the values of a page that are not null, one after another.
type decoder interface {
	next() (scalar, error)
}

// bitsAt reads width bits, the lowest first, which must lie in b.
func bitsAt(b []byte, at uint64, width uint) uint64 {
	v := uint64(0)
	for got := uint(0); got < width; {
		n := min(8-uint(at%8), width-got)
		part := uint64(b[at/8]>>(at%8)) & (1<<n - 1)
		v |= part << got
		got, at = got+n, at+uint64(n)
	}
	return v
}

// hybrid reads runs of equal values and of bit-packed ones (RLE). Levels and indexes into
// a dictionary are stored so.
type hybrid struct {
	b      []byte
	width  uint   // bits of a value
	run    uint64 // values left in the run
	value  uint64 // of a run of equal values
	packed []byte // of a bit-packed run
	at     uint64 // the next value's first bit in packed
}

func (h *hybrid) next() (uint64, error) {
	if h.width == 0 {
		return 0, nil
	}
	for h.run == 0 {
		if err := h.header(); err != nil {
			return 0, err
		}
	}
	h.run--
	if h.packed == nil {
		return h.value, nil
	}
	if h.at+uint64(h.width) > 8*uint64(len(h.packed)) {
		return 0, errPageEnds
	}
	v := bitsAt(h.packed, h.at, h.width)
	h.at += uint64(h.width)
	return v, nil
}

// header begins the next run.
func (h *hybrid) header() error {
	u, n := binary.Uvarint(h.b)
	if n <= 0 {
		return errPageEnds
	}
	h.b = h.b[n:]
	count := u >> 1
	if count > math.MaxInt32 {
		return fmt.Errorf("a run of %d values", count)
	}
	if u&1 == 0 {
		size := int(h.width+7) / 8
		if size > len(h.b) {
			return errPageEnds
		}
		h.run, h.packed, h.value = count, nil, 0
		for i, c := range h.b[:size] {
			h.value |= uint64(c) << (8 * i)
		}
		h.b = h.b[size:]
		return nil
	}
	size := int(min(count*uint64(h.width), uint64(len(h.b)))) // groups of 8 values
	h.run, h.packed, h.at = 8*count, h.b[:size:size], 0
	h.b = h.b[size:]
	return nil
}

// plain reads values as they are, one behind the other.
type plain struct {
	b    []byte
	kind format.Type
	size int // of a value of fixed length, in bytes
	bit  uint
}

func (p *plain) next() (scalar, error) {
	if p.kind == format.Boolean {
		if len(p.b) == 0 {
			return scalar{}, errPageEnds
		}
		v := scalar{bits: bitsAt(p.b, uint64(p.bit), 1)}
		if p.bit = (p.bit + 1) % 8; p.bit == 0 {
			p.b = p.b[1:]
		}
		return v, nil
	}
	size := p.size
	if p.kind == format.ByteArray {
		if len(p.b) < 4 {
			return scalar{}, errPageEnds
		}
		n := binary.LittleEndian.Uint32(p.b)
		p.b = p.b[4:]
		if uint64(n) > uint64(len(p.b)) {
			return scalar{}, errPageEnds
		}
		size = int(n)
	}
	if size > len(p.b) {
		return scalar{}, errPageEnds
	}
	v := fixed(p.kind, p.b[:size:size])
	p.b = p.b[size:]
	return v, nil
}

// fixed is the value of a physical type that is stored in b.
func fixed(kind format.Type, b []byte) scalar {
	switch kind {
	case format.Int32:
		return scalar{bits: uint64(int64(int32(binary.LittleEndian.Uint32(b))))}
	case format.Int64, format.Double:
		return scalar{bits: binary.LittleEndian.Uint64(b)}
	case format.Float:
		return scalar{bits: math.Float64bits(float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))}
	default:
		return scalar{bytes: b}
	}
}

// indexed reads indexes into a dictionary.
type indexed struct {
	hybrid
	dictionary []scalar
}

func (d *indexed) next() (scalar, error) {
	i, err := d.hybrid.next()
	if err != nil {
		return scalar{}, err
	}
	if i >= uint64(len(d.dictionary)) {
		return scalar{}, fmt.Errorf("index %d into a dictionary of %d values", i, len(d.dictionary))
	}
	return d.dictionary[i], nil
}

// booleans reads booleans in runs.
type booleans struct{ hybrid }

func (d *booleans) next() (scalar, error) {
	v, err := d.hybrid.next()
	return scalar{bits: v}, err
}

// deltas reads integers that are stored as differences (DELTA_BINARY_PACKED).
type deltas struct {
	b         []byte // what is not read yet
	mini      uint64 // values of a miniblock
	minis     uint64 // miniblocks of a block
	left      uint64 // values
	begun     bool
	value     int64
	least     int64  // difference of the block
	widths    []byte // bits of a difference, in the miniblocks to come
	miniblock []byte
	width     uint
	at, end   uint64 // values of the miniblock
	narrow    bool   // to 32 bits
}

// newDeltas reads the header of a list of at most so many integers.
func newDeltas(b []byte, most int) (*deltas, error) {
	d := &deltas{b: b}
	block := d.uvarint()
	d.minis = d.uvarint()
	d.left = d.uvarint()
	d.value = d.varint()
	if d.b == nil {
		return nil, errPageEnds
	}
	if block == 0 || block > 1<<20 || d.minis == 0 || block%(8*d.minis) != 0 {
		return nil, fmt.Errorf("blocks of %d differences in %d parts", block, d.minis)
	}
	if d.left > uint64(most) {
		return nil, fmt.Errorf("claims %d differences for %d values", d.left, most)
	}
	d.mini = block / d.minis
	return d, nil
}

// uvarint reads a number; b is nil behind one that is not there.
func (d *deltas) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.b = nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *deltas) varint() int64 {
	v := d.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (d *deltas) next() (scalar, error) {
	if d.left == 0 {
		return scalar{}, errPageEnds
	}
	d.left--
	if !d.begun {
		d.begun = true
		return d.scalar(), nil
	}
	if d.at == d.end {
		if err := d.nextMini(); err != nil {
			return scalar{}, err
		}
	}
	d.value += d.least + int64(bitsAt(d.miniblock, d.at*uint64(d.width), d.width))
	d.at++
	return d.scalar(), nil
}

func (d *deltas) scalar() scalar {
	if d.narrow {
		d.value = int64(int32(d.value))
	}
	return scalar{bits: uint64(d.value)}
}

// nextMini begins the next miniblock, and a block where the last one has none left.
func (d *deltas) nextMini() error {
	if len(d.widths) == 0 {
		d.least = d.varint()
		if uint64(len(d.b)) < d.minis {
			return errPageEnds
		}
		d.widths, d.b = d.b[:d.minis], d.b[d.minis:]
	}
	d.width, d.widths = uint(d.widths[0]), d.widths[1:]
	size := d.mini / 8 * uint64(d.width)
	if d.width > 64 || size > uint64(len(d.b)) {
		return errPageEnds
	}
	d.miniblock, d.b = d.b[:size], d.b[size:]
	d.at, d.end = 0, d.mini
	return nil
}

// behind returns what is stored behind the integers.
func (d *deltas) behind() ([]byte, error) {
	all := *d
	for all.left > 0 {
		if _, err := all.next(); err != nil {
			return nil, err
		}
	}
	return all.b, nil
}

// lengths reads byte arrays whose lengths stand before them (DELTA_LENGTH_BYTE_ARRAY).
type lengths struct {
	of *deltas
	b  []byte
}

func newLengths(b []byte, most int) (*lengths, error) {
	of, err := newDeltas(b, most)
	if err != nil {
		return nil, err
	}
	b, err = of.behind()
	return &lengths{of, b}, err
}

func (d *lengths) next() (scalar, error) {
	n, err := d.of.next()
	if err != nil {
		return n, err
	}
	if n.bits > uint64(len(d.b)) {
		return scalar{}, errPageEnds
	}
	v := scalar{bytes: d.b[:n.bits:n.bits]}
	d.b = d.b[n.bits:]
	return v, nil
}

// prefixed reads byte arrays that are stored as what differs from the one before
// (DELTA_BYTE_ARRAY).
type prefixed struct {
	prefixes *deltas
	suffixes *lengths
	last     []byte
}

func newPrefixed(b []byte, most int) (*prefixed, error) {
	p, err := newDeltas(b, most)
	if err != nil {
		return nil, err
	}
	if b, err = p.behind(); err != nil {
		return nil, err
	}
	s, err := newLengths(b, most)
	return &prefixed{prefixes: p, suffixes: s}, err
}

func (d *prefixed) next() (scalar, error) {
	n, err := d.prefixes.next()
	if err != nil {
		return n, err
	}
	suffix, err := d.suffixes.next()
	if err != nil {
		return suffix, err
	}
	if n.bits > uint64(len(d.last)) {
		return scalar{}, fmt.Errorf("shares %d bytes with a value of %d", int64(n.bits), len(d.last))
	}
	d.last = append(d.last[:n.bits], suffix.bytes...)
	return scalar{bytes: d.last}, nil
}

// split reads numbers whose first bytes stand together, then the second ones
// (BYTE_STREAM_SPLIT).
type split struct {
	b         []byte
	kind      format.Type
	size      int
	at, count int
}

func (d *split) next() (scalar, error) {
	if d.at == d.count {
		return scalar{}, errPageEnds
	}
	v := make([]byte, d.size)
	for i := range v {
		v[i] = d.b[i*d.count+d.at]
	}
	d.at++
	return fixed(d.kind, v), nil
}

// newDecoder decodes at most so many values of a physical type.
func (l *leaf) newDecoder(encoding format.Encoding, b []byte, most int) (decoder, error) {
	isBytes := l.kind == format.ByteArray || l.kind == format.FixedLenByteArray
	whole := l.kind == format.Int32 || l.kind == format.Int64
	switch {
	case len(b) == 0: // of nulls alone, or of nothing
		return &plain{kind: l.kind, size: l.size}, nil
	case encoding == format.Plain:
		return &plain{b: b, kind: l.kind, size: l.size}, nil
	case encoding == oldDictionary || encoding == format.RLEDictionary:
		if b[0] > 32 {
			return nil, fmt.Errorf("indexes of %d bits", b[0])
		}
		return &indexed{hybrid{b: b[1:], width: uint(b[0])}, l.dictionary}, nil
	case encoding == format.RLE && l.kind == format.Boolean:
		if len(b) < 4 {
			return nil, errPageEnds
		}
		return &booleans{hybrid{b: b[4:], width: 1}}, nil
	case encoding == format.DeltaBinaryPacked && whole:
		d, err := newDeltas(b, most)
		if err == nil {
			d.narrow = l.kind == format.Int32
		}
		return d, err
	case encoding == format.DeltaLengthByteArray && l.kind == format.ByteArray:
		return newLengths(b, most)
	case encoding == format.DeltaByteArray && isBytes:
		return newPrefixed(b, most)
	case encoding == format.ByteStreamSplit && l.size > 0:
		return &split{b: b, kind: l.kind, size: l.size, count: len(b) / l.size}, nil
	}
	return nil, fmt.Errorf("%w: %s of %s", errEncoding, encoding, l.kind)
}
