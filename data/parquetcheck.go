package data

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// The parquet library allocates what the file's counts ask for before it reads on. A
// few wrong bytes would make that gigabytes, which no recover catches. So footer and page
// headers are checked before it gets them, and pages are read without it (parquetpages.go):
// what they hold in memory is bounded by [maxHeld], their values are decoded one at a time.
// Footer and headers are Thrift structs in compact protocol
// (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md).

const magic = "PAR1"

// checkFooter checks the frame of a parquet file: PAR1, ..., the footer, its length in
// 4 bytes, PAR1, and that the footer's lists and strings fit into the footer.
func checkFooter(r io.ReaderAt, size int64) error {
	if size == 0 {
		return ErrEmpty
	}
	if size < 12 {
		return fmt.Errorf("%d bytes are no parquet file", size)
	}
	var head [4]byte
	var tail [8]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return err
	}
	if _, err := r.ReadAt(tail[:], size-8); err != nil {
		return err
	}
	if string(head[:]) != magic {
		return fmt.Errorf("not a parquet file: starts with %q, want %q", head, magic)
	}
	if string(tail[4:]) != magic {
		return fmt.Errorf("cut off: ends in %q, want %q as the last of its %d bytes", tail[4:], magic, size)
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if n > size-12 {
		return fmt.Errorf("cut off or corrupt: the footer claims %d of the file's %d bytes", n, size)
	}
	footer := make([]byte, n)
	if _, err := r.ReadAt(footer, size-8-n); err != nil {
		return err
	}
	used, err := structSize(footer)
	if err == nil {
		err = checkSchema(footer[:used])
	}
	if err != nil {
		return fmt.Errorf("corrupt parquet footer: %w", err)
	}
	return nil
}

// checkSchema checks that the footer's tree of columns is no deeper than maxNesting and
// that every row group has all of its leaves: the reader takes memory for the product of
// leaves and row groups, and for the sum of the leaves' depths.
func checkSchema(footer []byte) error {
	var file format.FileMetaData
	if err := thrift.Unmarshal(new(thrift.CompactProtocol), footer, &file); err != nil {
		return err
	}
	leaves := 0
	var open []int32 // children to come, of the groups around the column
	for i := range file.Schema {
		column := &file.Schema[i]
		if column.Type.Valid {
			leaves++
		}
		if n := column.NumChildren; n.Valid && n.V > 0 {
			if open = append(open, n.V); len(open) > maxNesting {
				return errDeep
			}
			continue
		}
		for len(open) > 0 {
			if open[len(open)-1]--; open[len(open)-1] > 0 {
				break
			}
			open = open[:len(open)-1]
		}
	}
	for g := range file.RowGroups {
		if n := len(file.RowGroups[g].Columns); n != leaves {
			return fmt.Errorf("row group %d has %d columns, the schema %d", g, n, leaves)
		}
	}
	return nil
}

// listPages walks through the pages of a column chunk in a file of size bytes, and checks
// that they lie in it.
func listPages(r io.ReaderAt, size int64, c *format.ColumnMetaData) ([]page, error) {
	start := c.DataPageOffset
	if d := c.DictionaryPageOffset; d != 0 {
		start = min(start, d)
	}
	if start < 4 || c.TotalCompressedSize < 0 || start > size || c.TotalCompressedSize > size-start {
		return nil, fmt.Errorf("%d bytes at %d lie outside of the file's %d", c.TotalCompressedSize, start, size)
	}
	chunk := io.NewSectionReader(r, start, c.TotalCompressedSize)
	var pages []page
	for at := int64(0); at < chunk.Size(); {
		header, n, err := pageHeader(chunk, at)
		if err != nil {
			return nil, fmt.Errorf("page header at byte %d: %w", start+at, err)
		}
		packed := int64(header.CompressedPageSize)
		if packed < 0 || header.UncompressedPageSize < 0 || packed > chunk.Size()-at-n {
			return nil, fmt.Errorf("page at byte %d: %d bytes do not fit into the column's %d", start+at, packed, chunk.Size())
		}
		p, err := newPage(header, start+at+n)
		if err != nil {
			return nil, fmt.Errorf("page at byte %d: %w", start+at, err)
		}
		pages = append(pages, p)
		at += n + packed
	}
	return pages, nil
}

