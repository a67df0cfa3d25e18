package inspect_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/inspect"
	"eisft/model/hf"
)

// TestErrors are paths of which nothing can be said.
func TestErrors(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"notes.md": "x", "empty.jsonl": "", "short.safetensors": "abc", "bad.onnx": "abc",
		"cut.parquet": "PAR1abc", "other.jsonl": `{"question": "?"}`, "strange/notes.md": "x",
	} {
		write(t, filepath.Join(dir, name), text)
	}
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o777); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"absent":            "there is no such file or folder",
		"notes.md":          "want one that ends in .gguf, .safetensors, .onnx, .tflite, .yaml, .parquet, .jsonl, .jsonl.gz, .jsonl.zst, .json, .json.gz, .json.zst, .csv, .csv.gz, .csv.zst, .txt, .txt.gz, .txt.zst, or a folder",
		"strange":           "found notes.md, want a folder with one of config.yaml, manifest.json,",
		"empty":             "found an empty folder, want",
		"empty.jsonl":       "no rows",
		"short.safetensors": "found 3 bytes, want at least the 8",
		"bad.onnx":          "not an ONNX file",
		"cut.parquet":       "cut.parquet",
		"other.jsonl":       "no column context: the file has question",
	} {
		_, err := inspect.Path(t.Context(), filepath.Join(dir, name), inspect.Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want one that contains %q", name, err, want)
		}
	}
}

// smallBase writes a model of the demo base's kind with one layer of width 8.
func smallBase(t *testing.T, change func([]hf.Entry) []hf.Entry) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"config.json", "tokenizer.json", "tokenizer_config.json"} {
		text, err := os.ReadFile(filepath.Join(demoBase, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(text))
	}
	config := filepath.Join(dir, "config.json")
	for _, key := range []string{"hidden_size\": 256", "intermediate_size\": 768", "num_hidden_layers\": 8", "num_attention_heads\": 4", "num_key_value_heads\": 2", "head_dim\": 64"} {
		name, _, _ := strings.Cut(key, ":")
		size := "1"
		if strings.HasSuffix(name, "size\"") || strings.HasPrefix(name, "head_dim") {
			size = "8"
		}
		replaceIn(t, config, key, name+": "+size)
	}
	vector := func(name string) hf.Entry {
		return hf.Entry{Name: name + ".weight", Shape: []int{8}, Data: make([]float32, 8)}
	}
	entries := []hf.Entry{
		{Name: "model.embed_tokens.weight", Shape: []int{4096, 8}, Data: make([]float32, 4096*8)},
		vector("model.norm"), vector("model.layers.0.input_layernorm"), vector("model.layers.0.post_attention_layernorm"),
	}
	for _, name := range []string{"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"} {
		entries = append(entries, hf.Entry{Name: "model.layers.0." + name + ".weight", Shape: []int{8, 8}, Data: make([]float32, 64)})
	}
	if err := hf.WriteFile(filepath.Join(dir, "model.safetensors"), change(entries), nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

// replaceIn replaces text in a file.
func replaceIn(t *testing.T, path, from, to string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(from)) {
		t.Fatalf("%s has no %q", path, from)
	}
	write(t, path, strings.ReplaceAll(string(text), from, to))
}

// TestProblems damages a model.
func TestProblems(t *testing.T) {
	const weights, query = "model.safetensors", "model.layers.0.self_attn.q_proj.weight"
	at := func(entries []hf.Entry) int {
		return slices.IndexFunc(entries, func(e hf.Entry) bool { return e.Name == query })
	}
	same := func(e []hf.Entry) []hf.Entry { return e }
	edit := func(file, from, to string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { replaceIn(t, filepath.Join(dir, file), from, to) }
	}
	for _, tc := range []struct {
		name    string
		tensors func([]hf.Entry) []hf.Entry
		files   func(t *testing.T, dir string)
		want    string // "": no problem
	}{
		{"sound", same, nil, ""},
		{"unknown architecture", same, edit("config.json", "LlamaForCausalLM", "MambaForCausalLM"), `found ["MambaForCausalLM"], want one of `},
		{"shape", same, edit("config.json", `"intermediate_size": 8`, `"intermediate_size": 9`), "mlp.gate_proj.weight has shape [8 8], but config.json makes it [9 8]"},
		{"template", same, edit("tokenizer_config.json", "{% endif %}", ""), "chat_template"},
		{"merges", same, edit("tokenizer.json", `"merges"`, `"nerges"`), "tokenizer.json"},
		{"truncated", same, func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, weights), 5000); err != nil {
				t.Fatal(err)
			}
		}, "the file is damaged or incomplete"},
		{"missing", func(e []hf.Entry) []hf.Entry { return slices.Delete(e, at(e), at(e)+1) }, nil, query + " is not in the checkpoint"},
		{"extra", func(e []hf.Entry) []hf.Entry {
			return append(e, hf.Entry{Name: "model.layers.0.router.weight", Shape: []int{1}, Data: []float32{1}})
		}, nil, "tensor model.layers.0.router.weight has no place in a LlamaForCausalLM"},
		{"nan", func(e []hf.Entry) []hf.Entry {
			e[at(e)].Data.([]float32)[7] = float32(math.NaN())
			return e
		}, nil, query + " holds NaN at index 7 of 64"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := smallBase(t, tc.tensors)
			if tc.files != nil {
				tc.files(t, dir)
			}
			r, got := describe(t, dir, inspect.Options{})
			if (r.Err() == nil) != (tc.want == "") {
				t.Fatalf("problems: %q", r.Problems)
			}
			_, problems, _ := strings.Cut(got, "problems\n")
			wantText(t, problems, tc.want)
		})
	}
}

