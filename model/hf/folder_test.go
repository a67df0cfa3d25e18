package hf

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// put writes files into a folder, which it returns: names that end in .safetensors hold one
// number for each tensor that their text names, "@x" is a link to x, others are as given.
func put(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		to, link := strings.CutPrefix(text, "@")
		switch {
		case link:
			if err := os.Symlink(filepath.FromSlash(to), path); err != nil {
				t.Fatal(err)
			}
		case strings.HasSuffix(name, ".safetensors") && !strings.HasPrefix(text, "version"):
			var entries []Entry
			for i, tensor := range strings.Fields(text) {
				entries = append(entries, Entry{tensor, []int{1}, []float32{float32(i)}})
			}
			if err := WriteFile(path, entries, nil); err != nil {
				t.Fatal(err)
			}
		default:
			write(t, path, text)
		}
	}
	return dir
}

const (
	shard1, shard2 = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
	abIndex        = `{"weight_map":{"a":"` + shard1 + `","b":"` + shard2 + `"}}`
	lfsPointer     = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 988097824\n"
	lfsError       = "found a Git LFS pointer in the place of the file of 988097824 bytes that it stands for: run git lfs pull in its folder, or download the file itself"
)

// TestOpenFolders: which tensors are read of a folder, and what is said of it.
func TestOpenFolders(t *testing.T) {
	for name, tc := range map[string]struct {
		files   map[string]string
		path    string // below the folder
		names   string
		warning string
	}{
		"one file":             {files: map[string]string{weightsFile: "a b"}, names: "a b"},
		"index":                {files: map[string]string{indexFile: abIndex, shard1: "a", shard2: "b"}, names: "a b"},
		"index with a mark":    {files: map[string]string{indexFile: "\xef\xbb\xbf" + abIndex, shard1: "a", shard2: "b"}, names: "a b"},
		"not listed":           {files: map[string]string{indexFile: abIndex, shard1: "a c", shard2: "b"}, names: "a b c"},
		"listed elsewhere":     {files: map[string]string{indexFile: abIndex, shard1: "a b", shard2: "b"}, names: "a b"},
		"shards without index": {files: map[string]string{shard1: "a", shard2: "b c"}, names: "a b c"},
		"index of one file":    {files: map[string]string{indexFile: `{"weight_map":{"a":"model.safetensors"}}`, weightsFile: "a b"}, names: "a b"},
		"file beside an index": {
			files: map[string]string{indexFile: abIndex, shard1: "a", shard2: "b", weightsFile: "a b"}, names: "a b",
			warning: "DIR: model.safetensors is read, as transformers does, and the shards of model.safetensors.index.json beside it are not; delete those of the two that are not the model",
		},
		"another form beside": {
			files: map[string]string{indexFile: abIndex, shard1: "a", shard2: "b", "consolidated.safetensors": "c", "adapter_model.safetensors": "d"}, names: "a b",
			warning: "DIR: adapter_model.safetensors, consolidated.safetensors are not read: the model's weights are in " + shard1 + ", " + shard2,
		},
		"old shards beside": {
			files: map[string]string{indexFile: abIndex, shard1: "a", shard2: "b", "model-00001-of-00003.safetensors": "b"}, names: "a b",
			warning: "DIR: model-00001-of-00003.safetensors is not read: the model's weights are in " + shard1 + ", " + shard2,
		},
		"cache": {
			files: map[string]string{"models--o--n/refs/main": "r2\n", "models--o--n/snapshots/r1/" + weightsFile: "a", "models--o--n/snapshots/r2/" + weightsFile: "@../../blobs/x", "models--o--n/blobs/x": ""},
			path:  "models--o--n", names: "b",
		},
		"cache without refs": {files: map[string]string{"m/snapshots/r1/" + weightsFile: "a"}, path: "m", names: "a"},
		"snapshots beside":   {files: map[string]string{"snapshots/r1/" + weightsFile: "a", ConfigFile: "{}", weightsFile: "b"}, names: "b"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := put(t, tc.files)
			if name == "cache" { // a blob has no name of its kind
				if err := WriteFile(filepath.Join(dir, "models--o--n", "blobs", "x"), []Entry{{"b", []int{1}, []float32{1}}}, nil); err != nil {
					t.Fatal(err)
				}
			}
			c, err := Open(filepath.Join(dir, tc.path))
			if err != nil {
				t.Fatal(err)
			}
			defer closeFile(t, c)
			if got := strings.Join(c.Names(), " "); got != tc.names {
				t.Errorf("tensors %s, want %s", got, tc.names)
			}
			if got := strings.ReplaceAll(strings.Join(c.Warnings(), "\n"), dir, "DIR"); got != tc.warning {
				t.Errorf("warning %q\nwant %q", got, tc.warning)
			}
		})
	}
	c, err := Open(put(t, map[string]string{indexFile: abIndex, shard1: "a b", shard2: "b a"}))
	if err != nil {
		t.Fatal(err)
	}
	defer closeFile(t, c)
	for name, shard := range map[string]string{"a": shard1, "b": shard2} { // the first tensor of a file is 0
		if x := numbers(t, c.tensors[name].Tensor).([]float32); x[0] != 0 || c.tensors[name].file != shard {
			t.Errorf("%s is that of %s, %v: the index says %s", name, c.tensors[name].file, x, shard)
		}
	}
}

