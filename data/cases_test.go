package data_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode/utf16"

	"eisft/data"
)

// said writes a sample's conversation on a line: role: content {field: value}, ….
func said(s data.Sample) string {
	if s.Messages == nil {
		return "text: " + s.Text
	}
	var parts []string
	for _, m := range s.Messages {
		part := m.Role + ": " + m.Content
		for _, f := range m.Fields {
			part += fmt.Sprintf(" {%s: %s}", f.Name, f.Value)
		}
		parts = append(parts, part)
	}
	for _, v := range s.Variables {
		parts = append(parts, fmt.Sprintf("[%s: %s]", v.Name, v.Value))
	}
	return strings.Join(parts, ", ")
}

// read returns what the first row of a file says, or what is wrong with the file or with
// a row of it, without the path.
func read(path string, o data.Options) string {
	samples, err := readAll(path, o)
	if err != nil {
		return strings.TrimPrefix(err.Error(), path+":")
	}
	return said(samples[0])
}

// TestParquetCases reads what DuckDB wrote.
func TestParquetCases(t *testing.T) {
	for _, c := range []struct {
		name string
		rows int
		want string // of the first row, or an error
	}{
		{"chat_constant", 1000, "user: How are you?, assistant: Fine, thank you."},
		{"chat_extra_fields", 300, `user: q, assistant: a {name: "x"} {tool_calls: [{"id":"1","function":{"name":"f","arguments":"{}"}}]}`},
		{"chat_null_message", 300, "row 1: column messages: message 2: it is null"},
		{"chat_null_pair", 1, "row 1: column messages: message 2: no content, and no tool_calls instead of it"},
		{"chat_v2", 300, "user: q0, assistant: a0"},
		{"shift", 1, "row 1: column messages: message 2: no content, and no tool_calls instead of it"},
		{"nulls", 6, "row 1: column messages is null, want a list of {role, content} or {from, value}"},
		{"deep", 3, `user: ab, assistant: c, [tools: [{"name":"f","parameters":{"x":[1,2],"ok":true,"w":1.5}}]]`},
		{"sharegpt", 300, "user: q, assistant: a"},
		{"json", 2, `row 1: no answer: the last of its 1 messages is of the role "user", want assistant`},
		{"squad", 5, "user: c0\n\nq0, assistant: x0"},
		{"lb_decimal_depth", 300, "user: ctx 0\n\nq, assistant: a"},
		{"lb_null_context", 300, "row 3: column context is null, want a string"},
		{"lb_uuid_id", 300, "user: ctx 0\n\nq, assistant: a"},
		{"decimal64", 5, "user: a\nb\nc\nd\n\nq, assistant: b"},
		{"decimal128", 5, "user: a\nb\nc\nd\n\nq, assistant: b"},
		{"text_sparse", 20000, "row 67: column text is null, want a string"},
		{"types", 50, "text: text0"},
		{"equal", 1000000, "user: the same context\n\nq, assistant: b"},
		{"equal_long", 300, "text: " + strings.Repeat("the same text ", 100000)},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join("testdata", c.name+".parquet")
			s, err := data.Open(path, data.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if s.Len() != c.rows {
				t.Errorf("%d rows, want %d", s.Len(), c.rows)
			}
			got := "" // of the first row, or an error
			for i := 0; i < c.rows; i += max(1, c.rows/300) {
				sample, err := s.At(i)
				if err != nil {
					got = strings.TrimPrefix(err.Error(), path+":")
					break
				}
				if i == 0 {
					got = said(sample)
				}
			}
			if got != c.want {
				t.Errorf("got  %.300s\nwant %.300s", got, c.want)
			}
			if strings.HasPrefix(c.name, "decimal") || c.name == "lb_decimal_depth" {
				if first, err := s.At(0); err != nil || first.Depth != 0.5 {
					t.Errorf("depth %g, want 0.5 (%v)", first.Depth, err)
				}
			}
			if last, err := s.At(c.rows - 1); c.name == "lb_uuid_id" && (err != nil || len(last.ID) != 36 || strings.Count(last.ID, "-") != 4) {
				t.Errorf("id %q, want a UUID (%v)", last.ID, err)
			}
		})
	}
}

