package data_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"

	"eisft/data"
	"eisft/model/tokenizer"
)

// Rows with nulls at every level, each column in an encoding of its own. The same row is
// written as parquet by the library and read by us, and written as JSON by encoding/json.
type (
	nestedRow struct {
		ID       int64   `parquet:"_id,delta" json:"-"`
		Messages []turn  `parquet:"messages,optional,list" json:"messages"`
		Tools    []*tool `parquet:"tools,optional,list" json:"tools,omitempty"`
	}
	turn struct {
		Role    string            `parquet:"role,dict" json:"role"`
		Content string            `parquet:"content,delta" json:"content"`
		Name    string            `parquet:"name,optional,dict" json:"name,omitempty"`
		Score   *float64          `parquet:"score,optional,split" json:"score,omitempty"`
		Share   *float32          `parquet:"share,optional" json:"share,omitempty"`
		Small   int32             `parquet:"small,optional,delta" json:"small,omitempty"`
		Large   int64             `parquet:"large,optional,delta" json:"large,omitempty"`
		Right   *bool             `parquet:"right,optional" json:"right,omitempty"`
		Calls   []*call           `parquet:"tool_calls,optional,list" json:"tool_calls,omitempty"`
		Notes   map[string]string `parquet:"notes,optional" json:"notes,omitempty"`
	}
	call struct {
		Function *function `parquet:"function,optional" json:"function,omitempty"`
		Steps    []int64   `parquet:"steps,optional,list" json:"steps,omitempty"`
	}
	function struct {
		Name  string  `parquet:"name,optional,delta" json:"name,omitempty"`
		Paths []*path `parquet:"paths,optional,list" json:"paths,omitempty"`
	}
	path struct {
		Parts []*string `parquet:"parts,optional,list" json:"parts,omitempty"`
	}
	tool struct {
		Name string `parquet:"name" json:"name"`
	}
)

// maybe returns a value or nil.
func maybe[T any](r *rand.Rand, v T) *T {
	if r.IntN(3) == 0 {
		return nil
	}
	return &v
}

// some returns a value or the zero value, which is null in an optional column.
func some[T any](r *rand.Rand, v T) T {
	if r.IntN(3) == 0 {
		var zero T
		return zero
	}
	return v
}

func randomRow(r *rand.Rand, id int) nestedRow {
	text := func() string { return strings.Repeat(fmt.Sprintf("é%d ", r.IntN(5)), r.IntN(8)) + "\"x\\\n" }
	row := nestedRow{ID: int64(id)}
	for i := range 2 * (1 + r.IntN(4)) {
		m := turn{
			Role: []string{"user", "assistant"}[i%2], Content: text(),
			Name: some(r, text()), Score: maybe(r, r.NormFloat64()), Share: maybe(r, r.Float32()),
			Small: some(r, int32(r.Uint32())), Large: some(r, int64(r.Uint64())), Right: maybe(r, r.IntN(2) == 0),
		}
		for range r.IntN(3) {
			c := call{}
			if r.IntN(3) > 0 {
				c.Function = &function{Name: some(r, text())}
				for range r.IntN(3) {
					p := &path{}
					for range r.IntN(3) {
						p.Parts = append(p.Parts, maybe(r, text()))
					}
					c.Function.Paths = append(c.Function.Paths, p)
				}
			}
			for range r.IntN(3) {
				c.Steps = append(c.Steps, r.Int64N(10))
			}
			m.Calls = append(m.Calls, &c)
		}
		if r.IntN(2) == 0 {
			m.Notes = map[string]string{text(): text(), "k": "v"}
		}
		row.Messages = append(row.Messages, m)
	}
	for range r.IntN(3) {
		row.Tools = append(row.Tools, &tool{text()})
	}
	return row
}