// TestOpenFolderErrors: what is no model's folder is refused with what it is and what to do.
func TestOpenFolderErrors(t *testing.T) {
	want := "DIR: want model.safetensors, model.safetensors.index.json or one .gguf file, found "
	for name, tc := range map[string]struct {
		files map[string]string
		path  string
		want  string
	}{
		"empty":   {nil, "", want + "an empty folder"},
		"unknown": {map[string]string{"notes.txt": ""}, "", want + "nothing of the kind"},
		"file":    {map[string]string{weightsFile: "a"}, weightsFile, "DIR/model.safetensors: found a file, want a folder with config.json and weights, or a .gguf file; name the folder that it lies in"},
		"pickled": {map[string]string{"pytorch_model-00001-of-00002.bin": ""}, "", want + "pytorch_model-00001-of-00002.bin, " + rePickled},
		"meta":    {map[string]string{"consolidated.00.pth": "", "params.json": ""}, "", want + "consolidated.00.pth, weights in Meta's own form, which is not read since it can run code: take the model in Hugging Face's form, or convert it with transformers' convert_llama_weights_to_hf.py"},
		"pth":     {map[string]string{"x.pth": ""}, "", want + "x.pth, " + rePickled},
		"mistral": {map[string]string{"consolidated.safetensors": "layers.0.x"}, "", want + "consolidated.safetensors, weights in Mistral's own form, whose names and order of rows are others: take the files model*.safetensors of the same model"},
		"onnx":    {map[string]string{"model.onnx": "", "model.onnx_data": ""}, "", want + "model.onnx, graphs in ONNX, which are not read as a model: take the model that they were exported from, in safetensors"},
		"named":   {map[string]string{"mine.safetensors": "a"}, "", want + "mine.safetensors, whose name is not that of a model's weights: if it is the whole model, call it model.safetensors"},
		"peft": {
			map[string]string{"adapter_config.json": `{"peft_type":"LORA","base_model_name_or_path":"org/base"}`, "adapter_model.safetensors": "a"},
			"",
			want + "a PEFT adapter (LORA in adapter_config.json), which is not a model: merge it into org/base (merge_and_unload of PEFT, then save_pretrained) and name the folder that this is saved to",
		},
		"checkpoints":             {map[string]string{"checkpoint-10/config.json": "{}", "checkpoint-20/config.json": "{}"}, "", want + "models in folders of it, checkpoint-10, checkpoint-20: name one of them"},
		"broken link":             {map[string]string{weightsFile: "@../gone"}, "", want + "model.safetensors, a link to a file that is not there: the download is not complete, do it again"},
		"pointer":                 {map[string]string{weightsFile: lfsPointer}, "", "DIR/model.safetensors: " + lfsError},
		"index as a pointer":      {map[string]string{indexFile: lfsPointer}, "", "open checkpoint: DIR/model.safetensors.index.json: " + lfsError},
		"index alone":             {map[string]string{indexFile: abIndex}, "", "DIR: model.safetensors.index.json names 2 files, of which 2 are not there: " + shard1 + ", " + shard2 + "; download what is missing into the folder"},
		"one shard missing":       {map[string]string{indexFile: abIndex, shard1: "a"}, "", "DIR: model.safetensors.index.json names 2 files, of which 1 is not there: " + shard2 + "; download what is missing into the folder"},
		"shard missing, no index": {map[string]string{shard2: "b"}, "", "DIR: the shards' own numbering names 2 files, of which 1 is not there: " + shard1 + "; download what is missing into the folder"},
		"many shards missing": {
			map[string]string{"model-00009-of-00009.safetensors": "b"},
			"",
			"DIR: the shards' own numbering names 9 files, of which 8 are not there: model-00001-of-00009.safetensors, model-00002-of-00009.safetensors, model-00003-of-00009.safetensors, model-00004-of-00009.safetensors, model-00005-of-00009.safetensors, 3 more; download what is missing into the folder",
		},
		"number too large": {map[string]string{"model-00003-of-00002.safetensors": "a", shard1: "a", shard2: "b"}, "", "DIR: found model-00003-of-00002.safetensors, whose number is not one of 1 to 2"},
		"absurd numbering": {map[string]string{"model-1-of-999999999.safetensors": "a"}, "", "DIR: found model-1-of-999999999.safetensors, which says that there are 999999999 shards, want at most 65536"},
		"two numberings":   {map[string]string{shard1: "a", "model-00001-of-00003.safetensors": "a"}, "", "DIR: found the shards of two models, " + shard1 + " and model-00001-of-00003.safetensors, and no model.safetensors.index.json to say which is meant; move one of them into a folder of its own"},
		"twice":            {map[string]string{shard1: "a", shard2: "a"}, "", "DIR: tensor a is both in " + shard1 + " and in " + shard2 + "; the files are of different models: download them again, without others beside them"},
		"shard not listed": {
			map[string]string{indexFile: `{"weight_map":{"a":"` + shard1 + `"}}`, shard1: "a", shard2: "b"},
			"",
			"DIR: tensor b is in " + shard2 + ", which model.safetensors.index.json does not list; index and shards are of different versions: download all again, or delete the shard if it is no part of the model",
		},
		"damaged shard not listed": {
			map[string]string{indexFile: `{"weight_map":{"a":"` + shard1 + `"}}`, shard1: "a", shard2: lfsPointer},
			"",
			"DIR/" + shard2 + ": " + lfsError + "; model.safetensors.index.json does not list the file: delete it if it is no part of the model",
		},
		"file lacks what the index lists": {
			map[string]string{indexFile: abIndex, shard1: "a", shard2: "b", weightsFile: "a"},
			"",
			"DIR: found two models: model.safetensors has no tensor b, which model.safetensors.index.json lists in " + shard2 + "; delete the one that is not to be read (transformers reads model.safetensors)",
		},
		"file has more than the index": {
			map[string]string{indexFile: abIndex, weightsFile: "a b c"},
			"",
			"DIR: found two models: model.safetensors has the tensor c, which model.safetensors.index.json does not list; delete the one that is not to be read (transformers reads model.safetensors)",
		},
		"two decoders": {
			map[string]string{weightsFile: "model.layers.0.x language_model.model.layers.0.x"},
			"",
			"DIR: found the layers of two decoders, model.layers and language_model.model.layers, want one: remove the tensors of the other from the file",
		},
		"one name for two": {
			map[string]string{weightsFile: "language_model.lm_head.weight lm_head.weight language_model.model.layers.0.x"},
			"",
			"DIR: tensors language_model.lm_head.weight and lm_head.weight are both the model's lm_head.weight; remove the one that is not",
		},
		"snapshots":              {map[string]string{"snapshots/r1/config.json": "{}", "snapshots/r2/config.json": "{}"}, "", "DIR: found 2 snapshots and no refs/main that names one of them; name the folder of one: snapshots/r1, snapshots/r2"},
		"stale refs":             {map[string]string{"snapshots/r1/config.json": "{}", "refs/main": "r3"}, "", `DIR: found the revision "r3" in refs/main, but in snapshots only r1; download the model again, or name one of these folders`},
		"refs out of the folder": {map[string]string{"snapshots/r1/config.json": "{}", "refs/main": "../.."}, "", `DIR: found the revision "../.." in refs/main, but in snapshots only r1; download the model again, or name one of these folders`},
		"no snapshot":            {map[string]string{"snapshots/notes.txt": ""}, "", "DIR: found no folder in snapshots, want that of a revision of the model; download it again"},
		"several gguf":           {map[string]string{"a.gguf": "", "b.gguf": "", "mmproj-a.gguf": ""}, "", "DIR: found 2 .gguf files, want one: name the file itself, for example DIR/a.gguf"},
		"gguf parts":             {map[string]string{"a-00001-of-00002.gguf": "", "a-00002-of-00002.gguf": "", "b.gguf": ""}, "", "DIR: found 2 .gguf files, want one: name the file itself, for example DIR/a-00001-of-00002.gguf"},
		"gguf pointer":           {map[string]string{"a.gguf": lfsPointer}, "", "DIR/a.gguf: " + lfsError},
		"big-endian":             {map[string]string{"a.gguf": "GGUF\x00\x00\x00\x03" + strings.Repeat("\x00", 16)}, "", "DIR/a.gguf: found version 3 with its bytes in big-endian order, want little-endian: convert the model without --bigendian, or the file with gguf_convert_endian.py little"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := put(t, tc.files)
			c, err := Open(filepath.Join(dir, tc.path))
			if err == nil {
				t.Fatalf("no error but the tensors %v, want %q", c.Names(), tc.want)
			}
			if got := strings.ReplaceAll(err.Error(), dir, "DIR"); got != tc.want {
				t.Errorf("error %q\nwant  %q", got, tc.want)
			}
		})
	}
}

