package quant

import (
	"errors"
	"iter"
	"math"
	"reflect"
	"strings"
	"testing"

	"eisft/data"
	"eisft/model"
	"eisft/model/modeltest"
	"eisft/model/tokenizer"
	"eisft/quant/encoding"
)

const demo = "../model/demo"

// demoModel is the demo base with a small untrained block, which fills up
// within a few hundred tokens.
func demoModel(t testing.TB) *model.Model {
	t.Helper()
	s := modeltest.DefaultBlock(t)
	s.Sink, s.Window, s.Segment, s.Slots = 4, 32, 32, 32
	return modeltest.Open(t, demo, s)
}

func demoTokenizer(t testing.TB) (*tokenizer.Tokenizer, *tokenizer.Template) {
	t.Helper()
	tk, err := tokenizer.Load(demo)
	if err != nil {
		t.Fatal(err)
	}
	tpl, err := tokenizer.LoadTemplate(demo)
	if err != nil {
		t.Fatal(err)
	}
	return tk, tpl
}

// sample is a conversation with a context of n sentences and two answers.
func sample(t testing.TB, n int) data.Encoded {
	t.Helper()
	tk, tpl := demoTokenizer(t)
	enc, err := data.NewEncoder(tk, tpl, 0).Encode(data.Sample{Where: "test", Messages: []tokenizer.Message{
		{Role: "user", Content: strings.Repeat("Anna takes the blue folder to the station. ", n) + "Where is it?"},
		{Role: "assistant", Content: "At the station."},
		{Role: "user", Content: "Who took it?"},
		{Role: "assistant", Content: "Anna."},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return enc
}

func each(samples ...data.Encoded) iter.Seq2[data.Encoded, error] {
	return func(yield func(data.Encoded, error) bool) {
		for _, s := range samples {
			if !yield(s, nil) {
				return
			}
		}
	}
}

// quantizedDemo calibrates on one sample.
func quantizedDemo(t testing.TB, m *model.Model) (*Quantized, *Statistics) {
	t.Helper()
	seen, err := Calibrate(t.Context(), m, each(sample(t, 20)))
	if err != nil {
		t.Fatal(err)
	}
	q, err := Quantize(m, schemes.Get("w8a16-mixed"), RangeMinMax, seen)
	if err != nil {
		t.Fatal(err)
	}
	return q, seen
}

// TestCalibrate: every token is seen once at every point, in segments or one
// by one, and the same samples give the same statistics.
func TestCalibrate(t *testing.T) {
	m, s := demoModel(t), sample(t, 20)
	q, seen := quantizedDemo(t, m)
	c := seen.Calibration
	answers := s.Turns[0].End - s.Turns[0].Start + s.Turns[1].End - s.Turns[1].Start
	if c.Samples != 1 || c.Steps != answers || c.Prompt+c.Steps != len(s.IDs) || len(c.Hash) != 64 || len(c.Warnings) != 1 || !strings.HasPrefix(c.Warnings[0], "calibrated on 1 sample: ") {
		t.Errorf("calibration %+v of %d tokens, %d of them in answers", c, len(s.IDs), answers)
	}
	width := map[string]int{HeadInput: m.Base.Head.In, HeadOutput: m.Base.Head.Out}
	for _, l := range m.Base.Layers {
		for _, f := range l.Maps() {
			width[InputPoint(l, f)], width[OutputPoint(f)] = f.In, f.Out
		}
	}
	for _, p := range points(m) {
		if o := seen.observers[p.name]; p.given() != (o == nil) || o != nil && o.Count == 0 {
			t.Errorf("%s: %+v observed", p.name, o)
		}
	}
	for name, n := range width {
		if got, want := seen.observers[name].Count, uint64(n*len(s.IDs)); got != want {
			t.Errorf("%s: %d values seen, want %d", name, got, want)
		}
	}
	again, _ := quantizedDemo(t, m)
	if !reflect.DeepEqual(q, again) {
		t.Error("calibrating again gives another result")
	}
}

func TestCalibrateErrors(t *testing.T) {
	m, bad := demoModel(t), errors.New("row 3: bad")
	short := data.Encoded{Where: "a:row 1", IDs: make([]int32, 9)}
	failing := func(yield func(data.Encoded, error) bool) { yield(data.Encoded{}, bad) }
	for _, tc := range []struct {
		name    string
		samples iter.Seq2[data.Encoded, error]
		want    string
	}{
		{"no samples", each(), "no rows"},
		{"short samples", each(short, short), "calibration samples are too short: none of 2 samples has a context that fills a segment of 32 tokens, the longest one has 9; calibrate with longer samples"},
		{"bad sample", failing, "row 3: bad"},
		{"id beyond the vocabulary", each(data.Encoded{Where: "a:row 1", IDs: append(make([]int32, 40), 5000)}), "a:row 1: token 40 of the input has id 5000, but the model's vocabulary has 4096 entries; the tokenizer belongs to another model"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := Calibrate(t.Context(), m, tc.samples); err == nil || err.Error() != tc.want {
				t.Errorf("error %v, want %s", err, tc.want)
			}
		})
	}
}

func TestCalibrateDamagedModel(t *testing.T) {
	m := demoModel(t)
	m.Base.Norm.Weight[3] = float32(math.NaN())
	_, err := Calibrate(t.Context(), m, each(sample(t, 10)))
	if want := "activation lm_head:in holds NaN or infinity: tensor model.norm.weight holds NaN at index 3; the checkpoint is damaged: download it again"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestCalibrateWarnings(t *testing.T) {
	seen, err := Calibrate(t.Context(), demoModel(t), each(
		data.Encoded{IDs: make([]int32, 40)},
		data.Encoded{IDs: make([]int32, 10)},
	))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"1 of 2 samples were left out: their context does not fill a segment of 32 tokens",
		"calibrated on 1 sample: what other texts reach beyond it is clipped; take 4 or more (--samples)",
		"the samples filled at most 0 of 32 slots; calibrate with longer samples to see what the slots hold in use",
		"no sample was long enough to write to the memory; its effect on the activations was not seen",
		"the samples have no answers: only prompts were seen, no generation steps",
	}
	if !reflect.DeepEqual(seen.Warnings, want) {
		t.Errorf("warnings %q, want %q", seen.Warnings, want)
	}
}

// TestApply: under q, what the cache holds are codes, logits are codes, and the
// result is near the float model's.
func TestApply(t *testing.T) {
	m, s := demoModel(t), sample(t, 20)
	q, _ := quantizedDemo(t, m)
	faked, wrap, err := Apply(m, q)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := lastLogits(t, m, nil, s.IDs)
	got, state := lastLogits(t, faked, wrap, s.IDs)
	l := m.Base.Layers[3]
	wantCodes(t, "keys", state.Layers[3].K.Floats(), q.Point(KeyPoint(l)).Encoding)
	wantCodes(t, "values", state.Layers[3].V.Floats(), q.Point(ValuePoint(l)).Encoding)
	wantCodes(t, "logits", got, q.Point(HeadOutput).Encoding)
	signal, noise := 0.0, 0.0
	for i, w := range want {
		e := float64(w - got[i])
		signal, noise = signal+float64(w)*float64(w), noise+e*e
	}
	if d := sqnr(signal, noise); d < 20 || d > 60 {
		t.Errorf("logits: SQNR %.1f dB, want 20 to 60", d)
	}
	if m.Base.Head != m.Base.Embed || faked.Base.Embed != m.Base.Embed {
		t.Error("the base or the embedding table was changed")
	}
}

// lastLogits reads ids and returns the logits of the last one and the state.
func lastLogits(t *testing.T, m *model.Model, w model.Wrap, ids []int32) ([]float32, *model.State) {
	t.Helper()
	st := m.NewStream(model.StreamOptions{Wrap: w})
	logits, err := st.Read(t.Context(), ids, nil)
	if err != nil {
		t.Fatal(err)
	}
	return logits, st.State
}

// wantCodes checks that rounding x changes nothing.
func wantCodes(t *testing.T, what string, x []float32, e encoding.Encoding) {
	t.Helper()
	for i, v := range x {
		if r := e.Scales[0] * float32(e.Code(v, 0)); r != v {
			t.Fatalf("%s: value %d is %g, the nearest code means %g", what, i, v, r)
		}
	}
}

func TestApplyToOtherModel(t *testing.T) {
	m := demoModel(t)
	q, _ := quantizedDemo(t, m)
	const advice = ": the quantized files belong to another model; run eisft quantize for this one"
	for _, tc := range []struct {
		name   string
		damage func(q *Quantized)
		want   string
	}{
		{"base", func(q *Quantized) { q.Base = "2-other" }, "the quantized base was another one: its identity was 2-other, that of the base given is " + m.Base.Identity()},
		{"weight missing", func(q *Quantized) { q.Weights = q.Weights[1:] }, "model.layers.0.self_attn.q_proj has no quantized weights"},
		{"weight too much", func(q *Quantized) { q.Weights = append(q.Weights, &Weight{Name: "x"}) }, "there are 58 quantized weights and 90 encodings, but the base has 57 maps and 90 points"},
		{"shape", func(q *Quantized) { q.Weights[0] = &Weight{Name: q.Weights[0].Name, Out: 1, In: 2} }, "model.layers.0.self_attn.q_proj is [1,2] quantized and [256,256] in the base"},
		{"point missing", func(q *Quantized) { q.Points = q.Points[:89] }, "lm_head:out has no encoding"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := *q
			c.Weights, c.Points = append([]*Weight{}, q.Weights...), append([]*Point{}, q.Points...)
			tc.damage(&c)
			if _, _, err := Apply(m, &c); err == nil || err.Error() != tc.want+advice {
				t.Errorf("error %v, want %s", err, tc.want+advice)
			}
		})
	}
}
