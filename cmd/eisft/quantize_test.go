package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eisft/model/hf"
	"eisft/quant"
	"eisft/train/runs"
)

func TestQuantize(t *testing.T) {
	runFolder(t)
	writeFile(t, "mine.yaml", "scheme: w4a16\ncache: int16\nexceptions: [{match: '*.v_proj', bits: 8}]\ncalib: train.jsonl\neval: {data: held.jsonl, samples: 1}\nsamples: 1\n")
	for _, tc := range []struct {
		args []string
		name string
		bits int // of v_proj
	}{
		{[]string{"--calib", "train.jsonl", "--samples", "2", "--eval-data", "held.jsonl", "--eval-samples", "1"}, "w8a16", 8},
		{[]string{"--recipe", "mine.yaml"}, "mine", 8},
		{[]string{"--recipe", "mine.yaml", "--scheme", "w4a8", "--name", "other"}, "other", 8},
		{[]string{"--recipe", "mine.yaml", "--scheme", "w8a8", "--name", "third", "--cache", "int8", "--range", "entropy"}, "third", 8},
	} {
		r := eisft(t, append([]string{"quantize"}, tc.args...)...)
		if r.code != 0 {
			t.Fatalf("%q: exit code %d, stderr %q", tc.args, r.code, r.stderr)
		}
		dir := filepath.Join("quant", tc.name)
		for _, want := range []string{"before", "perplexity of the text", "perplexity of the answers", "size", filepath.Join(dir, quant.PageFile)} {
			if !strings.Contains(r.stdout, want) {
				t.Errorf("%q: stdout has no %q:\n%s", tc.args, want, r.stdout)
			}
		}
		q, err := quant.Load(filepath.Join(latestRun, dir))
		if err != nil {
			t.Fatal(err)
		}
		if w := q.Weight("model.layers.0.self_attn.v_proj"); w.Bits != tc.bits {
			t.Errorf("%q: v_proj has %d bits, want %d", tc.args, w.Bits, tc.bits)
		}
	}
}

// TestQuantizeDryRun says what would be done and writes nothing.
func TestQuantizeDryRun(t *testing.T) {
	runFolder(t)
	r := eisft(t, "quantize", "--calib", "train.jsonl", "--scheme", "w4a16", "--cache", "auto", "--transform", "awq", "--reconstruct", "3", "--ablation", "--eval-data", "held.jsonl", "--eval-samples", "2", "--dry-run")
	if r.code != 0 {
		t.Fatalf("exit code %d, stderr %q", r.code, r.stderr)
	}
	for _, want := range []string{
		"channels           8 samples, 1,352 tokens of train.jsonl\n", "transform          awq\n", "calibrate          8 samples",
		"widths of the cache  17 measurements of the loss, on 1,096 tokens each\n", "57 maps of 8 layers and the head in int4, on what the layers before each make of 8 samples, 1,352 tokens\n",
		"3 steps a layer on 1,352 tokens\n", "2 answers of 2 rows of held.jsonl, in float and quantized\n",
		"ablation           rtn, + awq, + reconstruct\n", filepath.Join("quant", "w4a16") + "\n", "size               ", "now 15.5 MB\n",
	} {
		if squeezed := strings.Join(strings.Fields(want), " "); !strings.Contains(strings.Join(strings.Fields(r.stdout), " "), squeezed) {
			t.Errorf("stdout has no %q:\n%s", want, r.stdout)
		}
	}
	if _, err := os.Stat(filepath.Join(latestRun, "quant")); err == nil {
		t.Error("something was written")
	}
	writeFile(t, "named.yaml", "calib: gone.jsonl\neval: {data: gone.jsonl}\n")
	r = eisft(t, "quantize", "--recipe", "named.yaml", "--calib", "train.jsonl", "--eval-data", "held.jsonl", "--dry-run")
	gone, err := filepath.Abs("gone.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{"calib train.jsonl", "eval-data held.jsonl"} {
		want := fmt.Sprintf("eisft: warning: --%s takes the place of %s, which the recipe names\n", flag, gone)
		if r.code != 0 || !strings.Contains(r.stderr, want) {
			t.Errorf("exit code %d, stderr %q, want %q", r.code, r.stderr, want)
		}
	}
}