// pageHeader reads the header at a byte of a chunk and returns its length too.
func pageHeader(chunk *io.SectionReader, at int64) (*format.PageHeader, int64, error) {
	for window := int64(1 << 10); ; window *= 16 {
		b := make([]byte, min(window, chunk.Size()-at))
		if _, err := chunk.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) {
			return nil, 0, err
		}
		n, err := structSize(b)
		if errors.Is(err, errShort) && at+int64(len(b)) < chunk.Size() {
			continue // statistics can make a header long
		}
		if err != nil {
			return nil, 0, err
		}
		header := new(format.PageHeader)
		return header, int64(n), thrift.Unmarshal(new(thrift.CompactProtocol), b[:n], header)
	}
}

var (
	errShort = errors.New("a field is longer than what is left")
	errDeep  = errors.New("structs are nested too deep")
)

// structSize returns the length of the Thrift struct at the start of b, having checked
// that all its strings and lists end within b.
func structSize(b []byte) (int, error) {
	s := scanner{b: b}
	s.structure(0)
	return len(b) - len(s.b), s.err
}

// scanner skips over Thrift values; after an error it stays where it is.
type scanner struct {
	b   []byte
	err error
}

// Types of the compact protocol.
const (
	typeTrue, typeFalse, typeByte, typeI16, typeI32, typeI64 = 1, 2, 3, 4, 5, 6
	typeDouble, typeBinary, typeList, typeSet, typeMap       = 7, 8, 9, 10, 11
	typeStruct                                               = 12
	maxNesting                                               = 32
)

func (s *scanner) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

func (s *scanner) skip(n uint64) {
	if n > uint64(len(s.b)) {
		s.fail(errShort)
		return
	}
	s.b = s.b[n:]
}

func (s *scanner) byte() byte {
	if len(s.b) == 0 {
		s.fail(errShort)
		return 0
	}
	v := s.b[0]
	s.b = s.b[1:]
	return v
}

func (s *scanner) varint() uint64 {
	v, n := binary.Uvarint(s.b)
	if n <= 0 {
		s.fail(errShort)
		return 0
	}
	s.b = s.b[n:]
	return v
}

func (s *scanner) structure(depth int) {
	for s.err == nil {
		field := s.byte()
		if field == 0 {
			return
		}
		if field>>4 == 0 {
			s.varint() // the field's number, when it is not a small step
		}
		if kind := field & 15; kind != typeTrue && kind != typeFalse { // a boolean's value is in its type
			s.value(kind, depth)
		}
	}
}

func (s *scanner) value(kind byte, depth int) {
	if depth > maxNesting {
		s.fail(errDeep)
		return
	}
	switch kind {
	case typeTrue, typeFalse, typeByte:
		s.skip(1)
	case typeI16, typeI32, typeI64:
		s.varint()
	case typeDouble:
		s.skip(8)
	case typeBinary:
		s.skip(s.varint())
	case typeList, typeSet:
		s.list(depth + 1)
	case typeMap:
		s.mapping(depth + 1)
	case typeStruct:
		s.structure(depth + 1)
	default:
		s.fail(fmt.Errorf("unknown type %d", kind))
	}
}

func (s *scanner) list(depth int) {
	head := s.byte()
	n := uint64(head >> 4)
	if n == 15 {
		n = s.varint()
	}
	if n > uint64(len(s.b)) { // every element takes a byte or more
		s.fail(errShort)
	}
	for ; n > 0 && s.err == nil; n-- {
		s.value(head&15, depth)
	}
}

func (s *scanner) mapping(depth int) {
	n := s.varint()
	if n == 0 {
		return
	}
	if n > uint64(len(s.b)) {
		s.fail(errShort)
	}
	kinds := s.byte()
	for ; n > 0 && s.err == nil; n-- {
		s.value(kinds>>4, depth)
		s.value(kinds&15, depth)
	}
}
