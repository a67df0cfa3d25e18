package data

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"
	"slices"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// leaf reads a parquet column that has values, in one row group at a time. An entry of it
// is a value or a null with two levels: the repetition level says which of the lists
// around it goes on (0: a new row), the definition level how much of what may be null
// around it is there (https://github.com/apache/parquet-format/blob/master/README.md#nested-encoding).
type leaf struct {
	column         *parquet.Column
	kind           format.Type
	size           int // of a value of fixed length, in bytes; 0: byte arrays
	maxRep, maxDef int

	file       io.ReaderAt
	held       *int64 // bytes in memory, of all leaves of a file
	limit      int64  // on held
	codec      format.CompressionCodec
	pages      []page
	dictionary []scalar
	words      []byte // the dictionary's page
	cost       int64  // of page and dictionary, in *held
	pageCost   int64  // of the page alone

	data       []byte // of the page
	at         int    // the page
	rep, def   hybrid
	values     decoder
	left       int // entries of the page
	next       int // the row that begins at the next repetition level of 0
	r, d       int // levels of the entry that is looked at
	lookedAt   bool
	unsettled  bool // no page is open
	outOfPages bool
}

// page says where a page lies and what its header claims.
type page struct {
	kind             format.PageType
	offset           int64 // of what is behind the header
	packed, unpacked int   // bytes
	crc              uint32
	values           int             // entries, or values of a dictionary
	rows             int             // that begin in it; -1: the header does not say
	encoding         format.Encoding // of the values
	repEncoding      format.Encoding
	defEncoding      format.Encoding
	rep, def         int  // bytes of the levels, where they stand before what is compressed
	plain            bool // not compressed, whatever the column is
	first            int  // row that it begins with; -1: not known
}

// newPage takes what is needed from a header.
func newPage(h *format.PageHeader, offset int64) (page, error) {
	p := page{kind: h.Type, offset: offset, packed: int(h.CompressedPageSize), unpacked: int(h.UncompressedPageSize), crc: uint32(h.CRC), rows: -1}
	there := true
	switch h.Type {
	case format.DataPage:
		v := h.DataPageHeader
		there = v.Valid
		p.values, p.encoding, p.repEncoding, p.defEncoding = int(v.V.NumValues), v.V.Encoding, v.V.RepetitionLevelEncoding, v.V.DefinitionLevelEncoding
	case format.DataPageV2:
		v := h.DataPageHeaderV2
		there = v.Valid
		p.values, p.rows, p.encoding = int(v.V.NumValues), int(v.V.NumRows), v.V.Encoding
		p.rep, p.def = int(v.V.RepetitionLevelsByteLength), int(v.V.DefinitionLevelsByteLength)
		p.plain = v.V.IsCompressed.Valid && !v.V.IsCompressed.V
		if p.rows < 0 || p.rep < 0 || p.def < 0 || p.rep+p.def > min(p.packed, p.unpacked) {
			return p, fmt.Errorf("%d rows, %d and %d bytes of levels in %d bytes", p.rows, p.rep, p.def, p.packed)
		}
	case format.DictionaryPage:
		v := h.DictionaryPageHeader
		there = v.Valid
		p.values, p.encoding = int(v.V.NumValues), v.V.Encoding
	}
	if !there || p.values < 0 {
		return p, fmt.Errorf("a %s without its header, or with %d values", h.Type, p.values)
	}
	return p, nil
}

// newLeaf returns a reader of a column of a file with so many bytes.
func newLeaf(c *parquet.Column, file io.ReaderAt, held *int64, limit int64) *leaf {
	l := &leaf{
		column: c, kind: format.Type(c.Type().Kind()), file: file, held: held, limit: limit,
		maxRep: c.MaxRepetitionLevel(), maxDef: c.MaxDefinitionLevel(),
	}
	switch l.kind {
	case format.Int32, format.Float:
		l.size = 4
	case format.Int64, format.Double:
		l.size = 8
	case format.Int96:
		l.size = 12
	case format.FixedLenByteArray:
		l.size = c.Type().Length()
	}
	return l
}

