package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/export/ort/orttest"
	"eisft/internal/testfiles"
	"eisft/model/hf"
	"eisft/model/hf/hftest"
	"eisft/train/config"
	"eisft/train/runs"
)

// onGGUF changes to a folder whose s.yaml trains beside the demo base as a GGUF file,
// and nothing but that, in an encoding.
func onGGUF(t *testing.T, steps int, encoding func(string) hftest.Encoding) {
	t.Helper()
	demo, err := filepath.Abs("../../model/demo")
	if err != nil {
		t.Fatal(err)
	}
	c, err := hf.LoadConfig(demo)
	if err != nil {
		t.Fatal(err)
	}
	ck, err := hf.Open(demo)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ck.Close() }()
	w := hftest.Convert(t, c, ck, encoding)
	w.PutVocabulary(t, demo, "qwen2")
	path := w.Write(t)
	t.Chdir(trainingFolder(t, steps))
	text, err := os.ReadFile("s.yaml")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, "s.yaml", strings.Replace(string(text), demo, path, 1))
}

// TestTrainQuantizedBase: beside a frozen quantized base, the loss falls, and gates
// and scores move.
func TestTrainQuantizedBase(t *testing.T) {
	for name, encoding := range map[string]func(string) hftest.Encoding{
		"Q8_0": func(string) hftest.Encoding { return hftest.Q80 },
		"Q4_0": func(string) hftest.Encoding { return hftest.Q40 },
	} {
		t.Run(name, func(t *testing.T) {
			onGGUF(t, 12, encoding)
			if r := eisft(t, "train", "--config", "s.yaml"); r.code != 0 {
				t.Fatalf("exit code %d: %s", r.code, r.stderr)
			}
			losses := lossesOf(t, latestRun)
			if first, last := mean(losses[:4]), mean(losses[8:]); last >= 0.95*first {
				t.Errorf("losses %v do not fall", losses)
			}
			run, err := runs.Open(latestRun)
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := config.Load("s.yaml")
			if err != nil {
				t.Fatal(err)
			}
			fresh, err := runs.OpenUntrained(cfg)
			if err != nil {
				t.Fatal(err)
			}
			for i, p := range run.Model.Params.List() {
				if slices.Equal(p.Data, fresh.Model.Params.List()[i].Data) {
					t.Errorf("%s did not move", p.Name)
				}
			}
		})
	}
}

// TestTrainDamagedBase: weights that are not numbers are not taken for a learning rate
// that is too high.
func TestTrainDamagedBase(t *testing.T) {
	onGGUF(t, 1, func(name string) hftest.Encoding {
		e := hftest.Q80
		if name != "blk.3.ffn_up.weight" {
			return e
		}
		return hftest.Encoding{Kind: e.Kind, Encode: func(v []float32) []byte {
			blocks := e.Encode(v)
			blocks[0], blocks[1] = 0, 0x7e // the first block's scale is NaN
			return blocks
		}}
	})
	r := eisft(t, "train", "--config", "s.yaml")
	want := "step 1: the gradient is NaN before anything was trained: "
	_, path, found := strings.Cut(strings.TrimSpace(r.stderr), want)
	if path, _, _ = strings.Cut(path, ": "); r.code != exitError || !found || !strings.Contains(r.stderr, ".gguf: tensor model.layers.3.mlp.up_proj.weight holds NaN in row 0; ") {
		t.Fatalf("exit code %d, %s", r.code, r.stderr)
	}
	if r := eisft(t, "inspect", path); r.code == 0 || !strings.Contains(r.stdout, "tensor model.layers.3.mlp.up_proj.weight holds NaN at index 0") {
		t.Errorf("inspect: exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// lossesOf reads a run's losses.
func lossesOf(t *testing.T, dir string) []float64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, runs.MetricsFile))
	if err != nil {
		t.Fatal(err)
	}
	var out []float64
	for line := range strings.Lines(string(text)) {
		var m runs.Metrics
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		out = append(out, m.Loss)
	}
	return out
}

// TestSlowGGUFWholeWay: a run beside a GGUF file is quantized and exported, and its graphs,
// which come with the file's tokenizer, answer as the Go model does.
func TestSlowGGUFWholeWay(t *testing.T) {
	testfiles.Slow(t)
	orttest.Require(t)
	text, question, _ := goldenPrompt(t)
	onGGUF(t, 1, hftest.Q4KM)
	out := filepath.Join(latestRun, "export", "32x84")
	cfg, err := config.Load("s.yaml")
	if err != nil {
		t.Fatal(err)
	}
	base := eisft(t, "inspect", cfg.Model.Path)
	for _, want := range []string{"LlamaForCausalLM", "4,096 tokens", "chat template         yes", "Q6_K", "Q4_K"} {
		if base.code != 0 || !strings.Contains(base.stdout, want) {
			t.Errorf("inspect (exit code %d) does not say %q:\n%s%s", base.code, want, base.stdout, base.stderr)
		}
	}
	for _, args := range [][]string{
		{"train", "--config", "s.yaml"},
		{"quantize", "--calib", "train.jsonl", "--samples", "2", "--eval-samples", "1"},
		{"export", "--shape", "32x84", "--golden=false"},
	} {
		if r := eisft(t, args...); r.code != 0 {
			t.Fatalf("eisft %v: exit code %d, %s%s", args, r.code, r.stdout, r.stderr)
		}
	}
	arguments := []string{"--prompt", text + "\n\n" + question, "--max-new-tokens", "8"}
	want := eisft(t, append([]string{"generate"}, arguments...)...)
	got := eisft(t, append([]string{"run", "--graph", out, "--precision", "float"}, arguments...)...)
	if got.code != 0 || got.stdout != want.stdout || len(got.stdout) < 2 {
		t.Errorf("the graphs answer %q (exit code %d, %s), the Go model %q", got.stdout, got.code, got.stderr, want.stdout)
	}
}
