package data_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/parquet-go/parquet-go"

	"eisft/data"
	"eisft/internal/testfiles"
	"eisft/model/tokenizer"
)

// write puts a file into the test's folder and returns its path.
func write(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// parquetOf encodes rows, each in a row group of its own.
func parquetOf[T any](t testing.TB, rows ...T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b, parquet.Compression(&parquet.Zstd))
	for _, r := range rows {
		if _, err := w.Write([]T{r}); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipped(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type message struct {
	Role    string `parquet:"role"`
	Content string `parquet:"content"`
	Weight  int32  `parquet:"weight"`
}

type chatRow struct {
	ID       int64     `parquet:"_id"`
	Messages []message `parquet:"messages,list"`
}

// nullableRow is a chat as pyarrow writes it: everything is optional.
type nullableRow struct {
	ID       *int32 `parquet:"_id,optional"`
	Messages []struct {
		Role    *string `parquet:"role,optional"`
		Content *string `parquet:"content,optional"`
	} `parquet:"messages,optional,list"`
}

type longRow struct {
	ID      string   `parquet:"_id"`
	Dataset string   `parquet:"dataset"`
	Context string   `parquet:"context"`
	Input   string   `parquet:"input"`
	Answers []string `parquet:"answers,list"`
	Length  int32    `parquet:"length"`
	Depth   *float64 `parquet:"depth,optional"`
}

func ptr(v float64) *float64 { return &v }

// readAll opens a file and reads every row up to the first error.
func readAll(path string, o data.Options) ([]data.Sample, error) {
	s, err := data.Open(path, o)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var samples []data.Sample
	for i := range s.Len() {
		sample, err := s.At(i)
		if err != nil {
			return samples, err
		}
		samples = append(samples, sample)
	}
	return samples, nil
}

func TestForms(t *testing.T) {
	chat := []tokenizer.Message{{Role: "user", Content: "Hi"}, {Role: "assistant", Content: "Hello"}}
	weighted := []tokenizer.Message{
		{Role: "user", Content: "Hi", Fields: []tokenizer.Field{{Name: "weight", Value: json.RawMessage("0")}}},
		{Role: "assistant", Content: "Hello", Fields: []tokenizer.Field{{Name: "weight", Value: json.RawMessage("1")}}},
	}
	qa := []tokenizer.Message{{Role: "user", Content: "a: x\nb: y\n\nWho?"}, {Role: "assistant", Content: "b"}}
	for _, c := range []struct {
		name    string
		file    string
		content []byte
		options data.Options
		want    data.Sample
	}{
		{
			"chat in json", "a.jsonl", []byte("\n" + `{"_id":7,"messages":[{"role":"user","content":"Hi"},{"content":"Hello","role":"assistant"}]}`),
			data.Options{},
			data.Sample{ID: "7", Where: "line 2", Messages: chat, Depth: math.NaN()},
		},
		{
			"chat in parquet", "a.parquet", parquetOf(t, chatRow{7, []message{{"user", "Hi", 0}, {"assistant", "Hello", 1}}}),
			data.Options{},
			data.Sample{ID: "7", Where: "row 1", Messages: weighted, Depth: math.NaN()},
		},
		{
			"LongBench in json", "a.jsonl.gz", zipped(t, `{"context":"a: x\nb: y","input":"Who?","answers":["b","B"],"length":5,"depth":0.5}`),
			data.Options{},
			data.Sample{Where: "line 1", Messages: qa, Answers: []string{"b", "B"}, Context: "a: x\nb: y", Depth: 0.5, Fact: "b: y", Length: 5},
		},
		{
			"LongBench in parquet", "a.parquet", parquetOf(t, longRow{"x", "set", "a: x\nb: y", "Who?", []string{"b", "B"}, 5, ptr(0.5)}),
			data.Options{},
			data.Sample{ID: "x", Dataset: "set", Where: "row 1", Messages: qa, Answers: []string{"b", "B"}, Context: "a: x\nb: y", Depth: 0.5, Fact: "b: y", Length: 5},
		},
		{
			"one answer, no depth", "a.jsonl", []byte(`{"context":"a: x\nb: y","input":"Who?","answers":"b","depth":-1,"length":null}`),
			data.Options{},
			data.Sample{Where: "line 1", Messages: qa, Answers: []string{"b"}, Context: "a: x\nb: y", Depth: math.NaN()},
		},
		{
			"mapped columns and templates", "a.jsonl", []byte(`{"doc":"b: y","q":"Who","reply":["b"],"kind":"k"}`),
			data.Options{
				Columns: data.Columns{Context: "doc", Input: "q", Answers: "reply", Dataset: "kind"},
				Prompts: map[string]string{"k": "a: x\n{context}\n\n{input}?"},
			},
			data.Sample{Dataset: "k", Where: "line 1", Messages: qa, Answers: []string{"b"}, Context: "b: y", Depth: math.NaN()},
		},
		{
			"text, named though there is a chat", "a.jsonl", []byte(`{"body":"Call me Ishmael.","messages":[]}`),
			data.Options{Columns: data.Columns{Text: "body"}},
			data.Sample{Where: "line 1", Text: "Call me Ishmael.", Depth: math.NaN()},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, c.file, c.content)
			got, err := readAll(path, c.options)
			if err != nil {
				t.Fatal(err)
			}
			c.want.Where = path + ":" + c.want.Where
			if d := cmp.Diff([]data.Sample{c.want}, got, cmpopts.EquateNaNs()); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestBadFiles(t *testing.T) {
	whole := parquetOf(t, longRow{"x", "set", "c", "i", []string{"a"}, 5, nil}, longRow{"y", "set", "c", "i", nil, 5, nil})
	type wrongContext struct {
		Context int64    `parquet:"context"`
		Input   string   `parquet:"input"`
		Answers []string `parquet:"answers,list"`
	}
	nullable := nullableRow{}
	nullable.Messages = append(nullable.Messages, struct {
		Role    *string `parquet:"role,optional"`
		Content *string `parquet:"content,optional"`
	}{Role: new("user")})
	type wrongMessages struct {
		Messages []string `parquet:"messages,list"`
	}
	line := func(s string) []byte {
		return []byte(`{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}` + "\n" + s)
	}
	for _, c := range []struct {
		name, file string
		content    []byte
		want       string // behind the path
	}{
		{"other extension", "a.xlsx", nil, ": not a data file: want a name that ends in .parquet, .jsonl, .jsonl.gz"},
		{"empty jsonl", "a.jsonl", []byte(" \n\n"), ": no rows"},
		{"empty file", "a.parquet", nil, ": no rows"},
		{"parquet without rows", "a.parquet", parquetOf[longRow](t), ": no rows"},
		{"not parquet", "a.parquet", []byte("hello, this is no parquet file"), `: not a parquet file: starts with "hell", want "PAR1"`},
		{"truncated parquet", "a.parquet", whole[:len(whole)-20], `, want "PAR1" as the last of its `},
		{"footer longer than the file", "a.parquet", append(bytes.Clone(whole[:len(whole)-8]), 255, 255, 0, 0, 'P', 'A', 'R', '1'), ": cut off or corrupt: the footer claims 65535 of the file's "},
		{"truncated gzip", "a.jsonl.gz", zipped(t, strings.Repeat("x", 100))[:20], ": unpack: after "},
		{"not gzip", "a.jsonl.gz", []byte("{}"), ": unpack: "},
		{"gzip bomb", "a.jsonl.gz", zipped(t, strings.Repeat("x", 1<<22)), ": not a text"},
		{"not JSON", "a.jsonl", []byte("{\"text\": \"a\"\n"), ":line 1: not a JSON object: unexpected end of JSON input"},
		{"not an object", "a.jsonl", []byte("[1]"), ":row 1: a JSON number, want an object {...}"},
		{"null", "a.jsonl", line("null"), ":line 2: a JSON null, want an object {...}"},
		{"no known column", "a.jsonl", []byte(`{"mesages":[],"id":1}`), ": no column messages or conversations or context or question or instruction or prompt or text: the file has id, mesages; did you mean mesages? (data.columns gives other names, and --columns those of eval --data)"},
		{"missing column", "a.jsonl", []byte(`{"context":"c","input":"i","answer":"a"}`), ": no column answers: the file has answer, context, input; did you mean answer? (data.columns gives other names, and --columns those of eval --data)"},
		{"missing in a later row", "a.jsonl", line(`{"x":1}`), ":line 2: no column messages: the file has x"},
		{"wrong type in json", "a.jsonl", []byte(`{"context":5,"input":"i","answers":["a"]}`), ":line 1: column context: found a JSON number, want a string"},
		{"wrong element in json", "a.jsonl", []byte(`{"context":"c","input":"i","answers":["a",1]}`), ":line 1: column answers: found a JSON number, want a string or a list of strings"},
		{"wrong length", "a.jsonl", []byte(`{"context":"c","input":"i","answers":"a","length":1.5}`), ":line 1: column length: found 1.5, want a whole number"},
		{"depth beyond 1", "a.jsonl", []byte(`{"context":"c","input":"i","answers":"a","depth":7}`), ":line 1: depth is 7, want a fraction"},
		{"wrong type in parquet", "a.parquet", parquetOf(t, wrongContext{}), ": column context: found the parquet type INT(64,true), want a string"},
		{"wrong group in parquet", "a.parquet", parquetOf(t, wrongMessages{[]string{"a"}}), ": column messages: found a list of the parquet type STRING, want a list of {role, content} or {from, value}"},
		{"row without answer", "a.parquet", whole, ":row 2: no answer: the list of answers is empty"},
		{"null list", "a.parquet", parquetOf(t, nullableRow{}), ":row 1: column messages is null, want a list of"},
		{"null content", "a.parquet", parquetOf(t, nullable), ":row 1: column messages: message 1: no content, and no tool_calls instead of it"},
		{"content missing", "a.jsonl", line(`{"messages":[{"role":"user"}]}`), ":line 2: column messages: message 1: no content, and no tool_calls instead of it"},
		{"content of a wrong type", "a.jsonl", line(`{"messages":[{"role":"user","content":["a"]}]}`), ":line 2: column messages: message 1: content: part 1 is a JSON string, want {\"type\": \"text\", \"text\": …}"},
		{"weight of an answer", "a.jsonl", line(`{"messages":[{"role":"user","content":"q","weight":0},{"role":"assistant","content":"a","weight":0}]}`), ":line 2: column messages: message 2: weight is 0, but all answers are learned, and alike: let the conversation end before this one, or take the field out"},
		{"answer not to be learned", "a.jsonl", []byte(`{"conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"a","train":false}]}`), ":line 1: column conversations: message 2: train is false, but all answers are learned"},
		{"no messages", "a.jsonl", line(`{"messages":[]}`), ":line 2: no messages"},
		{"unknown role", "a.jsonl", line(`{"messages":[{"role":"human","content":"q"}]}`), `:line 2: message 1 has the role "human", want one of system, developer, user, assistant, tool, function`},
		{"no user turn", "a.jsonl", line(`{"messages":[{"role":"system","content":"q"}]}`), ":line 2: no user turn"},
		{"answer first", "a.jsonl", line(`{"messages":[{"role":"assistant","content":"q"}]}`), ":line 2: message 1 is an answer without a user turn before it"},
		{"empty answer", "a.jsonl", line(`{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":" "}]}`), ":line 2: message 2 is an empty answer"},
		{"two answers", "a.jsonl", line(`{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"},{"role":"assistant","content":"a"}]}`), ":line 2: messages 2 and 3 are both the assistant's"},
		{"no answer", "a.jsonl", line(`{"messages":[{"role":"user","content":"q"}]}`), `:line 2: no answer: the last of its 1 messages is of the role "user", want assistant`},
		{"empty text", "a.jsonl", []byte(`{"text":""}`), ":line 1: empty text"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, c.file, c.content)
			_, err := readAll(path, data.Options{})
			if err == nil || !strings.HasPrefix(err.Error(), path) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s%s", err, path, c.want)
			}
		})
	}
}

func TestBadOptions(t *testing.T) {
	path := write(t, "a.jsonl", []byte(`{"context":"c","input":"i","answers":"a"}`))
	for want, o := range map[string]data.Options{
		`prompt: template "{input}" does not contain {context}`:         {Prompt: "{input}"},
		`prompts: x: template "{input}" does not contain {context}`:     {Prompts: map[string]string{"x": "{input}"}},
		path + ": no column when: the file has answers, context, input": {Columns: data.Columns{Depth: "when"}},
		path + ": no column chat: the file has answers, context, input": {Columns: data.Columns{Messages: "chat"}},
	} {
		if _, err := data.Open(path, o); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	if _, err := data.Open(path+".missing.jsonl", data.Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want os.ErrNotExist", err)
	}
	s, err := data.Open(path, data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.At(1); err == nil || err.Error() != path+": no sample 1: the file has 1" {
		t.Errorf("got %v", err)
	}
}

// TestWrongBytes overwrites one byte of a parquet file after another. Whatever it hits,
// the rows are read, or an error names the file, and no count in it makes the reader
// allocate at will.
func TestWrongBytes(t *testing.T) { wrongBytes(t, 5) }

// TestSlowEveryWrongByte: so it is wherever the byte stands.
func TestSlowEveryWrongByte(t *testing.T) {
	testfiles.Slow(t)
	wrongBytes(t, 1)
}

// wrongBytes sets every step-th byte of parquet files wrong, one at a time.
func wrongBytes(t *testing.T, step int) {
	t.Helper()
	wrongBytesOf(t, step, parquetOf(t, longRow{"x", "set", "some context", "i", []string{"a"}, 5, ptr(0)}, longRow{"y", "set", "some context", "i", []string{"b", "c"}, 5, nil}))
	for _, name := range []string{"shift", "chat_constant", "text_sparse"} { // dictionaries, runs, nulls
		whole, err := os.ReadFile(filepath.Join("testdata", name+".parquet"))
		if err != nil {
			t.Fatal(err)
		}
		wrongBytesOf(t, step, whole)
	}
}

func wrongBytesOf(t *testing.T, step int, whole []byte) {
	t.Helper()
	path := write(t, "a.parquet", whole)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := 0; i < len(whole); i += step {
		right := whole[i]
		wrong := [...]byte{0x00, 0x7f, 0xff, right ^ 1}[i%4]
		if _, err := f.WriteAt([]byte{wrong}, int64(i)); err != nil {
			t.Fatal(err)
		}
		before := allocated()
		if _, err := readAll(path, data.Options{}); err != nil && !strings.HasPrefix(err.Error(), path) {
			t.Fatalf("byte %d = %d: %v", i, wrong, err)
		}
		if n := allocated() - before; n > 32<<20 { // buffers from a pool are new after a collection
			t.Errorf("byte %d = %d: %d bytes allocated", i, wrong, n)
		}
		if _, err := f.WriteAt([]byte{right}, int64(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// allocated is how many bytes the process has allocated since its start.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func TestTemporaryFileIsRemoved(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	for i, content := range [][]byte{zipped(t, `{"text":"a"}`), zipped(t, "{"), zipped(t, strings.Repeat("x", 1000))[:20]} {
		path := write(t, fmt.Sprintf("%d.jsonl.gz", i), content)
		_, _ = readAll(path, data.Options{})
		left, err := filepath.Glob(filepath.Join(dir, "eisft-*"))
		if err != nil || len(left) > 0 {
			t.Errorf("file %d left %v behind (%v)", i, left, err)
		}
	}
}

// held is how many bytes are in use after a collection.
func held() uint64 {
	runtime.GC()
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
