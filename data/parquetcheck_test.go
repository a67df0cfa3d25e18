package data

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

func TestStructSize(t *testing.T) {
	huge := binary.AppendUvarint(nil, math.MaxInt32)
	header := &format.PageHeader{Type: format.DataPage, CompressedPageSize: 5, UncompressedPageSize: 7}
	header.DataPageHeader.Valid = true
	header.DataPageHeader.V.NumValues = 3
	page, err := thrift.Marshal(new(thrift.CompactProtocol), header)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		b    []byte
		size int
		err  error
	}{
		"page header":         {page, len(page), nil},
		"bytes behind it":     {append(slices.Clone(page), 9, 9), len(page), nil},
		"cut off":             {page[:len(page)-2], 0, errShort},
		"nothing":             {nil, 0, errShort},
		"string too long":     {append([]byte{0x10 | typeBinary}, huge...), 0, errShort},
		"list too long":       {append([]byte{0x10 | typeList, 0xf0 | typeStruct}, huge...), 0, errShort},
		"map too long":        {append([]byte{0x10 | typeMap}, huge...), 0, errShort},
		"structs in structs":  {bytes.Repeat([]byte{0x10 | typeStruct}, 1000), 0, errDeep},
		"lists in lists":      {append([]byte{0x10 | typeList}, bytes.Repeat([]byte{0x10 | typeList}, 1000)...), 0, errDeep},
		"list, map, booleans": {[]byte{0x10 | typeList, 0x20 | typeI32, 1, 2, 0x10 | typeMap, 1, typeByte<<4 | typeDouble, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10 | typeTrue, 0}, 18, nil},
	} {
		if n, err := structSize(c.b); !errors.Is(err, c.err) || err == nil && n != c.size {
			t.Errorf("%s: %d bytes, %v; want %d, %v", name, n, err, c.size, c.err)
		}
	}
}

// TestPagesThatClaimTooMuch rewrites page headers of a real file.
func TestPagesThatClaimTooMuch(t *testing.T) {
	type row struct{ Text string }
	var b bytes.Buffer
	if err := parquet.Write(&b, []row{{strings.Repeat("text ", 50)}, {"more"}}, parquet.Compression(&parquet.Zstd)); err != nil {
		t.Fatal(err)
	}
	file, err := parquet.OpenFile(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(h *format.PageHeader){
		"":                    func(*format.PageHeader) {},
		"do not fit into the": func(h *format.PageHeader) { h.CompressedPageSize = math.MaxInt32 },
		"a page claims ":      func(h *format.PageHeader) { h.UncompressedPageSize = math.MaxInt32 },
		"page at byte ":       func(h *format.PageHeader) { h.UncompressedPageSize++ },
		"the checksum is ":    func(h *format.PageHeader) { h.CRC++ },
		" of the row group's 2": func(h *format.PageHeader) {
			h.DataPageHeader.V.NumValues = math.MaxInt32
			h.DataPageHeaderV2.V.NumValues = math.MaxInt32
		},
	} {
		if err := readChanged(file, b.Bytes(), change); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// readChanged reads the two values of a file's column after a change of its page's header.
func readChanged(file *parquet.File, b []byte, change func(*format.PageHeader)) error {
	group := file.Metadata().RowGroups[0]
	group.Columns = slices.Clone(group.Columns)
	at := group.Columns[0].MetaData.DataPageOffset
	n, err := structSize(b[at:])
	if err != nil {
		return err
	}
	header := new(format.PageHeader)
	if err := thrift.Unmarshal(new(thrift.CompactProtocol), b[at:int(at)+n], header); err != nil {
		return err
	}
	change(header)
	changed, err := thrift.Marshal(new(thrift.CompactProtocol), header)
	if err != nil {
		return err
	}
	whole := slices.Concat(b[:at], changed, b[int(at)+n:])
	group.Columns[0].MetaData.TotalCompressedSize += int64(len(changed) - n)
	l := newLeaf(file.Root().Columns()[0], bytes.NewReader(whole), new(int64), maxHeld)
	if err := l.openGroup(int64(len(whole)), &group); err != nil {
		return err
	}
	for range 2 {
		if _, err := l.read(); err != nil {
			return err
		}
	}
	return nil
}