// TestUsualNames: whatever the names of a decoder begin with, they become those of a causal
// language model, and what stands beside it keeps its own.
func TestUsualNames(t *testing.T) {
	for prefix, tc := range map[string]struct{ names, want string }{
		"usual":          {"model.layers.0.x model.norm.w lm_head.w vision_tower.x model.vision_tower.y score.w", "lm_head.w model.layers.0.x model.norm.w model.vision_tower.y score.w vision_tower.x"},
		"none":           {"layers.0.x norm.w embed_tokens.w lm_head.w vision_tower.x rotary_emb.inv_freq", "lm_head.w model.embed_tokens.w model.layers.0.x model.norm.w model.rotary_emb.inv_freq vision_tower.x"},
		"language_model": {"language_model.layers.0.x language_model.norm.w language_model.lm_head.w vision_tower.x", "lm_head.w model.layers.0.x model.norm.w vision_tower.x"},
		"head outside":   {"language_model.layers.0.x lm_head.w visual.x", "lm_head.w model.layers.0.x visual.x"},
		"before 4.52":    {"language_model.model.layers.0.x language_model.lm_head.w multi_modal_projector.w", "lm_head.w model.layers.0.x multi_modal_projector.w"},
		"since 4.52":     {"model.language_model.layers.0.x model.language_model.norm.w lm_head.w model.visual.x", "lm_head.w model.layers.0.x model.norm.w model.visual.x"},
		"no layers":      {"a model.norm.w", "a model.norm.w"},
	} {
		c, err := Open(put(t, map[string]string{weightsFile: tc.names}))
		if err != nil {
			t.Fatalf("%s: %v", prefix, err)
		}
		if got := strings.Join(c.Names(), " "); got != tc.want {
			t.Errorf("%s: %s\nwant %s", prefix, got, tc.want)
		}
		for i, name := range strings.Fields(tc.names) { // each has its own number
			if x, err := c.Tensor(c.usual(name)); err != nil || numbers(t, x).([]float32)[0] != float32(i) {
				t.Errorf("%s: %s holds %v (%v)", prefix, name, x, err)
			}
		}
		closeFile(t, c)
	}
}