// TestNestedColumns reads what the library wrote, in order and in any order, over many
// small pages and row groups, in every compression and both versions of pages.
func TestNestedColumns(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var rows []nestedRow
	var lines bytes.Buffer
	for i := range 150 {
		rows = append(rows, randomRow(r, i))
		line, err := json.Marshal(rows[i])
		if err != nil {
			t.Fatal(err)
		}
		lines.Write(append(line, '\n'))
	}
	want, err := readAll(write(t, "a.jsonl", lines.Bytes()), data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, codec := range []compress.Codec{&parquet.Uncompressed, &parquet.Snappy, &parquet.Gzip, &parquet.Brotli, &parquet.Zstd, &parquet.Lz4Raw} {
		for version := 1; version <= 2; version++ {
			t.Run(fmt.Sprintf("%s, version %d", codec, version), func(t *testing.T) {
				var b bytes.Buffer
				w := parquet.NewGenericWriter[nestedRow](&b, parquet.Compression(codec), parquet.DataPageVersion(version), parquet.PageBufferSize(512), parquet.MaxRowsPerRowGroup(64))
				for i := range rows { // one at a time: pages end between calls
					if _, err := w.Write(rows[i : i+1]); err != nil {
						t.Fatal(err)
					}
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				s, err := data.Open(write(t, "a.parquet", b.Bytes()), data.Options{})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				order := data.Order(3, 0, len(rows))
				for i := range rows {
					order = append(order, i)
				}
				for _, i := range order {
					got, err := s.At(i)
					if err != nil {
						t.Fatal(err)
					}
					if got.ID != fmt.Sprint(i) {
						t.Fatalf("row %d has the id %s", i, got.ID)
					}
					wantSame(t, got, want[i])
				}
			})
		}
	}
}

// wantSame compares what two samples say, whatever the order of keys and the writing of numbers.
func wantSame(t *testing.T, got, want data.Sample) {
	t.Helper()
	if len(got.Messages) != len(want.Messages) || len(got.Variables) != len(want.Variables) {
		t.Fatalf("%s: %d messages, %d variables; want %d, %d", got.Where, len(got.Messages), len(got.Variables), len(want.Messages), len(want.Variables))
	}
	for i, m := range got.Messages {
		if w := want.Messages[i]; m.Role != w.Role || m.Content != w.Content || !reflect.DeepEqual(valuesOf(t, m.Fields), valuesOf(t, w.Fields)) {
			t.Fatalf("%s, message %d:\ngot  %s\nwant %s", got.Where, i+1, said(got), said(want))
		}
	}
	if !reflect.DeepEqual(valuesOf(t, got.Variables), valuesOf(t, want.Variables)) {
		t.Fatalf("%s:\ngot  %s\nwant %s", got.Where, said(got), said(want))
	}
}

// valuesOf decodes fields.
func valuesOf(t *testing.T, fields []tokenizer.Field) map[string]any {
	t.Helper()
	values := map[string]any{}
	for _, f := range fields {
		var v any
		if err := json.Unmarshal(f.Value, &v); err != nil {
			t.Fatal(err)
		}
		values[f.Name] = v
	}
	return withoutZeros(values).(map[string]any)
}

// withoutZeros leaves out zeros and what is empty: the library writes those of optional
// columns that are no pointers as null, but not all of them.
func withoutZeros(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = withoutZeros(v[i])
		}
	case map[string]any:
		for name, w := range v {
			v[name] = withoutZeros(w)
			if m, ok := w.(map[string]any); w == "" || w == 0.0 || ok && len(m) == 0 {
				delete(v, name)
			}
		}
	}
	return v
}

// TestListLayouts reads lists as writers have nested them, with a null within.
func TestListLayouts(t *testing.T) {
	str := parquet.Optional(parquet.String())
	message := parquet.Group{"role": str, "content": str}
	list := func(repeated string, of parquet.Node) parquet.Node {
		return parquet.Optional(listOf{parquet.Group{repeated: parquet.Repeated(of)}})
	}
	for name, messages := range map[string]parquet.Node{
		"list and element":    list("list", parquet.Group{"element": parquet.Optional(message)}),
		"bag, array_element":  list("bag", parquet.Group{"array_element": parquet.Optional(message)}),
		"array of structs":    list("array", message),
		"tuple":               list("messages_tuple", message),
		"element that is one": list("element", message),
		"no annotation":       parquet.Repeated(message),
	} {
		schema := parquet.NewSchema("rows", parquet.Group{"messages": messages, "answers": list("bag", parquet.Group{"array_element": str}), "n": parquet.Optional(parquet.Int(64))})
		var b bytes.Buffer
		w := parquet.NewWriter(&b, schema)
		depth := 0 // levels above a message's fields
		for c := schema.Fields()[1]; ; c = c.Fields()[0] {
			if c.Optional() || c.Repeated() {
				depth++
			}
			if c.Fields()[0].Leaf() {
				break
			}
		}
		entry := func(column int, text string, rep, present int) parquet.Value {
			if present < depth+1 {
				return parquet.NullValue().Level(rep, present, column)
			}
			return parquet.ValueOf(text).Level(rep, present, column)
		}
		all := depth + 1
		// columns: 0 answers, 1 content, 2 role, 3 n
		if _, err := w.WriteRows([]parquet.Row{{
			parquet.NullValue().Level(0, 0, 0),
			entry(1, "Hi", 0, all), entry(1, "Hello", 1, all), entry(1, "", 1, all-1), entry(1, "Bye", 1, all),
			entry(2, "user", 0, all), entry(2, "assistant", 1, all), entry(2, "user", 1, all), entry(2, "assistant", 1, all),
			parquet.NullValue().Level(0, 0, 3),
		}, {
			parquet.NullValue().Level(0, 0, 0),
			entry(1, "Hi", 0, all), entry(1, "Hello", 1, all),
			entry(2, "user", 0, all), entry(2, "assistant", 1, all),
			parquet.ValueOf(int64(5)).Level(0, 1, 3),
		}}); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		s, err := data.Open(write(t, "a.parquet", b.Bytes()), data.Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := s.At(0); err == nil || !strings.HasSuffix(err.Error(), "row 1: column messages: message 3: no content, and no tool_calls instead of it") {
			t.Errorf("%s: %v", name, err)
		}
		if second, err := s.At(1); err != nil || said(second) != helped {
			t.Errorf("%s: %s, %v", name, said(second), err)
		}
		_ = s.Close()
	}
}

// listOf annotates a group as a list, whatever is in it.
type listOf struct{ parquet.Group }

func (listOf) Type() parquet.Type { return parquet.List(parquet.String()).Type() }

// TestAnyOrder makes sure that rows are the same whatever was read before them.
func TestAnyOrder(t *testing.T) {
	for _, name := range []string{"chat_v2", "lb_uuid_id", "chat_extra_fields", "sharegpt"} {
		wantAnyOrder(t, open(t, filepath.Join("testdata", name+".parquet")))
	}
}
