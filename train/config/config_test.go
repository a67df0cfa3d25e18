package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"eisft/data"
	"eisft/eval"
	"eisft/internal/strictyaml"
	"eisft/model"
)

// small is the shortest configuration that can be run.
const small = `model:
  path: ../model/demo
data:
  train: train.parquet
stages:
  - kind: s-sft
`

func parse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse([]byte(text), "/project/configs/small.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestParseFillsDefaults(t *testing.T) {
	eisft, err := model.Preset("eisft")
	if err != nil {
		t.Fatal(err)
	}
	trained := []model.Group{model.GroupRetention, model.GroupFeature, model.GroupGate}
	want := &Config{
		Name:  "small",
		Model: Model{Path: "/project/model/demo", DType: model.DTypeAuto, Cache: CacheNone, CacheBytes: 4e9},
		Block: Block{Preset: "eisft", Spec: eisft},
		Data:  Data{Train: data.One("/project/configs/train.parquet"), MaxTokens: 2048, Long: data.LongKeepStart, OnBadRow: data.BadRowFail},
		Stages: Stages{SSFT{
			Choice: ChoiceSoft, KeepPenalty: KeepPenalty{Keep: 0.15, KeepWeight: 10},
			Optimizer: Optimizer{
				Steps: 100, Batch: 1, Trainable: trained,
				LR:          Rates{model.GroupRetention: 1e-2, model.GroupFeature: 2e-3, model.GroupGate: 1e-2},
				WeightDecay: Rates{model.GroupRetention: 0, model.GroupFeature: 0, model.GroupGate: 0},
				Betas:       [2]float64{0.9, 0.98}, Warmup: 20, MinLR: 0.05, Clip: 1,
			},
		}},
		Validation: Validation{Every: 25, Samples: 32},
		Eval:       eval.Config{Before: true, Samples: 100, MaxNewTokens: 32, Policies: []eval.Policy{eval.PolicyFull, eval.PolicyWindow, eval.PolicyEISFT}},
		Checkpoint: Checkpoint{Every: 50},
		Output:     "runs",
	}
	if got := parse(t, small); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
}

func TestParseOverridesPresetAndKind(t *testing.T) {
	c := parse(t, `name: two-stages
seed: -7
model: {path: /models/x/../base}
block: {preset: edgeinfinite, window: 128, gate: query, write_gate: true}
data:
  train: a.jsonl.gz
  columns: {context: document}
  prompt: |
    {context}

    {input}
  prompts: {qmsum: "{context} {input}"}
stages:
  - {kind: distill, steps: 10, trainable: [gate], lr: {gate: 5e-2}, betas: [0.8, 0.9]}
  - {kind: s-sft, choice: hard, keep: 1, weight_decay: {map: 0.1}}
eval: {data: b.parquet, policies: [window]}
output: /elsewhere
`)
	if c.Name != "two-stages" || c.Seed != -7 || c.Output != "/elsewhere" {
		t.Errorf("name %q, seed %d, output %q", c.Name, c.Seed, c.Output)
	}
	if c.Model.Path != "/models/base" || c.Eval.Data.String() != "/project/configs/b.parquet" {
		t.Errorf("paths %q, %q", c.Model.Path, c.Eval.Data)
	}
	if b := c.Block; b.Sink != 8 || b.Window != 128 || b.Gate != model.GateQuery || !b.Map || !b.WriteGate || b.Slots != 0 {
		t.Errorf("block %+v", b)
	}
	options := c.Data.Options
	if options.Columns.Context != "document" || options.Prompt != "{context}\n\n{input}\n" || options.Prompts["qmsum"] != "{context} {input}" {
		t.Errorf("options %+v", options)
	}
	distill, sft := c.Stages[0].(Distill), c.Stages[1].(SSFT)
	if distill.Steps != 10 || distill.Tokens != 768 || distill.Betas != [2]float64{0.8, 0.9} ||
		!reflect.DeepEqual(distill.LR, Rates{model.GroupGate: 5e-2}) {
		t.Errorf("distillation %+v", distill)
	}
	if sft.Choice != ChoiceHard || sft.Keep != 1 || sft.WeightDecay[model.GroupMap] != 0.1 || sft.LR[model.GroupMap] != 2e-3 ||
		!reflect.DeepEqual(sft.Trainable, []model.Group{model.GroupGate, model.GroupMap, model.GroupWrite}) {
		t.Errorf("S-SFT %+v", sft)
	}
}