// openGroup takes the pages of a row group.
func (l *leaf) openGroup(size int64, g *format.RowGroup) error {
	l.close()
	c := &g.Columns[l.column.Index()].MetaData
	l.codec = c.Codec
	listed, err := listPages(l.file, size, c)
	if err != nil {
		return l.wrap(err)
	}
	if err := l.number(listed, int(g.NumRows)); err != nil {
		return l.wrap(err)
	}
	l.next, l.unsettled = 0, true
	return nil
}

// number finds out which row each page begins with. Where every row has one entry, the
// rows of the group must be what its pages have.
func (l *leaf) number(listed []page, rows int) error {
	row := 0
	for _, p := range listed {
		switch p.kind {
		case format.DictionaryPage:
			if l.dictionary != nil {
				return errors.New("two dictionaries")
			}
			if err := l.readDictionary(p); err != nil {
				return err
			}
			continue
		case format.DataPage, format.DataPageV2:
		default:
			continue // an index
		}
		p.first = row
		switch {
		case row < 0:
		case l.maxRep == 0:
			row += p.values
		case p.rows >= 0:
			row += p.rows
		default:
			row = -1 // only its levels know
		}
		l.pages = append(l.pages, p)
	}
	if row >= 0 && row != rows {
		return fmt.Errorf("its pages hold %d of the row group's %d rows", row, rows)
	}
	return nil
}

// close lets go of the pages.
func (l *leaf) close() {
	*l.held -= l.cost
	l.pages, l.dictionary, l.words, l.data, l.cost, l.pageCost = nil, nil, nil, nil, 0, 0
	l.values, l.lookedAt, l.unsettled = nil, false, true
}

func (l *leaf) wrap(err error) error { return fmt.Errorf("column %v: %w", l.column.Path(), err) }

// take counts bytes that are needed, before they are taken.
func (l *leaf) take(n int) error {
	if *l.held+int64(n) > l.limit {
		return fmt.Errorf("a page claims %d bytes: with what else a row needs that is more than %d", n, l.limit)
	}
	*l.held += int64(n)
	l.cost += int64(n)
	return nil
}

// bytes reads and unpacks a page; head bytes at its beginning are not compressed.
func (l *leaf) bytes(p page, dst []byte, head int) ([]byte, error) {
	b := make([]byte, p.packed)
	if _, err := l.file.ReadAt(b, p.offset); err != nil {
		return nil, err
	}
	if sum := crc32.ChecksumIEEE(b); p.crc != 0 && p.crc != sum {
		return nil, fmt.Errorf("the checksum is %08x, want %08x", sum, p.crc)
	}
	codec := l.codec
	if p.plain {
		codec = format.Uncompressed
	}
	out, err := decompress(codec, dst, b[head:], p.unpacked-head)
	if err != nil || head == 0 {
		return out, err
	}
	return slices.Insert(out, 0, b[:head]...), nil
}

func (l *leaf) readDictionary(p page) error {
	if p.encoding != format.Plain && p.encoding != oldDictionary {
		return fmt.Errorf("dictionary: %w: %s", errEncoding, p.encoding)
	}
	if err := l.take(p.unpacked); err != nil {
		return err
	}
	var err error
	if l.words, err = l.bytes(p, nil, 0); err != nil {
		return fmt.Errorf("dictionary: %w", err)
	}
	if least := max(l.size, 4); l.kind == format.Boolean || p.values > len(l.words)/least {
		return fmt.Errorf("a dictionary of %d bytes claims %d values", len(l.words), p.values)
	}
	const entry = 32 // bytes of a scalar
	if err := l.take(entry * p.values); err != nil {
		return err
	}
	l.dictionary = make([]scalar, p.values)
	words := plain{b: l.words, kind: l.kind, size: l.size}
	for i := range l.dictionary {
		if l.dictionary[i], err = words.next(); err != nil {
			return fmt.Errorf("dictionary: %w", err)
		}
	}
	return nil
}

