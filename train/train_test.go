package train

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"eisft/data"
	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/train/config"
	"eisft/train/runs"
)

// tinyConfig trains on four short chats with a block small enough for them to
// leave its window.
func tinyConfig(t testing.TB, stages string) *config.Config {
	t.Helper()
	dir := t.TempDir()
	chat := func(n int) string {
		return `{"messages":[{"role":"user","content":"` + strings.Repeat("The garage code is 4711. ", n) + `"},{"role":"assistant","content":"It is 4711."}]}` + "\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "chats.jsonl"), []byte(chat(8)+chat(9)+chat(10)+chat(11)), 0o644); err != nil {
		t.Fatal(err)
	}
	base, err := filepath.Abs("../model/demo")
	if err != nil {
		t.Fatal(err)
	}
	text := `
name: tiny
model: {path: ` + base + `}
block: {sink: 2, window: 16, segment: 16, slots: 8}
data: {train: chats.jsonl}
stages: ` + stages + `
output: ` + filepath.Join(dir, "runs") + "\n"
	c, err := config.Parse([]byte(text), filepath.Join(dir, "tiny.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const (
	sftStage     = "{kind: s-sft, steps: 3, batch: 2}"
	distillStage = "{kind: distill, steps: 2, batch: 1, tokens: 64}"
)

// TestCoresSameBits trains the same configurations on other numbers of cores: every sum is
// added up in an order that does not depend on them.
func TestCoresSameBits(t *testing.T) {
	for name, change := range map[string]func(*config.Config){
		"default, distilled": func(c *config.Config) { c.Stages = tinyConfig(t, "["+distillStage+", "+sftStage+"]").Stages },
		"delta, mass gate":   func(c *config.Config) { c.Block.Memory, c.Block.Gate = model.MemoryDelta, model.GateMass },
		"elu, query gate":    func(c *config.Config) { c.Block.Feature, c.Block.Gate = model.FeatureELU, model.GateQuery },
		"map, write gate":    func(c *config.Config) { c.Block.Map, c.Block.WriteGate, c.Block.Slots = true, true, 0 },
		"stored weights":     func(c *config.Config) { c.Model.DType = model.DTypeStored },
	} {
		t.Run(name, func(t *testing.T) {
			c := tinyConfig(t, "["+sftStage+"]")
			change(c)
			var first []*model.Param
			for _, cores := range []int{1, 7} {
				params := trainedOn(t, c, cores)
				if first == nil {
					first = params
				}
				for i, p := range params {
					if !slices.Equal(p.Data, first[i].Data) {
						t.Errorf("%s differs between one core and %d", p.Name, cores)
					}
				}
			}
		})
	}
}

func trainedOn(t *testing.T, c *config.Config, cores int) []*model.Param {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
	run, err := Train(t.Context(), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return run.Model.Params.List()
}

// TestSameSeedSameWeights trains twice; both runs are kept and open as they were left.
func TestSameSeedSameWeights(t *testing.T) {
	c := tinyConfig(t, "["+distillStage+", "+sftStage+"]")
	first, err := Train(t.Context(), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	second, err := Train(t.Context(), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if first.Dir == second.Dir {
		t.Fatalf("the second run overwrote %s", first.Dir)
	}
	moved := false
	fresh := model.NewParams(first.Model.Spec, first.Model.Base.Dims, len(first.Model.Base.Layers))
	for i, p := range first.Model.Params.List() {
		if !slices.Equal(p.Data, second.Model.Params.List()[i].Data) {
			t.Errorf("%s differs between two runs with the same seed", p.Name)
		}
		moved = moved || !slices.Equal(p.Data, fresh.List()[i].Data)
	}
	if !moved {
		t.Error("training moved no parameter")
	}
	reopened, err := runs.Open(filepath.Join(c.Output, runs.Latest))
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range reopened.Model.Params.List() {
		if !slices.Equal(p.Data, second.Model.Params.List()[i].Data) {
			t.Errorf("%s differs after saving and loading", p.Name)
		}
	}
}

// TestStoredWeights: the losses do not depend on how the base's weights are held.
func TestStoredWeights(t *testing.T) {
	c := tinyConfig(t, "["+distillStage+", "+sftStage+"]")
	found := map[model.DType][]float64{}
	for _, dtype := range []model.DType{model.DTypeFloat32, model.DTypeStored} {
		c.Model.DType = dtype
		run, err := Train(t.Context(), c, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range strings.Fields(losses(t, run.Dir)) {
			loss, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			found[dtype] = append(found[dtype], loss)
		}
	}
	for i, want := range found[model.DTypeFloat32] {
		if got := found[model.DTypeStored][i]; math.Abs(got-want) > 1e-5*want {
			t.Errorf("step %d: loss %g, want %g", i+1, got, want)
		}
	}
}

// TestEveryKindIsRun: a kind of stage that a configuration can name has its runner.
func TestEveryKindIsRun(t *testing.T) {
	if got, want := stages.Names(), config.Kinds(); !slices.Equal(got, want) {
		t.Errorf("kinds that are run: %v, want those of configurations, %v", got, want)
	}
}

// stopAfter cancels a context after it has been asked a number of times.
type stopAfter struct {
	context.Context
	left atomic.Int64
}

func newStopAfter(t *testing.T, left int64) *stopAfter {
	s := &stopAfter{Context: t.Context()}
	s.left.Store(left)
	return s
}

func (s *stopAfter) Err() error {
	if s.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// TestResumeIsExact stops a run of two stages at every possible place and goes
// on: the weights and the metrics' losses are those of a run that was not
// stopped.
func TestResumeIsExact(t *testing.T) {
	c := tinyConfig(t, "["+distillStage+", "+sftStage+"]")
	whole, err := Train(t.Context(), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	stopped := 0
	for left := int64(0); ; left += 9 {
		run, err := Train(newStopAfter(t, left), c, Options{})
		if err == nil {
			break
		}
		if !errors.Is(err, ErrStopped) {
			t.Fatal(err)
		}
		if run == nil { // stopped while rows were checked
			continue
		}
		if _, err := os.Stat(run.Dir); err != nil { // stopped before the first step
			continue
		}
		stopped++
		resumed, err := Train(t.Context(), c, Options{Resume: true})
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range resumed.Model.Params.List() {
			if !slices.Equal(p.Data, whole.Model.Params.List()[i].Data) {
				t.Fatalf("stopped after %d checks: %s differs from the run that was not stopped", left, p.Name)
			}
		}
		if a, b := losses(t, resumed.Dir), losses(t, whole.Dir); a != b {
			t.Fatalf("losses %s, want %s", a, b)
		}
	}
	if stopped < 3 {
		t.Errorf("the run was stopped at %d places only", stopped)
	}
}

// readMetrics returns the lines of metrics.jsonl.
func readMetrics(t *testing.T, dir string) []runs.Metrics {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, runs.MetricsFile))
	if err != nil {
		t.Fatal(err)
	}
	var out []runs.Metrics
	for line := range strings.Lines(string(text)) {
		var m runs.Metrics
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

// losses returns the loss fields of metrics.jsonl.
func losses(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, runs.MetricsFile))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(text)) {
		_, rest, _ := strings.Cut(line, `"loss":`)
		loss, _, _ := strings.Cut(rest, ",")
		out = append(out, loss)
	}
	return strings.Join(out, " ")
}

func TestResumeErrors(t *testing.T) {
	c := tinyConfig(t, "["+sftStage+"]")
	_, err := Train(t.Context(), c, Options{Resume: true})
	wantError(t, err, "there is no run", "leave --resume out")
	if _, err := Train(t.Context(), c, Options{}); err != nil {
		t.Fatal(err)
	}
	_, err = Train(t.Context(), c, Options{Resume: true})
	wantError(t, err, "has no checkpoint", "it was finished; go on beyond its end with --extend")

	if _, err := Train(newStopAfter(t, 30), c, Options{}); !errors.Is(err, ErrStopped) {
		t.Fatalf("got %v, want ErrStopped", err)
	}
	if to, err := os.Readlink(filepath.Join(c.Output, runs.Latest)); err != nil || to != "tiny" {
		t.Errorf("latest is %q, %v after a run was stopped, want the one that ended well", to, err)
	}
	other := *c
	other.Seed = 7
	_, err = Train(t.Context(), &other, Options{Resume: true})
	wantError(t, err, "another configuration: seed was 0 and is 7; resume")
	_, err = Train(t.Context(), &other, Options{Resume: true, Written: config.Written{"seed": true}})
	wantError(t, err, "another configuration: seed was 0 and is 7; resume")
	if r, err := Train(t.Context(), c, Options{}); err != nil || filepath.Base(r.Dir) != "tiny-3" {
		t.Fatalf("got %v, want another run", err)
	} // the stopped one is found all the same

	path := filepath.Join(c.Output, "tiny-2", runs.CheckpointFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var notes []string // a default that is another one by now refuses nothing, and nothing is written before all is checked
	other.Checkpoint.Every = 3
	kept := filepath.Join(c.Output, "tiny-2", runs.ConfigFile)
	was, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	altered := bytes.Clone(text)
	altered[len(text)-2] ^= 1
	for damaged, want := range map[string]string{string(text[:len(text)/2]): "", string(altered): "the file is damaged"} {
		if err := os.WriteFile(path, []byte(damaged), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err = Train(t.Context(), &other, Options{Resume: true, Written: config.Written{"checkpoint.every": true}, Note: func(n string) { notes = append(notes, n) }})
		wantError(t, err, runs.CheckpointFile, want)
		if now, err := os.ReadFile(kept); err != nil || !bytes.Equal(now, was) {
			t.Errorf("%v, the configuration was changed:\n%s", err, now)
		}
	}
	if all := strings.Join(notes, "\n"); !strings.Contains(all, "which stays as it was: seed was 0 and is 7 by default") {
		t.Errorf("notes %q", notes)
	}
}

// TestBadRows: rows that cannot be trained on are found before anything is trained, or left
// out; a run that is resumed leaves out the same.
func TestBadRows(t *testing.T) {
	c := tinyConfig(t, "["+sftStage+"]")
	good, err := os.ReadFile(c.Data.Train.String())
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad.jsonl")
	lines := strings.SplitAfter(string(good), "\n")
	text := lines[0] + `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":" "}]}` + "\n" + strings.Join(lines[1:], "")
	if err := os.WriteFile(bad, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	want, err := Train(t.Context(), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.Data.Train = data.One(bad)
	_, err = Train(t.Context(), c, Options{})
	wantError(t, err, "bad.jsonl: 1 of 5 rows cannot be trained on:\n  line 2: message 2 is an empty answer\n", "data.on_bad_row: skip")
	c.Data.OnBadRow = data.BadRowSkip
	var warnings []string
	got, err := Train(t.Context(), c, Options{Warn: func(m string) { warnings = append(warnings, m) }})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := losses(t, got.Dir), losses(t, want.Dir); a != b {
		t.Errorf("without the bad row: losses %s, want %s", a, b)
	}
	if all := strings.Join(warnings, "\n"); strings.Count(all, "left out (data.on_bad_row: skip):\n  line 2: message 2 is an empty answer") != 1 {
		t.Errorf("warned of %q", all)
	}
}

// TestBlockOfAnotherConfiguration: a run whose adapter and configuration contradict each other
// does not open. Slots may be missing where a stage has pruned them, and nowhere else.
func TestBlockOfAnotherConfiguration(t *testing.T) {
	run, err := Train(t.Context(), tinyConfig(t, "["+sftStage+"]"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	pruned, err := run.Model.KeepSlots([]int{2, 6})
	if err != nil {
		t.Fatal(err)
	}
	prunes := tinyConfig(t, "["+sftStage+", {kind: prune, samples: 1}]").Stages
	opens := func(m *model.Model, c config.Config, want string) {
		t.Helper()
		if err := m.SaveAdapter(run.Dir, c.Model.Path); err != nil {
			t.Fatal(err)
		}
		if err := c.Write(filepath.Join(run.Dir, runs.ConfigFile)); err != nil {
			t.Fatal(err)
		}
		if _, err := runs.Open(run.Dir); want != "" {
			wantError(t, err, want)
		} else if err != nil {
			t.Error(err)
		}
	}
	for _, tc := range []struct {
		model               *model.Model
		change              func(*model.Spec)
		want, wantWhenPrune string
	}{
		{run.Model, func(s *model.Spec) { s.Window = 32 }, "describe different blocks (window 32, but 16); they belong to different runs, or", "(window 32, but 16)"},
		{run.Model, func(s *model.Spec) { s.SlotLayers = []int{2} }, "(slot_layers [2], but all)", "adapter_config.json has slots in layer 0, but config.yaml has none there"},
		{run.Model, func(*model.Spec) {}, "", ""},
		{pruned, func(*model.Spec) {}, "config.yaml and adapter_config.json describe different blocks (slot_layers all, but [2 6])", ""},
		{pruned, func(s *model.Spec) { s.SlotLayers = []int{2, 3, 6} }, "(slot_layers [2 3 6], but [2 6])", ""},
		{pruned, func(s *model.Spec) { s.SlotLayers = []int{2, 3} }, "(slot_layers [2 3], but [2 6])", "has slots in layer 6"},
		{pruned, func(s *model.Spec) { s.Slots = 9 }, "(slots 9, but 8)", "(slots 9, but 8)"},
	} {
		c := run.Config
		tc.change(&c.Block.Spec)
		opens(tc.model, c, tc.want)
		c.Stages = prunes
		opens(tc.model, c, tc.wantWhenPrune)
	}
}

// TestMovedRun: a run that was moved away from its base says where it looks, and what to do.
func TestMovedRun(t *testing.T) {
	run, err := Train(t.Context(), tinyConfig(t, "["+sftStage+"]"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(run.Dir, moved); err != nil {
		t.Fatal(err)
	}
	gone := run.Config
	gone.Model.Path = filepath.Join(filepath.Dir(moved), "base")
	if err := gone.Write(filepath.Join(moved, runs.ConfigFile)); err != nil {
		t.Fatal(err)
	}
	_, err = runs.Open(moved)
	wantError(t, err, "run "+moved+": its base is not at "+gone.Model.Path+"; put it there, or say with --model where it is")
	if _, err := runs.OpenOn(moved, run.Config.Model.Path); err != nil {
		t.Error(err)
	}
}

// TestResumeMoved: a run goes on where base and data have been moved, as their content is what it was.
func TestResumeMoved(t *testing.T) {
	c := tinyConfig(t, "["+sftStage+"]")
	whole, err := Train(t.Context(), tinyConfig(t, "["+sftStage+"]"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Train(newStopAfter(t, 30), c, Options{}); !errors.Is(err, ErrStopped) {
		t.Fatalf("got %v, want ErrStopped", err)
	}
	dir := t.TempDir()
	moved := *c
	moved.Model.Path, moved.Data.Train = filepath.Join(dir, "base"), data.One(filepath.Join(dir, "rows.jsonl"))
	if err := os.CopyFS(moved.Model.Path, os.DirFS(c.Model.Path)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(c.Data.Train.String(), moved.Data.Train.String()); err != nil {
		t.Fatal(err)
	}
	run, err := Train(t.Context(), &moved, Options{Resume: true})
	if err != nil {
		t.Fatal(err)
	}
	sameParams(t, run, whole)
	if again, err := runs.Open(run.Dir); err != nil || again.Config.Data.Train.String() != moved.Data.Train.String() {
		t.Errorf("the run does not say where its data are now: %v", err)
	}
}

// TestResumeWithOtherInputs: what a run reads must be what it was when it stopped.
func TestResumeWithOtherInputs(t *testing.T) {
	c := tinyConfig(t, "["+sftStage+"]")
	base := filepath.Join(t.TempDir(), "base")
	if err := os.CopyFS(base, os.DirFS(c.Model.Path)); err != nil {
		t.Fatal(err)
	}
	c.Model.Path = base
	if _, err := Train(newStopAfter(t, 30), c, Options{}); !errors.Is(err, ErrStopped) {
		t.Fatalf("got %v, want ErrStopped", err)
	}
	for _, tc := range []struct{ path, want string }{
		{c.Data.Train.String(), "data.train: its content has changed since the checkpoint was written"},
		{filepath.Join(base, "model.safetensors"), "model.path: its content has changed"},
		{filepath.Join(base, "tokenizer_config.json"), "model.path/tokenizer_config.json: its content has changed"},
	} {
		good, err := os.ReadFile(tc.path)
		if err != nil {
			t.Fatal(err)
		}
		bad := append(slices.Clone(good), ' ')
		if tc.path == c.Data.Train.String() {
			bad = bytes.Replace(good, []byte("It is 4711."), []byte("It is 4712."), 1)
		}
		if filepath.Ext(tc.path) == ".safetensors" {
			bad = slices.Clone(good)
			bad[len(bad)-1] ^= 0x80 // the sign of the last weight
		}
		if err := os.WriteFile(tc.path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err = Train(t.Context(), c, Options{Resume: true})
		wantError(t, err, runs.CheckpointFile, tc.want, "go on with what was there, or start a new run, without --resume")
		if err := os.WriteFile(tc.path, good, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	same, err := os.ReadFile(c.Data.Train.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.Data.Train.String(), append(same, '\n'), 0o644); err != nil { // the same rows
		t.Fatal(err)
	}
	if _, err := Train(t.Context(), c, Options{Resume: true}); err != nil {
		t.Errorf("with all as it was: %v", err)
	}
}

// TestNoSampleFits leaves no run folder behind.
func TestNoSampleFits(t *testing.T) {
	c := tinyConfig(t, "["+sftStage+"]")
	c.Data.MaxTokens = 40
	_, err := Train(t.Context(), c, Options{})
	wantError(t, err, "chats.jsonl: 4 of 4 rows cannot be trained on", "line 4: sample is too long", "longer than data.max_tokens, which is 40: raise it")
	if _, err := os.Stat(c.Output); err == nil {
		t.Errorf("%s was made all the same", c.Output)
	}
}

// TestTokenizerOfAnotherModel is found before anything is read.
func TestTokenizerOfAnotherModel(t *testing.T) {
	base := t.TempDir()
	if err := os.CopyFS(base, os.DirFS(testfiles.Golden(t, "stories260k/model"))); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../model/demo/tokenizer.json")
	if err == nil {
		err = os.WriteFile(filepath.Join(base, "tokenizer.json"), text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := tinyConfig(t, "["+sftStage+"]")
	c.Model.Path = base
	_, err = Train(t.Context(), c, Options{})
	wantError(t, err, base+": the tokenizer has 4096 tokens, but the model embeds only 512; they belong to different models")
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if err == nil || !strings.Contains(err.Error(), p) {
			t.Errorf("got error %v, want one that contains %q", err, p)
		}
	}
}

// TestAdamW follows two steps of AdamW computed by hand: the first one moves by
// the whole rate whatever the gradient's size, after a decay of lr·decay.
func TestAdamW(t *testing.T) {
	spec := model.Spec{Segment: 1, Slots: 1, Positions: model.PositionsCompact, Memory: model.MemoryNone}
	p := model.NewParams(spec, model.Dims{Heads: 1, KVHeads: 1, HeadDim: 2, Hidden: 1}, 1)
	w := p.Layers[0].RetentionWeight.Data
	w[0] = 2
	a, grads := newAdamW(p), p.Zero()
	s := config.Optimizer{Betas: [2]float64{0.9, 0.99}, Trainable: []model.Group{model.GroupRetention}, LR: config.Rates{model.GroupRetention: 0.1}, WeightDecay: config.Rates{model.GroupRetention: 0.5}}
	grads.Layers[0].RetentionWeight.Data[0] = 3
	a.update(grads, s, 1)
	near(t, w[0], 2-0.1*0.5*2-0.1)
	grads.Layers[0].RetentionWeight.Data[0] = -1
	a.update(grads, s, 0.5)
	m, v := (0.9*0.3-0.1)/(1-0.81), (0.99*0.09+0.01)/(1-0.9801)
	near(t, w[0], 1.8*(1-0.05*0.5)-0.05*m/math.Sqrt(v))
	s.Trainable = nil
	was := w[0]
	a.update(grads, s, 1)
	near(t, w[0], float64(was))
}

func TestClipAndRate(t *testing.T) {
	p := model.NewParams(model.Spec{Segment: 1, Slots: 1, Memory: model.MemoryNone}, model.Dims{Heads: 1, KVHeads: 1, HeadDim: 2, Hidden: 1}, 1)
	p.Layers[0].RetentionWeight.Data[0], p.Layers[0].RetentionBias.Data[0] = 3, 4
	trainable := []model.Group{model.GroupRetention}
	norm, err := clip(p, trainable, 1)
	if err != nil {
		t.Fatal(err)
	}
	near(t, float32(norm), 5)
	near(t, p.Layers[0].RetentionBias.Data[0], 0.8)
	p.Layers[0].RetentionBias.Data[0] = float32(math.NaN())
	_, err = clip(p, trainable, 1)
	wantError(t, err, "training has diverged", "lower the learning rates")

	s := config.Optimizer{Steps: 100, Warmup: 10, MinLR: 0.1}
	near(t, float32(rateAt(s, 0)), 0.1)
	near(t, float32(rateAt(s, 50)), 0.55)
	if r := rateAt(s, 99); r < 0.1 || r > 0.101 {
		t.Errorf("the last rate is %g, want about 0.1", r)
	}
}

func near(t *testing.T, got float32, want float64) {
	t.Helper()
	if math.Abs(float64(got)-want) > 1e-6 {
		t.Errorf("got %g, want %g", got, want)
	}
}