// usual finds what a tensor of the files is called.
func (c *Checkpoint) usual(there string) string {
	for usual, name := range c.inFiles {
		if name == there {
			return usual
		}
	}
	return there
}

// TestConfigOfForeignModels: configurations of what is not read say what it is.
func TestConfigOfForeignModels(t *testing.T) {
	architectures := strings.Join(slices.Sorted(maps.Keys(families)), ", ")
	quantization := func(method, named string) [2]string {
		return [2]string{
			`{"architectures":["LlamaForCausalLM"],"quantization_config":{"quant_method":"` + method + `"}}`,
			`config.json: quantization_config: found {"quant_method":"` + method + `"}, want none: its weights are quantized with ` + named + `, which is not read; take the model as it was before quantization, or a GGUF file of it`,
		}
	}
	architecture := func(name, kind string) [2]string {
		text := ""
		if kind != "" {
			text = "; " + name + " is " + kind + ", which is not supported"
		}
		return [2]string{`{"architectures":["` + name + `"]}`, `config.json: architectures: found ["` + name + `"], want one of ` + architectures + text}
	}
	bnb := quantization("bitsandbytes", "bitsandbytes")
	bnb[1] += "; if the weights are floats and the key is left from training, delete it"
	for _, tc := range [][2]string{
		quantization("gptq", "GPTQ"), quantization("awq", "AWQ"), quantization("fp8", "FP8"), quantization("compressed-tensors", "compressed-tensors"),
		quantization("new", "new"), quantization("", "a method that it does not name"), bnb,
		{
			`{"architectures":["LlamaForCausalLM"],"quantization":{"group_size":64,"bits":4},"quantization_config":{"group_size":64,"bits":4}}`,
			`config.json: quantization: found {"bits":4,"group_size":64}, want none: its weights are quantized with MLX, which is not read; take the model as it was before quantization, or a GGUF file of it`,
		},
		{
			`{"architectures":["Gemma3ForConditionalGeneration"],"text_config":{"quantization_config":{"quant_method":"awq"}}}`,
			`config.json: text_config.quantization_config: found {"quant_method":"awq"}, want none: its weights are quantized with AWQ, which is not read; take the model as it was before quantization, or a GGUF file of it`,
		},
		{
			`{"architectures":["Gemma3ForConditionalGeneration"],"text_config":{},"quantization_config":{"quant_method":"gptq"}}`,
			`config.json: quantization_config: found {"quant_method":"gptq"}, want none: its weights are quantized with GPTQ, which is not read; take the model as it was before quantization, or a GGUF file of it`,
		},
		architecture("Qwen3MoeForCausalLM", mixture), architecture("MixtralForCausalLM", mixture), architecture("GptOssForCausalLM", mixture),
		architecture("DeepseekV2ForCausalLM", mixture), architecture("DeepseekV3ForCausalLM", mixture), architecture("OlmoeForCausalLM", mixture),
		architecture("MambaForCausalLM", stateSpace), architecture("JambaForCausalLM", stateSpace),
		architecture("T5ForConditionalGeneration", twoParts), architecture("BartForConditionalGeneration", twoParts),
		architecture("BertForMaskedLM", encoder), architecture("BertModel", encoder), architecture("LlamaModel", headless),
		architecture("LlamaForSequenceClassification", headless), architecture("Qwen2VLForConditionalGeneration", seeing),
		architecture("LlavaForConditionalGeneration", seeing), architecture("GPT2LMHeadModel", otherKind), architecture("OPTForCausalLM", otherKind),
		architecture("NewForCausalLM", ""),
		{`{"architectures":["NewForCausalLM"],"num_local_experts":8}`, `config.json: architectures: found ["NewForCausalLM"], want one of ` + architectures + "; NewForCausalLM is a mixture of experts, which is not supported"},
		{`{"model_type":"qwen3_moe"}`, `config.json: model_type: found "qwen3_moe", want that of one of ` + architectures + "; qwen3_moe is a mixture of experts, which is not supported"},
	} {
		if _, err := parse(tc[0]); err == nil || err.Error() != tc[1] {
			t.Errorf("%s:\nerror %v\nwant  %s", tc[0], err, tc[1])
		}
	}
}