// TestQuantizeEvaluatesOn: rows that validation holds out are the default; texts that were
// trained on are refused; several files are read.
func TestQuantizeEvaluatesOn(t *testing.T) {
	runFolder(t)
	held := func(section string) {
		writeFile(t, filepath.Join(latestRun, runs.ConfigFile), strings.Replace(string(readFile(t, "s.yaml")), "train: train.jsonl", "train: ../../train.jsonl", 1)+section)
	}
	writeFile(t, "short.txt", "A few words.")
	for _, tc := range []struct {
		section string
		args    []string
		code    int
		want    string
	}{
		{"", nil, 0, "calibrate"},
		{"validation: {share: 30%}\n", nil, 0, " held out, in float and quantized\n"},
		{"validation: {data: ../../held.jsonl}\n", nil, 0, "/held.jsonl, in float and quantized\n"},
		{"", []string{"--eval-data", "train.jsonl"}, exitError, "train.jsonl: the run was trained on the texts of all its 8 rows"},
		{"", []string{"--eval-data", "short.txt"}, exitError, "short.txt: none of its 1 row asks a question or goes beyond the first segment of "},
		{"", []string{"--eval-data", "none"}, 0, "calibrate"},
		{"", []string{"--eval-data", ""}, exitUsage, "--eval-data is empty; name a data file"},
		{"", []string{"--eval-data", "held.jsonl", "--eval-data", "tr*.jsonl"}, 0, "8 answers of 8 rows of held.jsonl, tr*.jsonl, in float and quantized\n"},
		{"", []string{"--calib", "held.jsonl"}, 0, "16 samples, 2,712 tokens of train.jsonl, held.jsonl\n"},
	} {
		held(tc.section)
		r := eisft(t, append([]string{"quantize", "--calib", "train.jsonl", "--dry-run"}, tc.args...)...)
		if out := strings.Join(strings.Fields(r.stdout+r.stderr), " "); r.code != tc.code || !strings.Contains(out, strings.TrimSpace(tc.want)) {
			t.Errorf("%q, %q: exit code %d, %s", tc.section, tc.args, r.code, out)
		}
		if asked := strings.Contains(r.stdout, "in float and quantized"); asked != strings.Contains(tc.want, "in float and quantized") {
			t.Errorf("%q, %q: %s", tc.section, tc.args, r.stdout)
		}
	}
}