// openPage begins the i-th data page; one that is open is not unpacked again.
func (l *leaf) openPage(i int) error {
	p := l.pages[i]
	head := p.rep + p.def
	if l.unsettled || l.at != i {
		l.unsettled = true
		*l.held -= l.pageCost
		l.cost -= l.pageCost
		l.pageCost = 0
		if err := l.take(p.unpacked); err != nil {
			return err
		}
		l.pageCost = int64(p.unpacked)
		if l.pageCost < int64(cap(l.data))/4 { // not the room of the largest one for ever
			l.data = nil
		}
		var err error
		if l.data, err = l.bytes(p, l.data, head); err != nil {
			return fmt.Errorf("page at byte %d: %w", p.offset, err)
		}
	}
	l.at, l.left, l.lookedAt, l.outOfPages, l.unsettled = i, p.values, false, false, false
	if p.first >= 0 {
		l.next = p.first
	}
	if err := l.begin(p); err != nil {
		l.unsettled = true
		return fmt.Errorf("page at byte %d: %w", p.offset, err)
	}
	return nil
}

// begin finds levels and values in the page's data.
func (l *leaf) begin(p page) (err error) {
	rest := l.data
	if p.kind == format.DataPageV2 {
		l.rep = newHybrid(rest[:p.rep], l.maxRep)
		l.def = newHybrid(rest[p.rep:p.rep+p.def], l.maxDef)
		rest = rest[p.rep+p.def:]
	} else {
		if l.rep, rest, err = levelsV1(rest, l.maxRep, p.repEncoding); err != nil {
			return err
		}
		if l.def, rest, err = levelsV1(rest, l.maxDef, p.defEncoding); err != nil {
			return err
		}
	}
	l.values, err = l.newDecoder(p.encoding, rest, p.values)
	return err
}

// newHybrid reads levels from 0 to most.
func newHybrid(b []byte, most int) hybrid { return hybrid{b: b, width: uint(bits.Len(uint(most)))} }

// levelsV1 takes the levels from the beginning of b, where their length stands before them.
func levelsV1(b []byte, most int, encoding format.Encoding) (levels hybrid, rest []byte, err error) {
	if most == 0 {
		return hybrid{}, b, nil
	}
	if encoding != format.RLE {
		return hybrid{}, nil, fmt.Errorf("%w: %s of levels", errEncoding, encoding)
	}
	if len(b) < 4 || int64(binary.LittleEndian.Uint32(b)) > int64(len(b)-4) {
		return hybrid{}, nil, errPageEnds
	}
	n := 4 + int(binary.LittleEndian.Uint32(b))
	return newHybrid(b[4:n], most), b[n:], nil
}

// look reads the levels of the next entry, without taking it. Behind the last entry of
// the row group its repetition level is 0, and outOfPages is set.
func (l *leaf) look() error {
	if l.lookedAt {
		return nil
	}
	for l.unsettled || l.left == 0 {
		next := l.at + 1
		if l.unsettled {
			next = 0
		}
		if next >= len(l.pages) {
			l.r, l.d, l.outOfPages = 0, 0, true
			return nil
		}
		if err := l.openPage(next); err != nil {
			return l.wrap(err)
		}
	}
	r, err := l.rep.next()
	if err != nil {
		return l.wrap(fmt.Errorf("repetition levels: %w", err))
	}
	d, err := l.def.next()
	if err != nil {
		return l.wrap(fmt.Errorf("definition levels: %w", err))
	}
	if r > uint64(l.maxRep) || d > uint64(l.maxDef) {
		return l.wrap(fmt.Errorf("the levels %d and %d are above %d and %d", r, d, l.maxRep, l.maxDef))
	}
	l.r, l.d, l.lookedAt = int(r), int(d), true
	l.left--
	return nil
}

