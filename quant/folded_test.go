package quant

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/hf"
	"eisft/model/modeltest"
)

// foldedModel is a small model, what it is transformed to, and its quantized form.
func foldedModel(t testing.TB, transforms ...string) (m, float *model.Model, q *Quantized) {
	t.Helper()
	spec := blocks(t)["slots in a layer, map, query"]
	m = openTrained(t, testfiles.Base(t, "qwen2"), spec)
	ids := modeltest.Tokens(m, 61)
	seen, err := CollectChannels(t.Context(), m, texts(ids))
	if err != nil {
		t.Fatal(err)
	}
	float, folded, err := Transform(t.Context(), m, &Recipe{Scheme: "w8a16", Transforms: transforms}, seen)
	if err != nil {
		t.Fatal(err)
	}
	statistics, err := Calibrate(t.Context(), float, texts(ids))
	if err != nil {
		t.Fatal(err)
	}
	if q, err = Quantize(float, schemes.Get("w8a16"), RangeMinMax, statistics); err != nil {
		t.Fatal(err)
	}
	q.Folded = folded
	return m, float, q
}

// TestFoldedFiles: what is read back gives the same float model, bit by bit, and computes
// under rounding what the transformed model does.
func TestFoldedFiles(t *testing.T) {
	m, float, q := foldedModel(t, "rotate", "smoothquant")
	got, err := Load(save(t, q))
	if err != nil {
		t.Fatal(err)
	}
	q.Folded.made = nil
	if !reflect.DeepEqual(got.Folded, q.Folded) {
		t.Error("the transforms that were read are others than those written")
	}
	back, err := got.Float(m)
	if err != nil {
		t.Fatal(err)
	}
	ids := modeltest.Tokens(m, 50)
	if d := apart(compute(t, back, nil, ids, false).logits, compute(t, float, nil, ids, false).logits); d != 0 {
		t.Errorf("the float model that was read differs by %g", d)
	}
	faked, wrap, err := Apply(m, got)
	if err != nil {
		t.Fatal(err)
	}
	rounded := compute(t, faked, wrap, ids, false).logits
	if d := apart(rounded, compute(t, m, nil, ids, false).logits); d == 0 || d > 0.05 {
		t.Errorf("the rounded model differs from the float one by %g", d)
	}
	other := *got
	other.Folded = nil
	if faked, wrap, err = Apply(m, &other); err != nil {
		t.Fatal(err)
	}
	if d := apart(compute(t, faked, wrap, ids, false).logits, rounded); d < 0.05 {
		t.Errorf("without its transforms the rounded model differs by %g alone", d)
	}
}

// TestFloatFollowsTheAdapter: an adapter that is trained later has its parameters folded,
// and a model that is transformed already is not transformed again.
func TestFloatFollowsTheAdapter(t *testing.T) {
	m, float, q := foldedModel(t, "rotate")
	if again, err := q.Float(float); err != nil || again != float {
		t.Errorf("the transformed model is transformed again (%v)", err)
	}
	trained := openTrained(t, testfiles.Base(t, "qwen2"), m.Spec)
	for _, p := range trained.Params.List() {
		for i := range p.Data {
			p.Data[i] *= 0.7
		}
	}
	ids := modeltest.Tokens(m, 61)
	tm, err := q.Float(trained)
	if err != nil {
		t.Fatal(err)
	}
	if d := difference(trained, q.Folded, compute(t, tm, nil, ids, false), compute(t, trained, nil, ids, false)); d != "" {
		t.Error(d)
	}
}

// TestUnfold: parameters that are trained beside the transformed model come back as those of
// the untouched base, and folded in again they are what was trained.
func TestUnfold(t *testing.T) {
	for _, family := range []string{"qwen2", "stablelm"} {
		for block, spec := range blocks(t) {
			if spec.Gate == model.GateVector {
				continue
			}
			m := openTrained(t, testfiles.Base(t, family), spec)
			seen, err := CollectChannels(t.Context(), m, texts(modeltest.Tokens(m, 61)))
			if err != nil {
				t.Fatal(err)
			}
			for name, r := range recipes {
				tm, folded, err := Transform(t.Context(), m, &r, seen)
				if err != nil {
					t.Fatal(err)
				}
				folded.made = nil
				q := &Quantized{Folded: folded}
				trained := copied(tm.Params)
				random := rand.New(rand.NewPCG(1, 9))
				for _, p := range trained.List() {
					for i := range p.Data {
						p.Data[i] += 0.1 * float32(random.NormFloat64())
					}
				}
				unfolded, err := q.Unfold(m, trained)
				if err != nil {
					t.Fatal(err)
				}
				again, err := model.New(m.Base, m.Spec, unfolded)
				if err != nil {
					t.Fatal(err)
				}
				if again, err = q.Float(again); err != nil {
					t.Fatal(err)
				}
				for i, p := range again.Params.List() {
					if d := apart(p.Data, trained.List()[i].Data); d > 1e-4 {
						t.Errorf("%s, %s, %s: %s differs by %.2g", family, block, name, p.Name, d)
					}
				}
			}
		}
	}
}

