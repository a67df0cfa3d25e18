package data

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// The parquet reader allocates what the file's counts ask for before it reads on. A
// few wrong bytes would make that gigabytes, which no recover catches, so footer and
// page headers are checked first. Both are Thrift structs in compact protocol
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
	if _, err := structSize(footer); err != nil {
		return fmt.Errorf("corrupt parquet footer: %w", err)
	}
	return nil
}

// checkPages walks the page headers of a row group and checks that the pages lie in
// the file and that what they claim to hold is within reason.
func checkPages(r io.ReaderAt, size int64, columns []format.ColumnChunk) error {
	for i := range columns {
		c := &columns[i].MetaData
		start := c.DataPageOffset
		if d := c.DictionaryPageOffset; d != 0 {
			start = d
		}
		if start < 4 || c.TotalCompressedSize < 0 || start > size || c.TotalCompressedSize > size-start {
			return fmt.Errorf("column %v: %d bytes at %d lie outside of the file's %d", c.PathInSchema, c.TotalCompressedSize, start, size)
		}
		if err := checkChunk(io.NewSectionReader(r, start, c.TotalCompressedSize), size); err != nil {
			return fmt.Errorf("column %v: %w", c.PathInSchema, err)
		}
	}
	return nil
}

// checkChunk checks the pages of one column chunk of a file of size bytes.
func checkChunk(chunk *io.SectionReader, size int64) error {
	for at := int64(0); at < chunk.Size(); {
		header, n, err := pageHeader(chunk, at)
		if err != nil {
			return fmt.Errorf("page header at byte %d of the chunk: %w", at, err)
		}
		packed, unpacked := int64(header.CompressedPageSize), int64(header.UncompressedPageSize)
		if packed < 0 || packed > chunk.Size()-at-n {
			return fmt.Errorf("page at byte %d of the chunk: %d bytes do not fit into its %d", at, packed, chunk.Size())
		}
		if unpacked < 0 || unpacked > maxExpansion*(packed+64) {
			return fmt.Errorf("page at byte %d of the chunk: %d bytes claim to hold %d", at, packed, unpacked)
		}
		values := max(header.DataPageHeader.V.NumValues, header.DataPageHeaderV2.V.NumValues, header.DictionaryPageHeader.V.NumValues)
		if int64(values) > size {
			return fmt.Errorf("page at byte %d of the chunk: claims %d values, the file has %d bytes", at, values, size)
		}
		at += n + packed
	}
	return nil
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