// read takes the next entry; its value is there if its definition level is maxDef.
func (l *leaf) read() (v scalar, err error) {
	if err := l.look(); err != nil {
		return v, err
	}
	if l.outOfPages {
		return v, l.wrap(fmt.Errorf("its pages end in row %d of the row group", l.next+1))
	}
	if l.r == 0 {
		l.next++
	}
	l.lookedAt = false
	if l.d == l.maxDef {
		if v, err = l.values.next(); err != nil {
			return v, l.wrap(err)
		}
	}
	return v, nil
}

// seek moves to the first entry of a row of the group, from where it is or from the last
// page that is known to begin no later.
func (l *leaf) seek(row int) error {
	from := 0
	for i, p := range l.pages {
		if p.first >= 0 && p.first <= row {
			from = i
		}
	}
	if len(l.pages) == 0 {
		return l.wrap(errors.New("no pages"))
	}
	if here := !l.unsettled && l.next <= row && l.at >= from; !here {
		if err := l.openPage(from); err != nil {
			return l.wrap(err)
		}
	}
	for {
		if err := l.look(); err != nil {
			return err
		}
		if l.r == 0 && l.next == row {
			return nil
		}
		if _, err := l.read(); err != nil {
			return err
		}
	}
}

// decompress unpacks a page into what dst has room for or else into new memory, which
// grows with what comes out and not with what the header claims.
func decompress(codec format.CompressionCodec, dst, src []byte, size int) ([]byte, error) {
	if len(src) == 0 && size == 0 {
		return dst[:0], nil
	}
	out := dst[:0]
	var err error
	switch codec {
	case format.Uncompressed:
		out = append(out, src...)
	case format.Snappy:
		out, err = unpackSnappy(dst, src, size)
	case format.Zstd:
		out, err = unpackZstd(dst, src, size)
	case format.Lz4Raw:
		const most = 255 // lz4 packs no denser
		out = slices.Grow(dst[:0], min(size, most*(len(src)+1)))
		var n int
		n, err = lz4.UncompressBlock(src, out[:min(size, cap(out))])
		out = out[:max(n, 0)]
	case format.Gzip:
		var z *gzip.Reader
		if z, err = gzip.NewReader(bytes.NewReader(src)); err == nil {
			out, err = readAtMost(dst, z, len(src), size)
		}
	case format.Brotli:
		out, err = readAtMost(dst, brotli.NewReader(bytes.NewReader(src)), len(src), size)
	default:
		return nil, fmt.Errorf("compression %s is not supported; want snappy, gzip, zstd, brotli, lz4_raw or none", codec)
	}
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	if len(out) != size {
		return nil, fmt.Errorf("unpack: %d bytes hold %d, the header claims %d", len(src), len(out), size)
	}
	return out, nil
}

// likely is how much of size is taken at once: so much as n bytes of text may well hold.
func likely(n, size int) int { return min(size, 100*(n+64)) }

func unpackSnappy(dst, src []byte, size int) ([]byte, error) {
	n, err := snappy.DecodedLen(src)
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes, the header claims %d", n, size)
	}
	const most = 64 // snappy packs no denser
	if err == nil && n > most*len(src) {
		err = snappy.ErrCorrupt
	}
	if err != nil {
		return nil, err
	}
	return snappy.Decode(slices.Grow(dst[:0], n)[:n], src)
}

func unpackZstd(dst, src []byte, size int) ([]byte, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	for room := likely(len(src), size); ; room = min(4*room, size) {
		out, err := z.DecodeAll(src, slices.Grow(dst[:0], max(room, 1))[:0:max(room, 1)])
		if !errors.Is(err, zstd.ErrDecoderSizeExceeded) {
			return out, err
		}
		if room == size {
			return nil, fmt.Errorf("%d bytes hold more than the header claims, %d", len(src), size)
		}
	}
}

// readAtMost reads size bytes and finds out whether there are more.
func readAtMost(dst []byte, r io.Reader, packed, size int) ([]byte, error) {
	b := bytes.NewBuffer(slices.Grow(dst[:0], likely(packed, size)))
	_, err := b.ReadFrom(io.LimitReader(r, int64(size)+1))
	return b.Bytes(), err
}