// TestMarks: a byte order mark in front of a configuration is no part of it.
func TestMarks(t *testing.T) {
	const mark = "\xef\xbb\xbf"
	dir := put(t, map[string]string{
		ConfigFile:     mark + `{"model_type":"llama","vocab_size":10,"hidden_size":64,"intermediate_size":8,"num_hidden_layers":1,"num_attention_heads":4,"bos_token_id":null,"eos_token_id":null}`,
		GenerationFile: mark + `{"bos_token_id":1,"eos_token_id":[2,5]}`,
	})
	c, err := LoadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	if c.BOS != 1 || !slices.Equal(c.EOS, []int{2, 5}) {
		t.Errorf("BOS %d, EOS %v", c.BOS, c.EOS)
	}
	text, err := ConfigText(dir)
	if err != nil || text[0] != '{' {
		t.Errorf("%q, %v", text, err)
	}
	write(t, filepath.Join(dir, ConfigFile), lfsPointer)
	_, err = LoadConfig(dir)
	wantError(t, err, "load config: "+filepath.Join(dir, ConfigFile)+": "+lfsError)
}

// TestConfigOfForeignFolders: a folder without config.json says what it is.
func TestConfigOfForeignFolders(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		want  string
	}{
		"weights alone": {map[string]string{weightsFile: "a"}, "model.safetensors without config.json: download that, too"},
		"shards alone":  {map[string]string{shard1: "a"}, shard1 + " without config.json: download that, too"},
		"adapter":       {map[string]string{adapterFile: `{"peft_type":"LORA"}`}, "a PEFT adapter (LORA in adapter_config.json), which is not a model: merge it into its base (merge_and_unload of PEFT, then save_pretrained) and name the folder that this is saved to"},
		"flax":          {map[string]string{"flax_model.msgpack": ""}, "flax_model.msgpack, weights of Flax, which are not read: save the model as safetensors"},
	} {
		dir := put(t, tc.files)
		_, err := LoadConfig(dir)
		if want := dir + ": want a folder with config.json or one .gguf file, found " + tc.want; err == nil || err.Error() != want {
			t.Errorf("%s: %v\nwant %s", name, err, want)
		}
	}
}

