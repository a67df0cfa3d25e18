package quant

import (
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"eisft/data"
	"eisft/internal/ranks"
	"eisft/model"
	"eisft/model/hf"
	"eisft/model/modeltest"
	"eisft/quant/encoding"
)

// walkOptions round a small model with slots and memory by seqmse.
func walkOptions(t testing.TB) (*model.Model, *Quantized, RoundOptions) {
	t.Helper()
	m := modeltest.OpenEdge(t, "retain-memory").Model
	samples := randomSamples(64, 150, 9, 97) // the second does not fill a segment
	q := pointsOf(t, m, w4(encoding.Format{Bits: 4, Block: 16, LowPower: true}), samples...)
	return m, q, RoundOptions{Recipe: &Recipe{Weights: RoundSeqMSE}, Samples: again(samples...), Format: formatOf(q.Scheme)}
}

// outputs are the outputs of each layer of a model on a sequence.
type outputs struct{ layers [][]float32 }

func (o *outputs) LogSums(int, int, int) []float32 { return nil }

func (o *outputs) Remember(int, []float32) {}

func (o *outputs) Write(int, model.Written, []int32, []float32) {}

func (o *outputs) Layer(i int, x []float32, _ model.Past) {
	if i == len(o.layers) {
		o.layers = append(o.layers, nil)
	}
	o.layers[i] = append(o.layers[i], x...)
}

func (o *outputs) Output(x []float32) { o.Layer(len(o.layers)-1, x, model.Past{}) }

// layerInputs returns what each layer of a model reads of a sequence and, last, what the
// last one puts out.
func layerInputs(t testing.TB, m *model.Model, w model.Wrap, ids []int32) [][]float32 {
	t.Helper()
	o := &outputs{layers: make([][]float32, len(m.Base.Layers)+1)}
	if err := m.NewStream(model.StreamOptions{Wrap: w, Tape: o}).Feed(t.Context(), ids, 0, func(int, []float32) error { return nil }); err != nil {
		t.Fatal(err)
	}
	return o.layers
}

// TestRefine: after each layer Refine sees what the quantized layers before it make and what
// the float model makes of the layer, and what it changes is what later layers go by.
func TestRefine(t *testing.T) {
	m, q, o := walkOptions(t)
	var ids [][]int32
	for s, err := range o.Samples() {
		if err == nil && len(s.IDs) > 9 {
			ids = append(ids, s.IDs)
		}
	}
	var inputs, targets [][][]float32 // by layer and sequence
	o.Refine = func(_ context.Context, l *Layer) error {
		if len(l.Weights) != 7 || l.Model != m || l.Index != len(inputs) {
			t.Errorf("layer %d of %d has %d weights", l.Index, len(inputs), len(l.Weights))
		}
		clear(l.Weights[model.RoleOutput].Codes)
		l.Weights[model.RoleUp].Scales[0] *= 2
		l.Weights[model.RoleUp].Channels = nil
		read := func(s *States) (out [][]float32) {
			for i := range s.Sequences() {
				x := make([]float32, s.Len(i)*m.Base.Dims.Hidden)
				half := s.Len(i) / 2
				for first, part := range map[int][]float32{0: x[:half*m.Base.Dims.Hidden], half: x[half*m.Base.Dims.Hidden:]} {
					if err := s.Read(part, i, first); err != nil {
						t.Error(err)
					}
				}
				out = append(out, x)
			}
			return out
		}
		inputs, targets = append(inputs, read(l.Inputs)), append(targets, read(l.Outputs))
		if err := l.Inputs.Read(make([]float32, 2*m.Base.Dims.Hidden), 0, l.Inputs.Len(0)-1); err == nil {
			t.Error("states behind the end of a sequence were read")
		}
		return nil
	}
	if err := RoundWeights(t.Context(), m, q, o); err != nil {
		t.Fatal(err)
	}
	faked, wrap, err := Apply(m, q)
	if err != nil {
		t.Fatal(err)
	}
	for i := range ids {
		float, rounded := layerInputs(t, m, nil, ids[i]), layerInputs(t, faked, wrap, ids[i])
		for l := range m.Base.Layers {
			if !slices.Equal(targets[l][i], float[l+1]) {
				t.Errorf("sequence %d, layer %d: the target is not the float model's output", i, l)
			}
			if !slices.Equal(inputs[l][i], rounded[l]) {
				t.Errorf("sequence %d, layer %d: the input is not the quantized model's", i, l)
			}
		}
	}
}

