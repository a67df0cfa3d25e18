package tokenizer

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model/hf/hftest"
)

// fromGGUF converts a tokenizer's vocabulary to GGUF and returns the file's path. BOS and
// EOS are ids.
func fromGGUF(t testing.TB, name, pre string, bos, eos uint32) string {
	t.Helper()
	w := &hftest.GGUF{}
	w.PutVocabulary(t, testfiles.Tokenizer(t, name), pre)
	w.Put("tokenizer.ggml.bos_token_id", bos)
	w.Put("tokenizer.ggml.eos_token_id", eos)
	return w.Write(t)
}

// TestGGUFTokenizer: the vocabulary in a GGUF file is the tokenizer that the goldens of
// its folder were made with, from the file and from the folder that it is in.
func TestGGUFTokenizer(t *testing.T) {
	path := fromGGUF(t, "qwen3", "qwen2", 151643, 151645)
	tk, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	compareGolden(t, tk, "tokenizer/qwen3.json")
	if tk.EOS() != "<|im_end|>" {
		t.Errorf("EOS is %q", tk.EOS())
	}
	was, err := LoadTemplate(testfiles.Golden(t, "qwen3"))
	if err != nil {
		t.Fatal(err)
	}
	if template, err := LoadTemplate(path); err != nil || template.Source() != was.Source() {
		t.Errorf("the template is another one (%v)", err)
	}

	path = fromGGUF(t, "stories260k", "", 1, 2)
	if tk, err = Load(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	compareStories(t, tk)
	if _, err := LoadTemplate(path); !errors.Is(err, ErrNoTemplate) {
		t.Errorf("got %v, want no template", err)
	}
	wantFiles(t, path)
}

// wantFiles: the files that Files makes of a GGUF file are the same tokenizer.
func wantFiles(t *testing.T, path string) {
	t.Helper()
	files, err := Files(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tk, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	compareStories(t, tk)
	if again, err := Files(dir); err != nil || !reflect.DeepEqual(again, files) {
		t.Errorf("of its own files, Files makes others (%v)", err)
	}
}

// TestGGUFWords: digits apart, whole words before merges, BOS where a family has it, and
// tokens that are no text.
func TestGGUFWords(t *testing.T) {
	vocabulary := func(pre string, more func(w *hftest.GGUF)) *Tokenizer {
		w := &hftest.GGUF{}
		tokens := append(strings.Split(byteAlphabet, ""), "12", "ab", "abc", "<s>", "<think>", "[PAD]")
		types := make([]int32, len(tokens))
		for i := range types {
			types[i] = 1
		}
		types[259], types[260], types[261] = 3, 4, 5
		w.Put("tokenizer.ggml.model", "gpt2")
		w.Put("tokenizer.ggml.pre", pre)
		w.Put("tokenizer.ggml.tokens", tokens)
		w.Put("tokenizer.ggml.token_type", types)
		w.Put("tokenizer.ggml.merges", []string{"1 2", "a b"})
		w.Put("tokenizer.ggml.bos_token_id", uint32(259))
		if more != nil {
			more(w)
		}
		tk, err := Load(w.Write(t))
		if err != nil {
			t.Fatal(err)
		}
		return tk
	}
	id := func(char string) int32 { return int32(slices.Index(strings.Split(byteAlphabet, ""), char)) }
	one, two, c := id("1"), id("2"), id("c")
	for name, tc := range map[string]struct {
		tk   *Tokenizer
		want []int32
	}{
		"gpt-2":     {vocabulary("gpt-2", nil), []int32{256, 257, c, 260}},
		"smollm":    {vocabulary("smollm", nil), []int32{one, two, 257, c, 260}},
		"llama-bpe": {vocabulary("llama-bpe", nil), []int32{259, 256, 258, 260}},
		"tekken":    {vocabulary("tekken", nil), []int32{259, one, two, 258, 260}},
		"no BOS": {
			vocabulary("llama-bpe", func(w *hftest.GGUF) { w.Put("tokenizer.ggml.add_bos_token", false) }),
			[]int32{256, 258, 260},
		},
	} {
		if got := tc.tk.Encode("12abc<think>", true); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
		if got := tc.tk.Decode([]int32{259, 256, 261, 260}, true); got != "12<think>" {
			t.Errorf("%s: decoded %q", name, got)
		}
	}
}

// TestGGUFPhi3: special tokens of its chats take the white space behind them.
func TestGGUFPhi3(t *testing.T) {
	for arch, want := range map[string][]int32{"phi3": {1, 5, 3, 4, 3}, "llama": {1, 5, 3, 2, 4, 3}} {
		w := &hftest.GGUF{}
		w.Put("general.architecture", arch)
		w.Put("tokenizer.ggml.model", "llama")
		w.Put("tokenizer.ggml.tokens", []string{"<unk>", "<s>", "\n", "▁", "a", "<|user|>"})
		w.Put("tokenizer.ggml.scores", make([]float32, 6))
		w.Put("tokenizer.ggml.token_type", []int32{2, 3, 1, 1, 1, 3})
		w.Put("tokenizer.ggml.bos_token_id", uint32(1))
		tk, err := Load(w.Write(t))
		if err != nil {
			t.Fatal(err)
		}
		if got := tk.Encode("<|user|>\na ", true); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", arch, got, want)
		}
	}
}

func TestGGUFTokenizerErrors(t *testing.T) {
	for want, build := range map[string]func(w *hftest.GGUF){
		"tokenizer.ggml.tokens is missing: the file has no vocabulary; put the model's tokenizer.json and tokenizer_config.json beside the file": func(*hftest.GGUF) {},
		`tokenizer.ggml.pre is "mpt", want one of dbrx, deepseek-r1-qwen, gpt-2,`: func(w *hftest.GGUF) {
			w.Put("tokenizer.ggml.tokens", []string{"a"})
			w.Put("tokenizer.ggml.model", "gpt2")
			w.Put("tokenizer.ggml.pre", "mpt")
		},
		`tokenizer.ggml.model is "bert", want gpt2 or llama`: func(w *hftest.GGUF) {
			w.Put("tokenizer.ggml.tokens", []string{"a"})
			w.Put("tokenizer.ggml.model", "bert")
		},
		"tokenizer.ggml.scores is missing": func(w *hftest.GGUF) {
			w.Put("tokenizer.ggml.tokens", []string{"a"})
			w.Put("tokenizer.ggml.model", "llama")
		},
		"tokenizer.ggml.scores has 1 entries for 2 tokens": func(w *hftest.GGUF) {
			w.Put("tokenizer.ggml.tokens", []string{"a", "b"})
			w.Put("tokenizer.ggml.scores", []float32{0})
		},
		"tokenizer.ggml.token_type has 1 entries for 2 tokens": func(w *hftest.GGUF) {
			w.Put("tokenizer.ggml.tokens", []string{"a", "b"})
			w.Put("tokenizer.ggml.token_type", []int32{1})
		},
		"tokenizer.ggml.tokens[0] has 300 bytes, want at most 256": func(w *hftest.GGUF) {
			w.Put("tokenizer.ggml.tokens", []string{strings.Repeat("a", 300)})
			w.Put("tokenizer.ggml.scores", []float32{0})
			w.Put("tokenizer.ggml.model", "llama")
		},
		"tokenizer.ggml.tokens can be cut into others in more than 800 ways, 8 for each": func(w *hftest.GGUF) {
			var tokens []string
			for n := range 100 {
				tokens = append(tokens, strings.Repeat("a", n+1))
			}
			w.Put("tokenizer.ggml.tokens", tokens)
			w.Put("tokenizer.ggml.scores", make([]float32, 100))
			w.Put("tokenizer.ggml.model", "llama")
		},
		"model.merges is missing": func(w *hftest.GGUF) {
			w.Put("tokenizer.ggml.tokens", []string{"a"})
			w.Put("tokenizer.ggml.model", "gpt2")
			w.Put("tokenizer.ggml.pre", "gpt-2")
		},
	} {
		w := &hftest.GGUF{}
		build(w)
		path := w.Write(t)
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
	path := fromGGUF(t, "stories260k", "", 1, 2) // a tokenizer.json beside the file comes first
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "tokenizer.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "tokenizer.json: invalid JSON") {
		t.Errorf("got %v", err)
	}
}

// TestGGUFAllocatesLittle reads vocabularies of the shortest tokens, and of ones that can
// be cut in many ways.
func TestGGUFAllocatesLittle(t *testing.T) {
	short, types := make([]string, 1<<15), make([]int32, 1<<15)
	for i := range short {
		short[i], types[i] = strconv.FormatInt(int64(i), 36), 3
	}
	var long []string
	for c := range 1000 {
		for n := range 16 {
			long = append(long, strings.Repeat(string(rune(0x4e00+c)), n+1))
		}
	}
	for name, build := range map[string]func(w *hftest.GGUF){
		"short": func(w *hftest.GGUF) {
			w.Put("tokenizer.ggml.tokens", short)
			w.Put("tokenizer.ggml.token_type", types)
			w.Put("tokenizer.ggml.scores", make([]float32, len(short)))
		},
		"long": func(w *hftest.GGUF) {
			w.Put("tokenizer.ggml.tokens", long)
			w.Put("tokenizer.ggml.scores", make([]float32, len(long)))
		},
	} {
		w := &hftest.GGUF{}
		w.Put("tokenizer.ggml.model", "llama")
		build(w)
		path := w.Write(t)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := Load(path); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		factor := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(w.Bytes()))
		t.Logf("%s: allocated %.1f times the file's size", name, factor)
		if factor > 150 { // all in all; most of it is free again soon
			t.Errorf("%s: allocated %.0f times the file's size", name, factor)
		}
	}
}

// FuzzGGUF reads the vocabulary of any GGUF file.
func FuzzGGUF(f *testing.F) {
	for _, kind := range []string{"llama", "gpt2"} {
		w := &hftest.GGUF{}
		w.Put("tokenizer.ggml.model", kind)
		w.Put("tokenizer.ggml.pre", "smollm")
		w.Put("tokenizer.ggml.tokens", []string{"a", "b", "ab", "<s>", "<unk>"})
		w.Put("tokenizer.ggml.scores", []float32{0, 0, -1, 0, 0})
		w.Put("tokenizer.ggml.token_type", []int32{1, 1, 1, 3, 2})
		w.Put("tokenizer.ggml.merges", []string{"a b"})
		w.Put("tokenizer.ggml.bos_token_id", uint32(3))
		f.Add(w.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "model.gguf")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if tk, err := Load(path); err == nil {
			tk.Decode(tk.Encode(" ab a<s>\n", true), false)
		}
	})
}