// TestBadRows describes what is good in a file and names what is not.
func TestBadRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chats.jsonl")
	good := `{"messages":[{"role":"user","content":"?"},{"role":"assistant","content":"!"}]}` + "\n"
	bad := `{"messages":[{"role":"user","content":"?"}]}` + "\n"
	write(t, path, good+strings.Repeat(bad, 5)+good)
	_, got := describe(t, path, inspect.Options{})
	wantText(t, got, "rows     7", "line 2: no answer", "2 more rows of the first 7 cannot be used")
}

// kinds are the files by which a path is recognised; garbage in any of them
// gives an error or a report.
var kinds = []string{
	"config.yaml", "manifest.json", "encodings.json", "adapter_config.json", "config.json", "x.gguf", "x.onnx", "x.tflite",
	"x.safetensors", "x.parquet", "x.jsonl", "x.jsonl.gz", "metrics.jsonl", "eval.json", "adapter.safetensors", "report.json",
}

func inspectGarbage(t *testing.T, kind string, content []byte) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, kind), string(content))
	companion := map[string]string{"metrics.jsonl": "config.yaml", "eval.json": "config.yaml", "adapter.safetensors": "adapter_config.json", "report.json": "encodings.json"}[kind]
	if companion != "" {
		write(t, filepath.Join(dir, companion), "{}")
	}
	for _, path := range []string{dir, filepath.Join(dir, kind)} {
		r, err := inspect.Path(t.Context(), path, inspect.Options{})
		if err != nil {
			continue
		}
		printed(t, r)
		if _, err := json.Marshal(r); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

var garbage = []string{"", "\x00", "null", "[]", "{}", "{\"schema\":1}", "{", "PAR1", "GGUF\x03\x00\x00\x00", strings.Repeat("\xff", 100), `{"stage":-1}`, `{"before":[null],"after":[{}]}`}

func TestGarbage(t *testing.T) {
	for _, kind := range kinds {
		for _, content := range garbage {
			inspectGarbage(t, kind, []byte(content))
		}
	}
}

func FuzzPath(f *testing.F) {
	for i := range kinds {
		for _, content := range garbage {
			f.Add(uint8(i), []byte(content))
		}
	}
	state := []byte(`{"__metadata__":{"format":"eisft-state-2","state":"{}"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`)
	f.Add(uint8(7), slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(state))), state, make([]byte, 4)))
	f.Fuzz(func(t *testing.T, kind uint8, content []byte) {
		inspectGarbage(t, kinds[int(kind)%len(kinds)], content)
	})
}

// TestMergedAdapter: a model in whose folder an adapter's description was left is a model, with
// a word about it.
func TestMergedAdapter(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../model/demo")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "adapter_config.json"), `{"peft_type": "LORA", "base_model_name_or_path": "org/base"}`)
	r, err := inspect.Path(t.Context(), dir, inspect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := "adapter_config.json describes a PEFT adapter, which is not read: transformers would read org/base with it in place of the weights here; delete the file if the adapter is merged into them, else merge it"
	if r.Kind != "model" || r.Err() != nil || !slices.Contains(r.Notes, dir+": "+want) {
		t.Errorf("%s, %v, %q", r.Kind, r.Err(), r.Notes)
	}
}

// TestForeignFolders: what people take for a model is named, with what to do.
func TestForeignFolders(t *testing.T) {
	for file, want := range map[string]string{
		"pytorch_model.bin":        "found pytorch_model.bin, which is not read since it can run code: save the model as safetensors",
		"consolidated.00.pth":      "found consolidated.00.pth, weights in Meta's own form",
		"model.safetensors":        "found model.safetensors without config.json: download that, too",
		"adapter_config.json":      "want an adapter that eisft has trained, found a PEFT adapter (LORA in adapter_config.json), which is not a model: merge it into org/base",
		"config.json":              "its weights are quantized with GPTQ, which is not read; take the model as it was before quantization, or a GGUF file of it",
		"checkpoint-1/config.json": "found models in folders of it, checkpoint-1: name one of them",
	} {
		path := filepath.Join(t.TempDir(), filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		write(t, path, `{"peft_type": "LORA", "base_model_name_or_path": "org/base", "architectures": ["LlamaForCausalLM"], "quantization_config": {"quant_method": "gptq"}}`)
		dir, _ := strings.CutSuffix(path, string(filepath.Separator)+filepath.FromSlash(file))
		r, err := inspect.Path(t.Context(), dir, inspect.Options{})
		if err == nil {
			err = r.Err()
		}
		text := ""
		if r != nil {
			text = strings.Join(r.Problems, "\n")
		}
		if err == nil || !strings.Contains(err.Error()+text, want) {
			t.Errorf("%s: %v\n%s\nwant %q", file, err, text, want)
		}
	}
}