// TestNullsStayInPlace reads row by row: behind nulls at every level comes a conversation
// whose fields are those of its own messages.
func TestNullsStayInPlace(t *testing.T) {
	s, err := data.Open("testdata/nulls.parquet", data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i, want := range []string{
		"row 1: column messages is null, want a list of {role, content} or {from, value}",
		"row 2: no messages",
		"row 3: column messages: message 1: it is null",
		`user: q3, assistant:  {tool_calls: [{"type":"function","function":{"name":"w","arguments":{"city":"Bern","n":"1"}}}]} {content: null}, tool: sunny {name: "w"}, assistant: fine3, [tools: [{"type":"function"}]]`,
		`user: q4, assistant:  {tool_calls: [{"type":"function","function":{"name":"w","arguments":{"city":"Bern","n":"1"}}}]} {content: null}, tool: sunny {name: "w"}, assistant: fine4, [tools: [{"type":"function"}]]`,
	} {
		sample, err := s.At(i)
		got := said(sample)
		if err != nil {
			got = strings.TrimPrefix(err.Error(), "testdata/nulls.parquet:")
		}
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

const (
	hello  = `{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}`
	helped = "user: Hi, assistant: Hello"
	bom    = "\ufeff"
)

func utf16Of(text string, order binary.AppendByteOrder, mark bool) string {
	var b []byte
	if mark {
		text = bom + text
	}
	for _, unit := range utf16.Encode([]rune(text)) {
		b = order.AppendUint16(b, unit)
	}
	return string(b)
}

// TestLineCases reads files of JSON as people have them.
func TestLineCases(t *testing.T) {
	call := `{"role": "assistant", "content": %s, "tool_calls": [{"id": "1", "function": {"name": "w", "arguments": "{}"}}]}`
	calling := func(content string) string {
		return `{"messages": [{"role": "user", "content": "Weather?"}, ` + fmt.Sprintf(call, content) +
			`, {"role": "tool", "content": "sunny", "tool_call_id": "1", "name": null}, {"role": "assistant", "content": "Sunny."}], "tools": "[{\"type\": \"function\"}]"}`
	}
	calls := ` {tool_calls: [{"id": "1", "function": {"name": "w", "arguments": "{}"}}]}`
	after := `, tool: sunny {tool_call_id: "1"}, assistant: Sunny., [tools: [{"type": "function"}]]`
	for name, c := range map[string]struct{ text, want string }{
		"BOM":                    {bom + hello, helped},
		"line ends of Windows":   {"\r\n" + hello + "\r\n\r\n" + hello + "\r\n", helped},
		"array":                  {"[" + hello + ",\n" + hello + "]\n", helped},
		"array behind a BOM":     {bom + " [\n" + hello + "\n,\n" + hello + "\n]", helped},
		"array cut off":          {"[" + hello + ",\n" + hello[:30], ` the JSON array ends in its row 2: no ] at byte 125, where the file ends`},
		"array, bad row":         {"[" + hello + `, {"messages": 5}]`, "row 2: column messages: found a JSON number, want a list of {role, content} or {from, value}"},
		"array, no comma":        {"[" + hello + hello + "]", "row 1: not a JSON object: invalid character '{' after top-level value"},
		"array, comma too many":  {"[" + hello + ",,]", ` byte 94: a comma in the JSON array without a row before it`},
		"behind the array":       {"[" + hello + "]\n" + hello, ` '{' follows the JSON array that ends at byte 94: want one array, or one object a line`},
		"empty array":            {"[ ]", " no rows"},
		"pretty-printed":         {"{\n \"text\":\n \"a\"\n}\n{\n \"text\":\n \"b\"\n}", "line 1: its JSON object goes on over 4 lines: want one object a line (jq -c . makes it so), or one array of objects"},
		"cut off in the middle":  {hello + "\n" + hello[:40] + "\n" + hello, "line 2: not a JSON object: unexpected end of JSON input"},
		"UTF-16LE":               {utf16Of(hello, binary.LittleEndian, true), " the text is in UTF-16LE from byte 0 on, want UTF-8: convert it, as with iconv -f UTF-16LE -t UTF-8"},
		"UTF-16BE":               {utf16Of(hello, binary.BigEndian, true), " the text is in UTF-16BE from byte 0 on, want UTF-8: convert it, as with iconv -f UTF-16BE -t UTF-8"},
		"UTF-16LE without a BOM": {utf16Of(hello, binary.LittleEndian, false), " the text is in UTF-16LE from byte 0 on, want UTF-8: convert it, as with iconv -f UTF-16LE -t UTF-8"},
		"UTF-16BE without a BOM": {utf16Of(hello, binary.BigEndian, false), " the text is in UTF-16BE from byte 0 on, want UTF-8: convert it, as with iconv -f UTF-16BE -t UTF-8"},
		"Latin-1":                {hello + "\n{\"text\": \"caf\xe9\"}", "line 2: byte 13 (0xe9) is not UTF-8; the row begins at byte 93 of the file"},
		"zeros":                  {hello + "\n{\"text\": \"a\x00b\"}", "line 2: byte 11 is 0: binary data, not a text; the row begins at byte 93 of the file"},
		"escaped zero":           {`{"text": "a\u0000b"}`, "line 1: column text: its text: byte 1 is 0: binary data, not a text"},
		"half a character":       {`{"text": "a\\\ud83d\u0041"}`, `line 1: byte 13: \ud83d is half a character of UTF-16, without its other half; the row begins at byte 0 of the file`},
		"whole characters":       {`{"text": "\ud83d\ude00 \\ud83d \u00e9"}`, `text: 😀 \ud83d é`},
		"Git LFS":                {"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", " a pointer of Git LFS and not the file itself: run git lfs pull where it is"},
		"parquet":                {"PAR1", " a parquet file: give it a name that ends in .parquet"},
		"gzip":                   {string(zipped(t, hello)), " packed with gzip: give it a name that ends in .jsonl.gz, or unpack it"},
		"tool call, null":        {calling("null"), "user: Weather?, assistant: " + calls + " {content: null}" + after},
		"tool call, empty":       {calling(`""`), "user: Weather?, assistant: " + calls + after},
		"tool call, content":     {calling(`"Let me look."`), "user: Weather?, assistant: Let me look." + calls + after},
		"reasoning":              {`{"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "reasoning_content": "easy", "content": ""}]}`, `user: 2+2?, assistant:  {reasoning_content: "easy"}`},
		"null content":           {`{"messages": [{"role": "user", "content": null}, {"role": "assistant", "content": "x"}]}`, "line 1: column messages: message 1: no content, and no tool_calls instead of it"},
		"no role":                {`{"messages": [{"role": null, "content": "a"}]}`, "line 1: column messages: message 1: no role"},
		"parts":                  {`{"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": " you"}]}, {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]}]}`, "user: Hi you, assistant: Hello"},
		"image":                  {`{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}`, `line 1: column messages: message 1: content: part 1 is of the type "image_url": only parts of the type text can be learned from`},
		"developer":              {`{"messages": [{"role": "developer", "content": "d"}, {"role": "user", "content": "q", "name": "Ann", "weight": 0}, {"role": "assistant", "content": "a"}]}`, `developer: d, user: q {name: "Ann"} {weight: 0}, assistant: a`},
		"template's variables":   {`{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "tools": null, "documents": [{"text": "d"}], "chat_template_kwargs": {"enable_thinking": false}}`, `user: q, assistant: a, [documents: [{"text": "d"}]], [enable_thinking: false]`},
		"tools that are none":    {`{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "tools": "none"}`, `line 1: column tools: found the string "none", which is not JSON`},
		"number as answer":       {`{"context": "c", "input": "i", "answers": [42]}`, "line 1: column answers: found a JSON number, want a string or a list of strings"},
		"null answer":            {`{"context": "c", "input": "i", "answers": ["a", null]}`, "line 1: column answers: answer 2 is null"},
		"null context":           {`{"context": null, "input": "code?", "answers": ["x"]}`, "line 1: column context is null, want a string"},
		"empty context":          {`{"context": "", "input": "code?", "answers": ["x"]}`, "user: \n\ncode?, assistant: x"},
		"two answers":            {`{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "assistant", "content": "c"}]}`, "line 1: messages 2 and 3 are both the assistant's"},
	} {
		for _, ending := range []string{".jsonl", ".jsonl.gz", ".json"} {
			content := []byte(c.text)
			if ending == ".jsonl.gz" {
				if name == "Git LFS" {
					continue
				}
				content = zipped(t, c.text)
			}
			if got := read(write(t, "a"+ending, content), data.Options{}); got != c.want {
				t.Errorf("%s, %s:\ngot  %s\nwant %s", name, ending, got, c.want)
			}
		}
	}
	if got := read(write(t, "a.parquet", []byte("version https://git-lfs.github.com/spec/v1\n")), data.Options{}); !strings.Contains(got, "run git lfs pull") {
		t.Error(got)
	}
}

// TestRecognisedForms reads rows of every form, recognised and by name.
func TestRecognisedForms(t *testing.T) {
	for _, c := range []struct {
		format    data.Format
		row, want string
		form      string // what Source.Form says behind the format
	}{
		{data.FormatMessages, hello, helped, " (columns messages)"},
		{data.FormatMessages, `{"messages": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}], "text": "t"}`, helped, " (columns messages)"},
		{data.FormatShareGPT, `{"conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}`, "system: s, " + helped, " (columns conversations)"},
		{data.FormatShareGPT, `{"conversations": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}], "system": "s", "tools": [{"name": "f"}]}`, "system: s, " + helped + `, [tools: [{"name": "f"}]]`, " (columns conversations, system, tools)"},
		{data.FormatShareGPT, `{"conversations": [{"from": "human", "value": "Hi"}, {"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {\"x\": 1}}"}, {"from": "observation", "value": "o"}, {"from": "gpt", "value": "Hello"}]}`, `user: Hi, assistant:  {content: null} {tool_calls: [{"function":{"name":"f","arguments":{"x":1}},"type":"function"}]}, tool: o, assistant: Hello`, " (columns conversations)"},
		{data.FormatShareGPT, `{"conversations": [{"from": "humen", "value": "Hi"}]}`, `line 1: column conversations: message 1: from is "humen"; did you mean "human"? It must be one of human, user, gpt, assistant, system, tool, observation, function_response, function_call`, " (columns conversations)"},
		{data.FormatShareGPT, `{"conversations": [{"from": "human", "value": "Hi"}, {"from": "function_call", "value": "f()"}]}`, `line 1: column conversations: message 2: the value of a function_call is not {"name": …, "arguments": …} in JSON: invalid character '(' in literal false (expecting 'a')`, " (columns conversations)"},
		{data.FormatLongBench, `{"context": "c", "input": "i", "answers": ["a", "b"], "question": "q"}`, "user: c\n\ni, assistant: a", " (columns context, input, answers)"},
		{data.FormatQA, `{"context": "c", "question": "q", "answers": {"text": ["a", "b"], "answer_start": [0, 1]}}`, "user: c\n\nq, assistant: a", " (columns question, context, answers)"},
		{data.FormatQA, `{"context": "c", "question": "q", "answers": ["a"], "text": "t"}`, "user: c\n\nq, assistant: a", " (columns question, context, answers)"},
		{data.FormatQA, `{"context": "c", "question": "q", "answers": {"text": []}}`, "line 1: no answer: the list of answers is empty", " (columns question, context, answers)"},
		{data.FormatQA, `{"context": null, "question": "q", "answers": {"text": ["a"]}}`, "line 1: column context is null, want a string", " (columns question, context, answers)"},
		{data.FormatAlpaca, `{"instruction": "Say hi", "input": "", "output": "Hi.", "text": "t"}`, "user: Say hi, assistant: Hi.", " (columns instruction, output, input)"},
		{data.FormatAlpaca, `{"instruction": "Add", "input": "1 2", "output": "3", "system": "s", "history": [["a", "b"]]}`, "system: s, user: a, assistant: b, user: Add\n1 2, assistant: 3", " (columns instruction, output, input, system, history)"},
		{data.FormatAlpaca, `{"instruction": null, "output": "3"}`, "line 1: column instruction is null, want a string", " (columns instruction, output)"},
		{data.FormatAlpaca, `{"instruction": "a", "output": "3", "history": [["a"]]}`, "line 1: history: number 1 has 1 strings, want an instruction and its answer", " (columns instruction, output, history)"},
		{data.FormatPrompt, `{"prompt": "p", "completion": "c"}`, "user: p, assistant: c", " (columns prompt, completion)"},
		{data.FormatPrompt, `{"prompt": [{"role": "user", "content": "p"}], "completion": [{"role": "assistant", "content": "c"}]}`, "user: p, assistant: c", " (columns prompt, completion)"},
		{data.FormatPrompt, `{"prompt": "p", "completion": 5}`, "line 1: column completion: found a JSON number, want a list of {role, content} or {from, value}", " (columns prompt, completion)"},
		{data.FormatText, `{"text": "t", "prompt": "p"}`, "text: t", " (columns text)"},
	} {
		path := write(t, "a.jsonl", []byte(c.row))
		for _, o := range []data.Options{{}, {Format: c.format}} {
			s, err := data.Open(path, o)
			if err != nil {
				t.Errorf("%s: %v", c.row, err)
				continue
			}
			if s.Format() != c.format || s.Form() != string(c.format)+c.form {
				t.Errorf("%s is read as %s, want %s%s", c.row, s.Form(), c.format, c.form)
			}
			var said bytes.Buffer
			s.Announce(&said)
			if want := path + ": 1 rows of the form " + s.Form() + "\n"; said.String() != want {
				t.Errorf("announced %q, want %q", said.String(), want)
			}
			_ = s.Close()
			if got := read(path, o); got != c.want {
				t.Errorf("%s:\ngot  %s\nwant %s", c.row, got, c.want)
			}
		}
	}
}

// TestLaterColumns: a column that the first row of lines does not have is read where another
// row has it.
func TestLaterColumns(t *testing.T) {
	for rows, want := range map[string]string{
		hello + "\n" + `{"system": "s", "tools": [1], "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}`: "system: s, " + helped + ", [tools: [1]]",
		`[{"instruction": "a", "output": "b"}, {"instruction": "a", "output": "b", "input": "i", "history": [["c", "d"]]}]`:                        "user: c, assistant: d, user: a\ni, assistant: b",
	} {
		s := open(t, write(t, "a.jsonl", []byte(rows)))
		sample, err := s.At(1)
		if err != nil {
			t.Fatal(err)
		}
		if got := said(sample); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", rows, got, want)
		}
	}
}

// TestFirstRowBad: a row that cannot be read is as bad where it is the first one as elsewhere.
func TestFirstRowBad(t *testing.T) {
	s := open(t, write(t, "a.jsonl", []byte("{\"messages\"\n"+hello+"\n")))
	if _, err := s.At(0); err == nil || !strings.Contains(err.Error(), "line 1: not a JSON object") {
		t.Errorf("row 1: got %v", err)
	}
	if sample, err := s.At(1); err != nil || said(sample) != helped {
		t.Errorf("row 2: got %s, %v", said(sample), err)
	}
}

// TestForcedForm: a row that could be of two forms is what the options say, and other
// columns than the usual ones are read by name.
func TestForcedForm(t *testing.T) {
	path := write(t, "a.jsonl", []byte(`{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}], "instruction": "do", "context": "with", "response": "done", "text": "t"}`))
	for want, o := range map[string]data.Options{
		helped:                            {},
		"text: t":                         {Format: data.FormatText},
		"user: do\nwith, assistant: done": {Columns: data.Columns{Instruction: "instruction", Input: "context", Output: "response"}},
		"user: do, assistant: done":       {Format: data.FormatPrompt, Columns: data.Columns{Prompt: "instruction", Completion: "response"}},
		" no column output: the file has context, instruction, messages, response, text":                                        {Format: data.FormatAlpaca},
		`format is "alpacca"; did you mean "alpaca"? It must be one of messages, sharegpt, longbench, qa, alpaca, prompt, text`: {Format: "alpacca"},
	} {
		if got := read(path, o); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestRowNumbers: blank lines are no rows, and lines count with them.
func TestRowNumbers(t *testing.T) {
	path := write(t, "a.jsonl", []byte("\n\n{\"text\": \"3\"}\n{\"text\": \"4\"}\n\n \t\n{\"text\": \"7\"}\n{\"text\": \"8\"}\n\n{\"text\": \"10\"}"))
	s, err := data.Open(path, data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range s.Len() {
		sample, err := s.At(i)
		if err != nil {
			t.Fatal(err)
		}
		if want := path + ":line " + sample.Text; sample.Where != want {
			t.Errorf("got %s, want %s", sample.Where, want)
		}
	}
	if s.Len() != 5 {
		t.Errorf("%d rows, want 5", s.Len())
	}
}

// TestIndexIsSmall: of a line no more is kept than 16 bytes, nor taken on the way.
func TestIndexIsSmall(t *testing.T) {
	const n = 1 << 16
	for name, line := range map[string]string{"lines": "{\"text\": \"a\"}\n", "blank lines": "{\"text\": \"a\"}\n\n"} {
		path := write(t, "a.jsonl", bytes.Repeat([]byte(line), n))
		var before, after runtime.MemStats
		kept := held()
		runtime.ReadMemStats(&before)
		s, err := data.Open(path, data.Options{})
		if err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		for what, bytes := range map[string]uint64{"kept": held() - kept, "taken": after.TotalAlloc - before.TotalAlloc} {
			if got := int64(bytes) / n / int64(strings.Count(line, "\n")); got > 16 {
				t.Errorf("%s: %d bytes a line %s, want at most 16", name, got, what)
			}
		}
		_ = s.Close()
	}
}

// TestSharedCases reads the files themselves, where they are.
func TestSharedCases(t *testing.T) {
	dir := filepath.Join("..", "..", "shared", "cases", "inputs")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no shared cases")
	}
	for name, want := range map[string]string{
		"alpaca": "user: Say hi, assistant: Hi.", "array": "user: How are you?, assistant: Fine.", "bom": "user: How are you?, assistant: Fine.",
		"consecutive-assistant": "line 1: messages 2 and 3 are both the assistant's",
		"intanswer":             "line 1: column answers: found a JSON number, want a string or a list of strings",
		"nullcontext":           "line 1: column context is null, want a string",
		"parts":                 "user: Hello, assistant: Hi.",
		"reasoning":             `user: 2+2?, assistant: 4 {reasoning_content: "easy"}`,
		"sharegpt":              "user: Hello, assistant: Hi.",
		"trailing-garbage":      "line 2: not a JSON object: unexpected end of JSON input",
		"utf16":                 " the text is in UTF-16LE from byte 0 on, want UTF-8: convert it, as with iconv -f UTF-16LE -t UTF-8",
	} {
		if got := read(filepath.Join(dir, "jsonl-"+name, "data.jsonl"), data.Options{}); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
	}
}