// breakBase writes a copy of the demo base with other numbers in a tensor, and a run of it.
func breakBase(t *testing.T, tensor string, change func(x []float32)) {
	t.Helper()
	base := t.TempDir()
	demo, err := filepath.Abs("../../model/demo")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(base, os.DirFS(demo)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(base, "model.safetensors")
	f, err := hf.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var entries []hf.Entry
	for _, name := range f.Names() {
		x, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		numbers, err := x.Float32()
		if err != nil {
			t.Fatal(err)
		}
		if name == tensor {
			change(numbers)
		}
		entries = append(entries, hf.Entry{Name: name, Shape: x.Shape, Data: numbers})
	}
	if err := hf.WriteFile(path+".new", entries, map[string]string{"format": "pt"}); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	t.Chdir(trainingFolder(t, 1))
	writeFile(t, "s.yaml", strings.Replace(string(readFile(t, "s.yaml")), demo, base, 1))
	runOf(t)
}

// TestQuantizeConstantTensor: a map of zeros is quantized exactly, and said.
func TestQuantizeConstantTensor(t *testing.T) {
	breakBase(t, "model.layers.2.mlp.up_proj.weight", func(x []float32) { clear(x) })
	r := eisft(t, "quantize", "--calib", "train.jsonl", "--samples", "1", "--scheme", "w8a16-mixed")
	const want = "eisft: warning: model.layers.2.mlp.up_proj:out is 0, model.layers.2.mlp.down_proj:in is 0, model.layers.2.mlp.down_proj:out is 0 for all tokens of the samples: codes of other numbers are a guess\n"
	if r.code != 0 || !strings.Contains(r.stderr, want) {
		t.Errorf("exit code %d, stderr %q, want %q", r.code, r.stderr, want)
	}
	q, err := quant.Load(filepath.Join(latestRun, "quant", "w8a16-mixed"))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range q.Weight("model.layers.2.mlp.up_proj").Dequantize() {
		if v != 0 {
			t.Fatalf("a zero became %g", v)
		}
	}
}

// TestQuantizeNaNTensor names the tensor.
func TestQuantizeNaNTensor(t *testing.T) {
	breakBase(t, "model.layers.2.mlp.up_proj.weight", func(x []float32) { x[770] = float32(math.NaN()) })
	r := eisft(t, "quantize", "--calib", "train.jsonl", "--samples", "1")
	const want = "tensor model.layers.2.mlp.up_proj.weight holds NaN"
	if r.code != exitError || !strings.Contains(r.stderr, want) || strings.Count(r.stderr, "eisft: ") != 1 {
		t.Errorf("exit code %d, stderr %q, want %q in one error", r.code, r.stderr, want)
	}
}

func TestQuantizeErrors(t *testing.T) {
	runFolder(t)
	writeFile(t, "empty.jsonl", "")
	row, err := json.Marshal(map[string]any{"context": "a", "input": "b", "answers": []string{"c"}})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, "short.jsonl", string(row)+"\n"+string(row)+"\n")
	writeFile(t, "r.yaml", "scheme: w4-g128\nexceptions:\n  - {match: '*.dwn_proj', bits: 8}\n")
	writeFile(t, "small.yaml", "scheme: w4a16\nmixed: {max_bytes: 1000}\n")
	writeFile(t, "noname.yaml", "name: \"\"\n")
	writeFile(t, "bad.yaml", "shceme: w4a16\nweights: 3\n")
	const help = "\nRun 'eisft quantize --help' for usage.\n"
	schemes := strings.Join(quant.SchemeNames(), ", ")
	rules := strings.Join(quant.RoundingNames(), ", ")
	for _, tc := range []struct {
		args []string
		code int
		want string // on stderr
	}{
		{nil, exitUsage, "eisft: --calib is required" + help},
		{[]string{"--calib", "train.jsonl", "--scheme", "w8a16-mixd"}, exitUsage, `eisft: --scheme is "w8a16-mixd"; did you mean "w8a16-mixed"? It must be one of ` + schemes + help},
		{[]string{"--calib", "train.jsonl", "--range", "all"}, exitUsage, `eisft: --range is "all"; it must be one of minmax, mse, percentile, entropy` + help},
		{[]string{"--calib", "train.jsonl", "--weights", "rtnn"}, exitUsage, `eisft: --weights is "rtnn"; did you mean "rtn"? It must be one of ` + rules + help},
		{[]string{"--calib", "train.jsonl", "--transform", "awq,smoothqant"}, exitUsage, `eisft: --transform is "smoothqant"; did you mean "smoothquant"? It must be one of smoothquant, awq, rotate, or none alone` + help},
		{[]string{"--calib", "train.jsonl", "--cache", "int4"}, exitUsage, `eisft: --cache is "int4"; did you mean "int8"? It must be one of auto, int8, int16` + help},
		{[]string{"--calib", "train.jsonl", "--scheme", "w4-g32", "--target", "qnn"}, exitUsage, "eisft: --target is qnn, which cannot run w4-g32: that is for generic, openvino, coreml; qnn runs " + strings.Join(quant.SchemesFor("qnn"), ", ") + help},
		{[]string{"--calib", "train.jsonl", "--scheme", "w4-g32", "--transform", "smoothquant"}, exitUsage, "eisft: --transform[0] is smoothquant, but w4-g32 rounds weights alone: there are no activations to smooth; take it out, or awq in its place" + help},
		{[]string{"--calib", "train.jsonl", "--samples", "-1"}, exitUsage, "eisft: --samples is -1; it must be at least 1, or 0 for all" + help},
		{[]string{"--calib", "train.jsonl", "--ablation"}, exitError, "eisft: there is nothing to measure an ablation on; name held-out data with --eval-data\n"},
		{[]string{"--calib", "train.jsonl", "--run", "absent"}, exitError, "eisft: there is no run absent; train one with eisft train --config FILE, or name its folder with --run\n"},
		{[]string{"--calib", "empty.jsonl"}, exitError, "eisft: empty.jsonl: no rows\n"},
		{[]string{"--calib", "short.jsonl"}, exitError, "short.jsonl: 2 rows of the form longbench (columns context, input, answers), asked as the model's eisft.json says (conversation_actions, conversation_qa) where they are not written so already\neisft: short.jsonl: calibration samples are too short: none of 2 samples has a context that fills a segment of 32 tokens, the longest one has 9; calibrate with longer samples\n"},
		{[]string{"--calib", "train.jsonl", "--recipe", "none.yaml"}, exitError, "eisft: none.yaml: no such file here, nor in a configs/quant folder in or above "},
		{[]string{"--calib", "train.jsonl", "--recipe", ""}, exitUsage, "eisft: --recipe is empty; name a file, or one in configs/quant" + help},
		{[]string{"--calib", "train.jsonl", "--recipe", "smal.yaml"}, exitError, "eisft: smal.yaml: no such file here, nor in a configs/quant folder in or above "},
		{[]string{"--calib", "train.jsonl", "--recipe", "./smal.yaml"}, exitError, "eisft: ./smal.yaml: no such file or directory; did you mean \"small.yaml\"?\n"},
		{[]string{"--calib", "train.jsonl", "--recipe", "bad.yaml"}, exitError, "eisft: bad.yaml:1: shceme is not a known key; did you mean \"scheme\"?\nbad.yaml:2: weights must be text, not 3\n"},
		{[]string{"--calib", "train.jsonl", "--recipe", "r.yaml"}, exitError, "eisft: r.yaml:3: exceptions[0].match is \"*.dwn_proj\", which matches no map of this model; did you mean \"*.down_proj\"?\n"},
		{[]string{"--calib", "train.jsonl", "--recipe", "r.yaml", "--target", "mediatek"}, exitError, "eisft: --target is mediatek, which cannot run w4-g128: that is for generic, openvino, coreml; mediatek runs " + strings.Join(quant.SchemesFor("mediatek"), ", ") + "\n"},
		{[]string{"--calib", "train.jsonl", "--recipe", "small.yaml"}, exitError, "eisft: small.yaml:2: mixed.max_bytes is 1000, but w4a16 takes 7218368 of this model without any promotion; raise it, or choose a smaller scheme\n"},
		{[]string{"--calib", "train.jsonl", "--recipe", "noname.yaml"}, exitError, "eisft: noname.yaml:1: name is \"\"; it must be the name of a folder that is not hidden, since the quantized model is written to one\n"},
		{[]string{"--calib", "train.jsonl", "--name", ""}, exitUsage, "eisft: --name is \"\"; it must be the name of a folder that is not hidden, since the quantized model is written to one" + help},
		{[]string{"--calib", "train.jsonl", "--transform", ""}, exitUsage, "eisft: --transform is empty; name one or more of smoothquant, awq, rotate, or none" + help},
		{[]string{"--calib", "train.jsonl", "--run", ""}, exitUsage, "eisft: --run is empty; name a run's folder" + help},
	} {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			r := eisft(t, append([]string{"quantize"}, tc.args...)...)
			same := r.stderr == tc.want || strings.HasSuffix(tc.want, " ") && strings.HasPrefix(r.stderr, tc.want)
			if r.code != tc.code || !same || r.stdout != "" {
				t.Errorf("exit code %d, stderr %q, stdout %q; want %d and %q", r.code, r.stderr, r.stdout, tc.code, tc.want)
			}
		})
	}
	if entries, err := os.ReadDir(filepath.Join(latestRun, "quant")); err == nil {
		t.Errorf("something was written: %v", entries)
	}
}
