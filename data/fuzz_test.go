package data_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/data"
)

// fuzzFile reads arbitrary bytes as a data file: it must not panic, and an error must
// name the file.
func fuzzFile(f *testing.F, name string) {
	path := filepath.Join(f.TempDir(), name)
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		samples, err := readAll(path, data.Options{})
		if err != nil && !strings.HasPrefix(err.Error(), path) {
			t.Errorf("the error does not name the file: %v", err)
		}
		for _, s := range samples {
			if err := s.Check(); err != nil {
				t.Errorf("a sample that cannot be used was read: %v", err)
			}
		}
	})
}

func FuzzLines(f *testing.F) {
	for _, s := range []string{
		`{"_id":1,"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`,
		`{"context":"a: x\nb: y","input":"Who?","answers":["b"],"length":5,"depth":0.5,"dataset":null}`,
		"\n{\"text\":\"t\"}\r\n\n{\"text\":\"\\u00e9\"}",
		`{"messages":[{"role":`, `[]`, "\xff\xfe",
		`[{"text": "a"}, {"text": "b\\"]"}]`, `{"conversations":[{"from":"human","value":"q"},{"from":"function_call","value":"{\"name\":1}"}]}`,
		`{"question":"q","context":"c","answers":{"text":["a"]}}`, `{"prompt":[{"role":"user","content":[{"type":"text","text":"\ud83d\ude00"}]}],"completion":"c","tools":"[]"}`,
	} {
		f.Add([]byte(s))
	}
	fuzzFile(f, "a.jsonl")
}

func FuzzGzip(f *testing.F) {
	for _, s := range []string{"{\"text\": \"a\"}\n\n[", `[{"text": "a"}, {"text": "b"}]`, ""} {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := z.Write([]byte(s)); err != nil || z.Close() != nil {
			f.Fatal(err)
		}
		f.Add(packed.Bytes())
		f.Add(packed.Bytes()[:packed.Len()-4])
	}
	fuzzFile(f, "a.jsonl.gz")
}

func FuzzParquet(f *testing.F) {
	f.Add(parquetOf(f, chatRow{7, []message{{"user", "Hi", 0}, {"assistant", "Hello", 1}}}))
	f.Add(parquetOf(f, longRow{"x", "set", "a: x\nb: y", "Who?", []string{"b", "B"}, 5, ptr(0.5)}, longRow{"x", "set", "c", "i", []string{"a"}, 5, nil}))
	f.Add(parquetOf[chatRow](f))
	for _, name := range []string{"shift", "chat_constant", "nulls"} {
		b, err := os.ReadFile(filepath.Join("testdata", name+".parquet"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("PAR1\x00\x00\x00\x00PAR1"))
	fuzzFile(f, "a.parquet")
}