// TestCodesInThePlaceOfWeights: older GPTQ checkpoints say nothing in config.json.
func TestCodesInThePlaceOfWeights(t *testing.T) {
	c, err := Open(put(t, map[string]string{weightsFile: "layers.0.self_attn.q_proj.qweight layers.0.self_attn.q_proj.scales"}))
	if err != nil {
		t.Fatal(err)
	}
	defer closeFile(t, c)
	_, err = c.Tensor("model.layers.0.self_attn.q_proj.weight")
	want := "tensor layers.0.self_attn.q_proj.weight is not in the checkpoint, but layers.0.self_attn.q_proj.qweight is: its weights are quantized with GPTQ or AWQ, which is not read; take the model as it was before quantization, or a GGUF file of it"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// TestWrappedNames: a checkpoint that was saved inside a wrapper says so.
func TestWrappedNames(t *testing.T) {
	for prefix, name := range map[string]string{"module.": "module.model.norm.weight", "_orig_mod.": "_orig_mod.model.norm.weight"} {
		c, err := Open(put(t, map[string]string{weightsFile: name}))
		if err != nil {
			t.Fatal(err)
		}
		defer closeFile(t, c)
		_, err = c.Tensor("model.norm.weight")
		if want := name + " is: the model was saved inside a wrapper of PyTorch (DataParallel, torch.compile), whose prefix \"" + prefix + "\""; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

// FuzzIndex: whatever an index says, nothing outside of its folder is read, and every tensor
// is where it says.
func FuzzIndex(f *testing.F) {
	dir := put(f, map[string]string{"model/" + shard1: "a", "model/" + shard2: "b", "secret.safetensors": "a b"})
	dir = filepath.Join(dir, "model")
	for _, seed := range []string{
		abIndex, `{"weight_map":{"a":"` + shard2 + `"}}`, `{"weight_map":{"a":"../secret.safetensors"}}`, `{"weight_map":{"a":"./` + shard1 + `","b":"` + shard1 + `/../` + shard2 + `"}}`, `{"weight_map":{"":""}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, index []byte) {
		if err := os.WriteFile(filepath.Join(dir, indexFile), index, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Open(dir)
		if err != nil {
			if !strings.Contains(err.Error(), dir) {
				t.Errorf("the error does not name the folder: %v", err)
			}
			return
		}
		for _, file := range c.Files() {
			if within, err := filepath.Rel(dir, file); err != nil || !filepath.IsLocal(within) {
				t.Errorf("%s was read, which is not in %s", file, dir)
			}
		}
		for _, name := range c.Names() {
			if _, err := c.Tensor(name); err != nil {
				t.Error(err)
			}
		}
		closeFile(t, c)
	})
}
