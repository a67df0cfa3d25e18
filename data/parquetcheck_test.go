package data

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
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

// TestBombs unpacks pages that hold far more than they are large: never more memory is
// taken than what the header claims, and little for a claim that is not true.
func TestBombs(t *testing.T) {
	const size = 64 << 20
	for _, codec := range []compress.Codec{&parquet.Snappy, &parquet.Gzip, &parquet.Brotli, &parquet.Zstd, &parquet.Lz4Raw} {
		bomb, err := codec.Encode(nil, make([]byte, size))
		if err != nil {
			t.Fatal(err)
		}
		few, err := codec.Encode(nil, []byte("a few bytes"))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name  string
			page  []byte
			claim int
			most  uint64 // bytes allocated
			ok    bool
		}{
			{"true", bomb, size, 6 * size, true},
			{"more than claimed", bomb, 1000, 16 << 20, false},
			{"less than claimed", few, size, 16 << 20, false},
			{"cut off", few[:len(few)-2], 11, 16 << 20, false},
		} {
			before := allocated()
			out, err := decompress(codec.CompressionCodec(), nil, c.page, c.claim)
			if n := allocated() - before; n > c.most {
				t.Errorf("%s, %s: %d bytes allocated, want at most %d", codec, c.name, n, c.most)
			}
			if (err == nil) != c.ok || c.ok && len(out) != c.claim {
				t.Errorf("%s, %s: %d bytes, %v", codec, c.name, len(out), err)
			}
		}
	}
}

// allocated is how many bytes the process has allocated since its start.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// run is a run of n equal levels.
func run(n uint64, level byte) []byte { return append(binary.AppendUvarint(nil, n<<1), level) }

// levelsOf is a leaf at a page with levels and no values: what a hostile file could claim.
func levelsOf(maxRep, maxDef, values int, rep, def []byte) *leaf {
	l := &leaf{kind: format.ByteArray, maxRep: maxRep, maxDef: maxDef, held: new(int64), limit: maxHeld, data: slices.Concat(rep, def)}
	l.pages = []page{{kind: format.DataPageV2, values: values, rows: 1, rep: len(rep), def: len(def)}}
	return l
}

// TestEndlessList reads a list of two billion nulls, which take a few bytes in a page.
func TestEndlessList(t *testing.T) {
	l := levelsOf(1, 3, math.MaxInt32, slices.Concat(run(1, 0), run(math.MaxInt32, 1)), run(math.MaxInt32, 2))
	element := &node{name: "element", optional: true, maxDef: 3, maxRep: 1, shape: leafShape, leaf: l, leaves: []*leaf{l}}
	inner := &node{name: "list", repeated: true, maxDef: 2, maxRep: 1, children: []*node{element}, leaves: element.leaves}
	list := &node{name: "answers", optional: true, maxDef: 1, shape: listShape, children: []*node{inner}, leaves: element.leaves}
	before := allocated()
	if err := l.openPage(0); err != nil {
		t.Fatal(err)
	}
	if _, err := list.json(nil); err == nil || !strings.Contains(err.Error(), "bytes in one row") {
		t.Errorf("got %v, want that the row is too long", err)
	}
	if n := allocated() - before; n > 10*maxRow {
		t.Errorf("%d bytes allocated", n)
	}
}

// TestLeavesDisagree puts levels of two columns side by side that cannot be of one list.
func TestLeavesDisagree(t *testing.T) {
	for name, c := range map[string]struct{ rep, def []byte }{
		"lengths": {slices.Concat(run(1, 0), run(2, 1)), run(3, 2)},
		"nulls":   {slices.Concat(run(1, 0), run(1, 1)), slices.Concat(run(1, 2), run(1, 1))},
		"empty":   {run(1, 0), run(1, 0)},
	} {
		one := levelsOf(1, 3, 2, slices.Concat(run(1, 0), run(1, 1)), run(2, 2))
		other := levelsOf(1, 3, 3, c.rep, c.def)
		both := []*leaf{one, other}
		field := func(l *leaf) *node {
			return &node{name: "x", optional: true, maxDef: 3, maxRep: 1, shape: leafShape, leaf: l, leaves: []*leaf{l}}
		}
		turn := &node{name: "element", optional: true, maxDef: 2, maxRep: 1, children: []*node{field(one), field(other)}, leaves: both}
		inner := &node{name: "list", repeated: true, maxDef: 1, maxRep: 1, children: []*node{turn}, leaves: both}
		list := &node{name: "messages", shape: listShape, children: []*node{inner}, leaves: both}
		for _, l := range both {
			if err := l.openPage(0); err != nil {
				t.Fatal(err)
			}
		}
		if raw, err := list.json(nil); err == nil || !strings.Contains(err.Error(), "do not agree") {
			t.Errorf("%s: %s, %v; want that the columns do not agree", name, raw, err)
		}
	}
}

// TestCountsInPages claims more values than a page has.
func TestCountsInPages(t *testing.T) {
	l := &leaf{kind: format.ByteArray}
	number := func(n uint64) []byte { return binary.AppendUvarint(nil, n) }
	header := slices.Concat(number(128), number(4), number(math.MaxInt32), number(0))
	for name, c := range map[string]struct {
		encoding format.Encoding
		data     []byte
	}{
		"lengths":             {format.DeltaLengthByteArray, header},
		"prefixes":            {format.DeltaByteArray, header},
		"blocks of nothing":   {format.DeltaLengthByteArray, slices.Concat(number(0), number(4), number(2), number(0))},
		"huge blocks":         {format.DeltaLengthByteArray, slices.Concat(number(1<<40), number(4), number(2), number(0))},
		"text that is longer": {format.Plain, []byte{255, 255, 255, 127, 'a'}},
		"index":               {format.RLEDictionary, append([]byte{32}, run(4, 9)...)},
		"index of 200 bits":   {format.RLEDictionary, []byte{200, 1}},
		"prefix":              {format.DeltaByteArray, slices.Concat(number(128), number(4), number(1), number(8), number(128), number(4), number(1), number(2), []byte("a"))},
		"unknown":             {format.BitPacked, []byte{1}},
	} {
		before := allocated()
		d, err := l.newDecoder(c.encoding, c.data, 10)
		for range 10 {
			if err == nil {
				_, err = d.next()
			}
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if (name == "lengths" || name == "prefixes") && !strings.Contains(err.Error(), "claims 2147483647 differences for 10 values") {
			t.Errorf("%s: %v", name, err)
		}
		if n := allocated() - before; n > 1<<20 {
			t.Errorf("%s: %d bytes allocated", name, n)
		}
	}
}

// TestSchemas refuses footers for which the library would take memory out of proportion.
func TestSchemas(t *testing.T) {
	group := func(name string) format.SchemaElement {
		return format.SchemaElement{Name: name, NumChildren: thrift.New[int32](1)}
	}
	column := format.SchemaElement{Name: "text", Type: thrift.New(format.ByteArray)}
	deep := &format.FileMetaData{Schema: []format.SchemaElement{group("root")}}
	for range 100 {
		deep.Schema = append(deep.Schema, group("a"))
	}
	deep.Schema = append(deep.Schema, column)
	wide := &format.FileMetaData{
		Schema:    []format.SchemaElement{group("root"), column},
		RowGroups: []format.RowGroup{{Columns: []format.ColumnChunk{{}}}, {}},
	}
	for want, file := range map[string]*format.FileMetaData{
		errDeep.Error(): deep,
		"row group 1 has 0 columns, the schema 1": wide,
	} {
		footer, err := thrift.Marshal(new(thrift.CompactProtocol), file)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkSchema(footer); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