func TestDamagedFolded(t *testing.T) {
	m, _, q := foldedModel(t, "rotate", "smoothquant")
	const advice = ": the quantized files belong to another model; run eisft quantize for this one"
	for _, tc := range []struct {
		name   string
		damage func(f *Folded)
		want   string
	}{
		{"residual of another size", func(f *Folded) { f.Steps[0].Residual = f.Steps[0].Residual[1:] }, "step 0 (rotate): rotation residual has 4095 numbers, want 1 matrices of 64×64" + advice},
		{"no rotation", func(f *Folded) { f.Steps[0].Residual[0] += 0.1 }, "step 0 (rotate): rotation residual is not orthogonal: rows 0 and 0 have the product"},
		{"values", func(f *Folded) { f.Steps[0].Values[1][7] = float32(math.NaN()) }, "step 0 (rotate): rotation values.1 is not orthogonal"},
		{"values of a layer", func(f *Folded) { f.Steps[0].Values = f.Steps[0].Values[1:] }, "step 0 (rotate): there are rotations of the values of 2 layers, the base has 3" + advice},
		{"point missing", func(f *Folded) { delete(f.Steps[1].Scales, HeadInput) }, "step 1 (smoothquant): the scales of lm_head:in are missing" + advice},
		{"point too much", func(f *Folded) { f.Steps[1].Scales["x:in"] = []float32{1} }, "step 1 (smoothquant): there are scales of x:in, which the base has no place for" + advice},
		{"channels", func(f *Folded) { f.Steps[1].Scales[HeadInput] = []float32{1, 2} }, "step 1 (smoothquant): there are 2 scales of lm_head:in, which has 64 channels" + advice},
		{"scale", func(f *Folded) { f.Steps[1].Scales[HeadInput][3] = 0 }, "step 1 (smoothquant): scale 3 of lm_head:in is 0; it must be above 0: the file is damaged, run eisft quantize again"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			read, err := Load(save(t, q))
			if err != nil {
				t.Fatal(err)
			}
			tc.damage(read.Folded)
			_, _, err = Apply(m, read)
			if err == nil || !strings.HasPrefix(err.Error(), "folded.safetensors, "+tc.want) {
				t.Errorf("error %v, want folded.safetensors, %s", err, tc.want)
			}
		})
	}
}

func TestDamagedFoldedFile(t *testing.T) {
	_, _, q := foldedModel(t, "rotate", "smoothquant")
	write := func(t *testing.T, dir string, tensors ...hf.Entry) {
		t.Helper()
		if err := hf.WriteFile(filepath.Join(dir, FoldedFile), tensors, nil); err != nil {
			t.Fatal(err)
		}
	}
	edit := func(t *testing.T, dir, old, replacement string) {
		t.Helper()
		path := filepath.Join(dir, EncodingsFile)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(text), old, replacement, 1)
		if changed == string(text) {
			t.Fatalf("%s is not in %s", old, path)
		}
		if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		want   string
	}{
		{"altered", func(t *testing.T, dir string) {
			write(t, dir, hf.Entry{Name: "0.residual", Shape: []int{1}, Data: []float32{1}})
		}, "the file is damaged: run eisft quantize again"},
		{"absent", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, FoldedFile)); err != nil {
				t.Fatal(err)
			}
		}, "no such file or directory"},
		{"fewer layers", func(t *testing.T, dir string) { edit(t, dir, `"values": 3`, `"values": 2`) }, "tensor 0.values.2 belongs to none of the 2 transforms that encodings.json lists"},
		{"more layers", func(t *testing.T, dir string) { edit(t, dir, `"values": 3`, `"values": 4`) }, "tensor 0.values.3 is not in the file"},
		{"no residual", func(t *testing.T, dir string) { edit(t, dir, `"residual": true,`, ``) }, "tensor 0.residual belongs to none of the 2 transforms"},
		{"other points", func(t *testing.T, dir string) { edit(t, dir, `"scales": 13`, `"scales": 12`) }, "there are scales of 13 points for smoothquant, but encodings.json lists 12"},
		{"method", func(t *testing.T, dir string) { edit(t, dir, `"method": "rotate"`, `"method": "rotates"`) }, `transform is "rotates"; did you mean "rotate"?`},
		{"not listed", func(t *testing.T, dir string) { edit(t, dir, `"folded"`, `"folds"`) }, "the file is there, but encodings.json knows of no transforms"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := save(t, q)
			tc.damage(t, dir)
			if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), FoldedFile) {
				t.Errorf("error %v, want %s with %s", err, FoldedFile, tc.want)
			}
		})
	}
}