// TestWalkGoesOn: a run that was stopped goes on behind the last finished layer and ends as
// one that was not; with another recipe it begins anew.
func TestWalkGoesOn(t *testing.T) {
	m, q, o := walkOptions(t)
	if err := RoundWeights(t.Context(), m, q, o); err != nil {
		t.Fatal(err)
	}
	want := q.Weights
	o.Partial = filepath.Join(t.TempDir(), ".w4.partial")
	samples, refined, stop, stopping := o.Samples, []int{}, errors.New("stop"), true
	o.Refine = func(_ context.Context, l *Layer) error {
		refined = append(refined, l.Index)
		if l.Index == 1 && stopping {
			return stop
		}
		return nil
	}
	if err := RoundWeights(t.Context(), m, q, o); !errors.Is(err, stop) {
		t.Fatalf("error %v, want %v", err, stop)
	}
	if !reflect.DeepEqual(q.Weights, want) {
		t.Error("a run that was stopped has changed the weights")
	}
	wantFiles(t, o.Partial, "floats-1.f32", "layer-0.safetensors", "state.json", "states-1.f32")

	stopping = false
	run := func(what string, layers ...int) {
		t.Helper()
		refined, q.Weights = nil, nil
		if err := RoundWeights(t.Context(), m, q, o); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if !slices.Equal(refined, layers) {
			t.Errorf("%s: layers %v were rounded, want %v", what, refined, layers)
		}
		if !reflect.DeepEqual(q.Weights, want) {
			t.Errorf("%s: the weights are others", what)
		}
		wantFiles(t, o.Partial, "layer-0.safetensors", "layer-1.safetensors", "layer-2.safetensors", "state.json")
	}
	o.Samples = nil // embeddings are not looked at again
	run("goes on", 1)
	run("is finished")
	o.Samples = samples
	q.Calibration.Hash = "other"
	run("other samples", 0, 1)
	other := *o.Recipe
	o.Recipe = &other
	o.Recipe.Seed++
	run("other recipe", 0, 1)
	m.Params.List()[0].Data[0]++
	stopping = true
	if err := RoundWeights(t.Context(), m, q, o); !errors.Is(err, stop) {
		t.Errorf("another adapter: error %v, want it to begin anew and stop", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	o.Refine = func(context.Context, *Layer) error {
		cancel() // noticed before the next segment
		return nil
	}
	if err := RoundWeights(ctx, m, q, o); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

// wantFiles checks what a folder holds.
func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, e := range entries {
		have = append(have, e.Name())
	}
	if !slices.Equal(have, want) {
		t.Errorf("%s holds %v, want %v", dir, have, want)
	}
}

func TestPartialErrors(t *testing.T) {
	m, q, o := walkOptions(t)
	for name, tc := range map[string]struct {
		file, text, want string
	}{
		"somebody's folder": {"notes.txt", "", "notes.txt in DIR was not written by eisft quantize; move it away"},
		"damaged":           {partialFile, "{", "DIR/state.json: not valid JSON: unexpected end of JSON input; remove its folder to begin anew"},
		"no layer's file":   {partialFile, `{"key":"KEY","starts":[0,4],"layers":[[]]}`, "DIR/layer-0.safetensors: no such file or directory; remove DIR to begin anew"},
		"no sequences":      {partialFile, `{"key":"KEY","layers":[[]]}`, "state.json: it has no sequences; remove DIR to begin anew"},
		"bad weight":        {partialFile, `{"key":"KEY","starts":[0,4],"layers":[[{"name":"w","shape":[0,1]}]]}`, `state.json: weight "w" is [0 1]; want its numbers of outputs and inputs; remove DIR to begin anew`},
	} {
		t.Run(name, func(t *testing.T) {
			o.Partial = t.TempDir()
			key, err := (&rounder{model: m, q: q, options: o}).key()
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(o.Partial, tc.file), []byte(strings.ReplaceAll(tc.text, "KEY", key)), 0o666); err != nil {
				t.Fatal(err)
			}
			if name == "no sequences" {
				if err := hf.WriteFile(filepath.Join(o.Partial, "layer-0.safetensors"), nil, nil); err != nil {
					t.Fatal(err)
				}
			}
			err = RoundWeights(t.Context(), m, q, o)
			if want := strings.ReplaceAll(tc.want, "DIR", o.Partial); err == nil || !strings.HasSuffix(err.Error(), want) {
				t.Errorf("error %v, want %s", err, want)
			}
		})
	}
}

// TestWalkErrors: samples that do not do.
func TestWalkErrors(t *testing.T) {
	m, q, o := walkOptions(t)
	bad := errors.New("row 3: bad")
	for name, tc := range map[string]struct {
		samples []data.Encoded
		rule    string
		want    string
	}{
		"none":         {nil, RoundSeqMSE, "weights by seqmse: no rows"},
		"short":        {randomSamples(64, 3, 5), RoundGPTQ, "weights by gptq: calibration samples are too short: none of 2 samples has a context that fills a segment of 16 tokens, the longest one has 5; calibrate with longer samples"},
		"few tokens":   {randomSamples(64, 40), RoundGPTQ, "weights by gptq: the samples have 40 tokens; model.layers.0.mlp.down_proj has 48 inputs to be told apart and wants at least 48: calibrate with more or longer samples"},
		"other tokens": {randomSamples(640, 90), RoundGPTQ, "but the model's vocabulary has 64 entries; the tokenizer belongs to another model"},
	} {
		o.Samples = again(tc.samples...)
		o.Recipe = &Recipe{Weights: tc.rule}
		if err := RoundWeights(t.Context(), m, q, o); err == nil || !strings.HasSuffix(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %s", name, err, tc.want)
		}
	}
	o.Samples = func() iter.Seq2[data.Encoded, error] {
		return func(yield func(data.Encoded, error) bool) { yield(data.Encoded{}, bad) }
	}
	if err := RoundWeights(t.Context(), m, q, o); !errors.Is(err, bad) {
		t.Errorf("error %v, want %v", err, bad)
	}
	o.Samples = again(randomSamples(64, 90)...)
	o.Format = func(string, bool) encoding.Format { return encoding.Format{Bits: 4, Block: 24} }
	if err, want := RoundWeights(t.Context(), m, q, o), "model.layers.0.self_attn.q_proj.weight: rows of 32 weights cannot be cut into blocks of 24; blocks of these sizes fit: 8, 16, 32"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}
	o.Samples, o.Recipe, o.Format = nil, &Recipe{Weights: RoundMSEClip}, formatOf(q.Scheme)
	if err := RoundWeights(t.Context(), m, q, o); err != nil || len(q.Weights) != 15 {
		t.Errorf("a rule that looks at no inputs: %d weights (%v), want 15 without a sample", len(q.Weights), err)
	}
}

// TestRowsOfLargeMaps: maps that are rounded some rows at a time come out as at once.
func TestRowsOfLargeMaps(t *testing.T) {
	const out, in = 2*rowFloats/4096 + 70, 4096
	l := model.NewLinear("w", in, out, normal(out*in, 1), nil)
	for _, f := range []encoding.Format{{Bits: 8, ZeroPoint: true}, {Bits: 4, Block: 64, LowPower: true}} {
		r := &rounder{rule: roundings.Get(RoundNearest), options: RoundOptions{Group: ranks.Alone{}, Recipe: &Recipe{}, Format: func(string, bool) encoding.Format { return f }}}
		got, err := r.round(t.Context(), []frozenMap{{Linear: l, name: "w"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		want, err := nearest(l, f)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got[0], want) {
			t.Errorf("%s: %s", f, got[0].Difference(want.Encoding))
		}
	}
}