func TestParseErrors(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       string // the error's lines, without the file's name
	}{
		{"empty", "", ": the file is empty"},
		{"only a comment", "# nothing\n", ": the file is empty"},
		{"not a mapping", "- a\n", ": the file must be a section of keys, not a list"},
		{"two documents", small + "---\n" + small, ": want one YAML document, found 2"},
		{"syntax", "model: [\n", ":1: sequence end token ']' not found"},
		{"key twice", "seed: 1\nseed: 2\n", `:2: mapping key "seed" already defined at [1:1]`},
		{"unknown key", small + "sede: 1\n", `:7: sede is not a known key; did you mean "seed"?`},
		{"unknown nested key", small + "block:\n  windw: 3\n", `:8: block.windw is not a known key; did you mean "window"?`},
		{"unknown key of a stage", small + "    lr: {gates: 1}\n", `:7: stages[0].lr.gates is not a known key; did you mean "gate"?`},
		{"unlike any key", small + "checkpoint: {xyz: 1}\n", `:7: checkpoint.xyz is not a known key; known here: every, keep`},
		{"format", small + "eval: {format: alpacca}\n", `:7: eval.format is "alpacca"; did you mean "alpaca"? It must be one of messages, sharegpt, longbench, qa, alpaca, prompt, text`},
		{"column", small + "eval: {columns: {contex: a}}\n", `:7: eval.columns.contex is not a known key; did you mean "context"?`},
		{"word for a number", small + "seed: abc\n", `:7: seed must be a whole number, not "abc"`},
		{"fraction for an integer", small + "seed: 1.5\n", `:7: seed must be a whole number, not 1.5`},
		{"exponent for an integer", small + "seed: 1e2\n", `:7: seed must be a whole number, not "1e2"`},
		{"too large", small + "seed: 99999999999999999999\n", `:7: seed must be a whole number, not "99999999999999999999"`},
		{"too large for int64", small + "seed: 10000000000000000000\n", `:7: cannot unmarshal 10000000000000000000 into Go value of type int64 ( overflow )`},
		{"quoted number", small + "    clip: '1.0'\n", `:7: stages[0].clip must be a number, not "1.0"`},
		{"infinite", small + "    clip: .inf\n", `:7: stages[0].clip must be a number, not .inf`},
		{"number for text", small + "name: 12\n", `:7: name must be text, not 12`},
		{"word for a switch", small + "block: {map: 1}\n", `:7: block.map must be true or false, not 1`},
		{"no value", small + "seed:\n", `:7: seed has no value; give one or remove the key`},
		{"section for a number", small + "seed: {a: 1}\n", `:7: seed must be a whole number, not a section of keys`},
		{"number for a section", small + "block: 3\n", `:7: block must be a section of keys, not 3`},
		{"word for a list", "stages: s-sft\n", `:1: stages must be a list, not "s-sft"`},
		{"pair", small + "    betas: [0.9]\n", `:7: stages[0].betas must be a list of 2, not of 1`},
		{"alias", "name: &x a\noutput: *x\n", ":1: name must be text, not an anchor, alias or tag, which configs do not use\n:2: output must be text, not an anchor, alias or tag, which configs do not use"},
		{"missing", "seed: 1\n", ": model.path is missing, but it is required\n: data.train is missing, but it is required\n: stages is missing; list at least one stage, such as - kind: s-sft"},
		{"missing in a section", strings.Replace(small, "  path: ../model/demo", "  {}", 1), ":1: model.path is missing, but it is required"},
		{"missing kind", small + "  - steps: 3\n", ":7: stages[1].kind is missing; it must be one of s-sft, distill, prune"},
		{"a kind without a name", small + "  - {kind: 3, step: 4}\n", `:7: stages[1].kind must be text, not 3`},
		{"no stage", small + "  - s-sft\n", `:7: stages[1] must be a section of keys, not "s-sft"`},
		{"mistyped kind", small + "  - kind: distil\n", `:7: stages[1].kind is "distil"; did you mean "distill"? It must be one of s-sft, distill, prune`},
		{"mistyped key of a stage", small + "  - {kind: prune, gains: 0.5}\n", `:7: stages[1].gains is not a known key; did you mean "gain"?`},
		{"unlike any key of a stage", small + "  - {kind: prune, xyz: 0.5}\n", `:7: stages[1].xyz is not a known key; known here: kind, samples, gain`},
		{"mistyped way", small + "    choice: sofd\n", `:7: stages[0].choice is "sofd"; did you mean "soft"? It must be one of soft, hard`},
		{"unknown kind", small + "  - kind: dpo\n", `:7: stages[1].kind is "dpo"; it must be one of s-sft, distill, prune`},
		{"unknown preset", small + "block: {preset: eisf}\n", `:7: block.preset is "eisf"; did you mean "eisft"? It must be one of edgeinfinite, eisft, infini`},
		{
			"unknown dtype", strings.Replace(small, "demo", "demo\n  dtype: float16", 1),
			`:3: model.dtype is "float16"; did you mean "float32"? It must be one of auto, float32, stored`,
		},
		{"unknown gate", small + "block: {gate: slots}\n", `:7: block.gate is "slots"; did you mean "slot"? It must be one of scalar, vector, query, slot, mass`},
		{"unknown gate alone is reported", small + "    trainable: [gate, feature]\nblock: {gate: slots}\n", `:8: block.gate is "slots"; did you mean "slot"? It must be one of scalar, vector, query, slot, mass`},
		{"block size", small + "block: {sink: -1}\n", `:7: block.sink is -1; it must be at least 0`},
		{"block that contradicts itself", small + "block: {preset: edgeinfinite, memory: none}\n", `:7: block cannot be built: map and write_gate belong to the memory, but memory is none; switch them off or set memory: linear`},
		{"block without parameters", small + "block: {memory: none, slots: 0}\n", `:7: block has nothing to train: slots are 0 and memory is none`},
		{"unknown policy", small + "eval: {policies: [window, ful]}\n", `:7: eval.policies[1] is "ful"; did you mean "full"? It must be one of full, window, random, h2o, snapkv, pyramidkv, tova, keydiff, expected, infini, edgeinfinite, slots, eisft`},
		{"group of another block", small + "    trainable: [gate, map]\n", `:7: stages[0].trainable[1] is "map", but the block has only retention, feature, gate`},
		{"unknown group", small + "    trainable: [gates]\n", `:7: stages[0].trainable[0] is "gates"; did you mean "gate"? It must be one of retention, gate, feature, map, write`},
		{"no group", small + "    trainable: []\n", `:7: stages[0].trainable is empty; name at least one group that the block has: retention, feature, gate`},
		{"ranges", small + "    steps: 0\n    batch: -1\n    warmup: -1\n    min_lr: 2\n    clip: -1\n    betas: [1, -0.5]\n    lr: {gate: -1}\n    weight_decay: {gate: -1}\n", `:7: stages[0].steps is 0; it must be at least 1
:8: stages[0].batch is -1; it must be at least 1
:9: stages[0].warmup is -1; it must be at least 0
:10: stages[0].min_lr is 2; it must be from 0 to 1
:11: stages[0].clip is -1; it must not be negative
:12: stages[0].betas[0] is 1; it must be at least 0 and below 1
:12: stages[0].betas[1] is -0.5; it must be at least 0 and below 1
:13: stages[0].lr.gate is -1; it must not be negative
:14: stages[0].weight_decay.gate is -1; it must not be negative`},
		{"rate beyond all sense", small + "    lr: {gate: 10.5, feature: 10}\n", ":7: stages[0].lr.gate is 10.5; it must be at most 10: AdamW moves each parameter by about so much at every step"},
		{"numbers beyond all sense", small + "    steps: 9223372036854775807\n    batch: 1000000000000\nblock: {sink: 9223372036854775807, feature_dim: 1000000000}\ncheckpoint: {every: 1000000001}\n", `:9: block.sink is 9223372036854775807; it must be at most 1048576
:10: checkpoint.every is 1000000001; it must be at most 1000000000
:7: stages[0].steps is 9223372036854775807; it must be at most 1000000000
:8: stages[0].batch is 1000000000000; it must be at most 65536`},
		{"feature maps beyond all sense", small + "block: {feature_dim: 1000000000}\n", ":7: block.feature_dim is 1000000000; it must be at most 4096"},
		{"lengths beyond all sense", strings.Replace(small, "data:\n", "data:\n  max_tokens: 9223372036854775807\n", 1) + "  - {kind: distill, tokens: 9223372036854775807}\n", `:4: data.max_tokens is 9223372036854775807; it must be at most 1000000000
:8: stages[1].tokens is 9223372036854775807; it must be at most 1000000000`},
		{"ranges of the penalty", small + "    keep: 1.5\n    keep_weight: -1\n", ":7: stages[0].keep is 1.5; it must be from 0 to 1\n:8: stages[0].keep_weight is -1; it must not be negative"},
		{"ranges of the capacity", small + "    capacity: -1\n    capacity_weight: -1\n", ":7: stages[0].capacity is -1; it must be at least 0\n:8: stages[0].capacity_weight is -1; it must not be negative"},
		{"target", small + "  - {kind: distill, target: logit}\n", `:7: stages[1].target is "logit"; did you mean "logits"? It must be one of attention, logits`},
		{"retention", small + "block: {retention: {form: mpl}}\n", `:7: block.retention.form is "mpl"; it must be one of linear, mlp`},
		{"key of the retention", small + "block: {retention: {decays: true}}\n", `:7: block.retention.decays is not a known key; did you mean "decay"?`},
		{"ranges of the sections", small + "eval: {samples: -1, max_new_tokens: 0}\ncheckpoint: {every: -1}\nname: a/b\noutput: ''\n", `:9: name is "a/b"; it must be the name of a folder, since the run is written to one
:10: output is missing, but it is required
:7: eval.samples is -1; it must be at least 0
:7: eval.max_new_tokens is 0; it must be at least 1
:8: checkpoint.every is -1; it must be at least 0`},
		{"key of the other kind", small + "    tokens: 5\n", ":7: stages[0].tokens belongs to stages of kind distill; remove it"},
		{"name of the link", small + "name: Latest\n", `:7: name is "Latest", which is what the link to the newest run is called; give the run another name`},
		{"hidden name", small + "name: .a\n", `:7: name is ".a"; it must not begin with a dot, since folders of runs are not hidden`},
		{"name of a folder above", small + "name: ..\n", `:7: name is ".."; it must be the name of a folder, since the run is written to one`},
		{"name with another system's separator", small + "name: 'a\\b'\n", `:7: name is "a\\b"; it must be the name of a folder, since the run is written to one`},
		{"earlier name of a key", small + "    slots: sofd\n", `:7: stages[0].choice is "sofd"; did you mean "soft"? It must be one of soft, hard`},
		{"earlier name of a key beside it", small + "    choice: soft\n    slots: hard\n", ":8: stages[0].slots is an earlier name of choice, which is here, too; remove one of them"},
		{"key of the other kind", small + "  - {kind: distill, choice: soft}\n", ":7: stages[1].choice belongs to stages of kind s-sft; remove it"},
		{"key of another kind", small + "    samples: 5\n", ":7: stages[0].samples belongs to stages of kind prune; remove it"},
		{"pruning trains nothing", small + "  - {kind: prune, steps: 2, lr: {gate: 1}}\n", ":7: stages[1].steps belongs to stages of kind s-sft or distill; remove it\n:7: stages[1].lr belongs to stages of kind s-sft or distill; remove it"},
		{"pruning without slots", small + "  - {kind: prune, samples: 0, gain: 0}\nblock: {slots: 0}\n", ":7: stages[1].kind is prune, but the block has no slots to take away; remove the stage\n:7: stages[1].samples is 0; it must be at least 1\n:7: stages[1].gain is 0; it must be above 0 and at most 1"},
		{"slot layers", small + "block: {slot_layers: [3, 1]}\n", ":7: block.slot_layers is [3 1]; it must list layers from 0 up, each once, in ascending order"},
		{"no slot layers", small + "block: {slot_layers: []}\n", ":7: block.slot_layers is empty; name at least one layer, leave it out for all of them, or set slots: 0"},
		{"slot layers without slots", small + "block: {slot_layers: [1], slots: 0}\n", ":7: block.slot_layers is [1], but there are no slots; set slots above 0 or leave slot_layers out"},
		{"short distillation", small + "  - {kind: distill, tokens: 767}\n", ":7: stages[1].tokens is 767; it must be at least 768: attention transfer compares whole segments of 256 behind the first 2, and tokens have to have left the window"},
		{"distillation behind a wide window", small + "  - {kind: distill, tokens: 1279}\nblock: {window: 1000}\n", ":7: stages[1].tokens is 1279; it must be at least 1280: attention transfer compares whole segments of 256 behind the first 2, and tokens have to have left the window"},
		{"distillation behind a narrow window", small + "  - {kind: distill, tokens: 767}\nblock: {window: 16}\n", ":7: stages[1].tokens is 767; it must be at least 768: attention transfer compares whole segments of 256 behind the first 2, and tokens have to have left the window"},
		{"samples too short to distill", strings.Replace(small, "data:\n", "data:\n  max_tokens: 767\n", 1) + "  - {kind: distill}\n", ":4: data.max_tokens is 767; for stages[1] it must be at least 768: attention transfer compares whole segments of 256 behind the first 2, and tokens have to have left the window"},
		{"short samples", strings.Replace(small, "data:\n", "data:\n  max_tokens: 100\n", 1), ":4: data.max_tokens is 100; it must be more than sink + window + segment = 520, or no token ever leaves the window"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse([]byte(tc.text), "s.yaml")
			if err == nil {
				t.Fatalf("no error, want\n%s", tc.want)
			}
			if got := strings.ReplaceAll("\n"+err.Error(), "\ns.yaml", "\n")[1:]; got != tc.want {
				t.Errorf("error\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

func TestLoadRefusesLargeFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weights.yaml")
	if err := os.WriteFile(path, make([]byte, strictyaml.MaxSize+1), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "found more than 16384 bytes, too many for what it should be") {
		t.Errorf("error %v", err)
	}
	marked := filepath.Join(t.TempDir(), "marked.yaml")
	if err := os.WriteFile(marked, []byte("\ufeff"+small), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(marked); err != nil {
		t.Errorf("with a byte order mark: %v", err)
	}
	if _, err := os.Stat("/dev/zero"); err == nil {
		if _, err := Load("/dev/zero"); err == nil || !strings.Contains(err.Error(), "found more than 16384 bytes, too many for what it should be") {
			t.Errorf("a device without end: error %v", err)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); !os.IsNotExist(err) {
		t.Errorf("error %v for a missing file", err)
	}
}

// TestWriteAndLoad: what Write leaves in a run's folder is the same run, also
// when both have been moved.
func TestWriteAndLoad(t *testing.T) {
	root := t.TempDir()
	text := small + "eval: {data: test.parquet, prompt: \"a: {context}\\n\\n{input}\\n\", columns: {answers: 'yes'}}\nname: 'null'\n"
	c, err := Parse([]byte(text), filepath.Join(root, "configs", "s.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	before := *c
	run := filepath.Join(root, "runs", "x")
	if err := os.MkdirAll(run, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := c.Write(filepath.Join(run, "config.yaml")); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*c, before) {
		t.Errorf("Write changed its receiver to %+v", c)
	}
	got, err := Load(filepath.Join(run, "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, c) {
		t.Errorf("read back\n%+v, want\n%+v", got, c)
	}
	moved := root + "-moved"
	if err := os.Rename(root, moved); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(moved) })
	got, err = Load(filepath.Join(moved, "runs", "x", "config.yaml"))
	if want := filepath.Join(moved, "model", "demo"); err != nil || got.Model.Path != want {
		t.Errorf("moved: model %q, %v; want %q", got.Model.Path, err, want)
	}
}

// TestReadsEarlierRuns: earlier versions wrote the optimizer's keys for pruning, too,
// with nothing in them, and called S-SFT's choice slots.
func TestReadsEarlierRuns(t *testing.T) {
	c, err := Load("testdata/earlier.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := []model.Group{model.GroupRetention, model.GroupFeature, model.GroupGate}
	optimizer := func(batch, warmup int, groups []model.Group, lr Rates) Optimizer {
		decay := Rates{}
		for _, g := range groups {
			decay[g] = 0
		}
		return Optimizer{Steps: 3, Batch: batch, Trainable: groups, LR: lr, WeightDecay: decay, Betas: [2]float64{0.9, 0.98}, Warmup: warmup, MinLR: 0.05, Clip: 1}
	}
	want := Stages{
		Distill{TargetAttention, 768, KeepPenalty{Keep: 0.2, KeepWeight: 10}, optimizer(2, 30, all, Rates{model.GroupRetention: 2e-2, model.GroupFeature: 3e-3, model.GroupGate: 1e-2})},
		Prune{Samples: 1, Gain: 0.5},
		SSFT{ChoiceHard, KeepPenalty{Keep: 0.15, KeepWeight: 10}, optimizer(1, 20, all[1:], Rates{model.GroupFeature: 2e-3, model.GroupGate: 3e-2})},
		SSFT{ChoiceSoft, KeepPenalty{Keep: 0.15, KeepWeight: 10}, optimizer(1, 20, all, Rates{model.GroupRetention: 1e-2, model.GroupFeature: 2e-3, model.GroupGate: 1e-2})},
	}
	if !reflect.DeepEqual(c.Stages, want) {
		t.Errorf("stages\n%+v, want\n%+v", c.Stages, want)
	}
	written, err := c.Text(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if text := string(written); !strings.Contains(text, "\n    choice: hard\n") || strings.Contains(text, "slots: hard") {
		t.Errorf("written again as\n%s\nwant choice: hard, and not by its earlier name", text)
	}
	for _, edit := range [][2]string{{"    batch: 0\n", "    batch: 1\n"}, {"    lr: {}\n", "    lr: {gate: 0.1}\n"}, {"      - 0.0\n      - 0.0\n", "      - 0.0\n      - 0.1\n"}} {
		text, err := os.ReadFile("testdata/earlier.yaml")
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(text), edit[0], edit[1], 1)
		if _, err := Parse([]byte(changed), "testdata/earlier.yaml"); err == nil || !strings.Contains(err.Error(), "belongs to stages of kind s-sft or distill; remove it") {
			t.Errorf("%q: error %v", edit[1], err)
		}
	}
}

func TestFind(t *testing.T) {
	root := t.TempDir()
	deep := filepath.Join(root, "a", "b")
	for _, dir := range []string{deep, filepath.Join(root, "configs")} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	shipped, own := filepath.Join(root, "configs", "s.yaml"), filepath.Join(deep, "own.yaml")
	for _, path := range []string{shipped, own} {
		if err := os.WriteFile(path, []byte(small), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(deep)
	for name, want := range map[string]string{"own.yaml": "own.yaml", own: own, "s.yaml": shipped} {
		if got, err := Find(name); got != want || err != nil {
			t.Errorf("Find(%q) = %q, %v; want %q", name, got, err, want)
		}
	}
	for name, want := range map[string]string{
		"none.yaml":   "none.yaml: no such file here, nor in a configs folder in or above ",
		"./none.yaml": "stat ./none.yaml: no such file or directory",
		"":            "the file's name is empty; give a path, or the name of a file in configs",
	} {
		if got, err := Find(name); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Find(%q) = %q, %v; want %q", name, got, err, want)
		}
	}
	for name, want := range map[string]string{"onw.yaml": "own.yaml", "./onw.yaml": "own.yaml", "s.yml": "s.yaml", "s": "s.yaml", "../zebra.yaml": ""} {
		_, err := Find(name)
		if _, hint, _ := strings.Cut(fmt.Sprint(err), "; "); want == "" && hint != "" || want != "" && hint != fmt.Sprintf("did you mean %q?", want) {
			t.Errorf("Find(%q): %v, want %q meant", name, err, want)
		}
	}
}

// shipped lists every configuration that comes with eisft.
func shipped(t testing.TB) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{"../../configs/*.yaml", "../../configs/ablation/*.yaml"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d configurations, %v", pattern, len(found), err)
		}
		files = append(files, found...)
	}
	return files
}

func TestShipped(t *testing.T) {
	for _, f := range shipped(t) {
		c, err := Load(f)
		if err != nil {
			t.Error(err)
			continue
		}
		if err := c.rebase(func(_, path string) (string, error) {
			_, err := os.Stat(path)
			return path, err
		}); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(small))
	for _, path := range shipped(f) {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse(text, "/project/configs/fuzz.yaml")
		if err != nil {
			return
		}
		out, err := c.Text("/project/runs/x")
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(out, "/project/runs/x/config.yaml")
		if err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		if !reflect.DeepEqual(c, again) {
			t.Errorf("read back\n%+v, want\n%+v", again, c)
		}
	})
}

// TestTemplateOptions: options of the chat template have any type, and come back as they
// were written.
func TestTemplateOptions(t *testing.T) {
	c := parse(t, strings.Replace(small, "train.parquet\n", "train.parquet\n  on_bad_row: skip\n  template_options: {b: [1, x, {y: 2.5}], a: false, c: text}\n", 1))
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := c.Write(path); err != nil {
		t.Fatal(err)
	}
	again, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*Config{c, again} {
		fields, err := c.Data.TemplateOptions.Fields()
		var got []string
		for _, f := range fields {
			got = append(got, f.Name+"="+string(f.Value))
		}
		if want := `a=false b=[1,"x",{"y":2.5}] c="text"`; strings.Join(got, " ") != want || err != nil || c.Data.OnBadRow != data.BadRowSkip {
			t.Errorf("%s, %q (%v), want %s", got, c.Data.OnBadRow, err, want)
		}
	}
	_, err = Parse([]byte(strings.Replace(small, "train.parquet\n", "train.parquet\n  on_bad_row: skp\n", 1)), "c.yaml")
	if want := `c.yaml:5: data.on_bad_row is "skp"; did you mean "skip"? It must be one of fail, skip`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestCache(t *testing.T) {
	if c := parse(t, small+"block: {cache: float16}\n"); c.Block.Cache != model.CacheFloat16 {
		t.Errorf("block.cache is %q", c.Block.Cache)
	}
	_, err := Parse([]byte(small+"block: {cache: float8}\n"), "c.yaml")
	if want := `block.cache is "float8"; did you mean "float32"? It must be one of float32, float16, int8`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}
