package quant

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"eisft/data"
	"eisft/internal/enum"
	"eisft/internal/strictyaml"
	"eisft/quant/encoding"
)

const explained = "../configs/quant/recipe.yaml"

// TestRecipes: every recipe that comes with eisft is read, and its exceptions match the demo
// base.
func TestRecipes(t *testing.T) {
	files, err := filepath.Glob("../configs/quant/*.yaml")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d recipes, %v", len(files), err)
	}
	m := demoModel(t)
	for _, file := range files {
		r, err := LoadRecipe(file)
		if err == nil {
			err = r.Fit(m)
		}
		if err != nil {
			t.Error(err)
			continue
		}
		if want := strings.TrimSuffix(filepath.Base(file), ".yaml"); r.Name != want {
			t.Errorf("%s: name %s", file, r.Name)
		}
	}
}

// TestRecipeExplained: the explained recipe has every key, and where it names a default, that
// is the one a recipe gets.
func TestRecipeExplained(t *testing.T) {
	text, err := os.ReadFile(explained)
	if err != nil {
		t.Fatal(err)
	}
	var check func(typ reflect.Type, path string)
	check = func(typ reflect.Type, path string) {
		if typ == reflect.TypeFor[data.Files]() { // as in the training configuration, which explains them
			return
		}
		if typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct {
			return
		}
		_, names := strictyaml.Keys(typ)
		fields, _ := strictyaml.Keys(typ)
		for _, name := range names {
			if !regexp.MustCompile(`(?m)^(# )?\s*(- |# )?\s*` + name + `:`).Match(text) {
				t.Errorf("%s%s is not explained", path, name)
			}
			check(fields[name], path+name+".")
		}
	}
	check(reflect.TypeFor[Recipe](), "")
	// the methods that the file leaves out, with all their keys, in place of those it uses
	all := string(text)
	for _, s := range []string{"smoothquant", "awq", "gptq"} {
		section := regexp.MustCompile(`(?m)^# ` + s + `:.*\n(#   .*\n)+`).FindString(all)
		if section == "" {
			t.Fatalf("no section %s", s)
		}
		all = strings.Replace(all, section, strings.ReplaceAll("\n"+section, "\n# ", "\n")[1:], 1)
	}
	all = strings.Replace(all, "transforms: [rotate]", "transforms: [rotate, smoothquant, awq]", 1)
	all = strings.Replace(all, "weights: seqmse", "weights: gptq", 1)
	all = regexp.MustCompile(`seqmse:\n(  .*\n)+`).ReplaceAllString(all, "")
	full, err := ParseRecipe([]byte(all), "recipe.yaml")
	if err != nil {
		t.Fatal(err)
	}
	short, err := ParseRecipe([]byte("scheme: w4a16\ntransforms: [rotate, smoothquant, awq]\nrotate: {r1: learned}\nweights: gptq\nreconstruct: {}\n"), "s.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2]any{
		"smoothquant": {full.SmoothQuant, short.SmoothQuant}, "awq": {full.AWQ, short.AWQ}, "rotate": {full.Rotate, short.Rotate},
		"gptq": {full.GPTQ, short.GPTQ}, "reconstruct": {full.Reconstruct, short.Reconstruct},
		"ranges": {full.Ranges, short.Ranges}, "samples": {full.Samples, short.Samples}, "seed": {full.Seed, short.Seed}, "eval": {full.Eval, short.Eval},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s: explained as %+v, the default is %+v", name, pair[0], pair[1])
		}
	}
	seq, err := ParseRecipe([]byte("weights: seqmse\n"), "s.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if file, err := LoadRecipe(explained); err != nil || file.SeqMSE != seq.SeqMSE {
		t.Errorf("seqmse: explained as %+v, the default is %+v (%v)", file.SeqMSE, seq.SeqMSE, err)
	}
}

func TestRecipeErrors(t *testing.T) {
	const notUsed = "is the section of a method that is not used; add "
	for _, tc := range []struct{ name, text, want string }{
		{"empty", "", ": the file is empty"},
		{"unknown key", "shceme: w8a16\n", `:1: shceme is not a known key; did you mean "scheme"?`},
		{"unknown nested key", "weights: gptq\ngptq: {blok: 3}\n", `:2: gptq.blok is not a known key; did you mean "block"?`},
		{"key twice", "seed: 1\nseed: 2\n", `:2: mapping key "seed" already defined at [1:1]`},
		{"no value", "seed:\n", ":1: seed has no value; give one or remove the key"},
		{"word for a number", "samples: many\n", `:1: samples must be a whole number, not "many"`},
		{"fraction for an integer", "samples: 1.5\n", ":1: samples must be a whole number, not 1.5"},
		{"unknown scheme", "scheme: w8a16-mixd\n", `:1: scheme is "w8a16-mixd"; did you mean "w8a16-mixed"? It must be one of ` + enum.List(SchemeNames())},
		{"unknown range", "ranges: minmx\n", `:1: ranges is "minmx"; did you mean "minmax"? It must be one of minmax, mse, percentile, entropy`},
		{"unknown transform", "transforms: [rotat]\n", `:1: transforms[0] is "rotat"; did you mean "rotate"? It must be one of smoothquant, awq, rotate`},
		{"transform twice", "transforms: [awq, rotate, awq]\n", ":1: transforms[2] is awq, which is there already; name each transform once"},
		{"unknown cache", "cache: int4\n", `:1: cache is "int4"; did you mean "int8"? It must be one of auto, int8, int16`},
		{"unknown target", "target: qmn\n", `:1: target is "qmn"; did you mean "qnn"? It must be one of generic, qnn, mediatek, litert, openvino, coreml`},
		{"target that cannot run the scheme", "target: qnn\nscheme: w4-g128\n", ":1: target is qnn, which cannot run w4-g128: that is for generic, openvino, coreml; qnn runs " + enum.List(SchemesFor("qnn"))},
		{"method that is not used", "gptq: {block: 4}\nawq: {grid: 3}\n", ":2: awq " + notUsed + "transforms: [awq], or remove the section\n:1: gptq " + notUsed + "weights: gptq, or remove the section"},
		{"smoothing without activations", "scheme: w4-g64\ntransforms: [smoothquant]\n", ":2: transforms[0] is smoothquant, but w4-g64 rounds weights alone: there are no activations to smooth; take it out, or awq in its place"},
		{"ranges without activations", "scheme: w4-g64\nranges: mse\n", ":2: ranges is there, but w4-g64 leaves activations and cache in float; remove it"},
		{"cache in float", "scheme: w4-g64\ncache: int8\n", ":2: cache is there, but w4-g64 leaves activations and cache in float; remove it"},
		{"points in float", "scheme: w4-g64\nexceptions: [{match: '*:in', bits: 8}]\n", `:2: exceptions[0].match is "*:in", a pattern of points, but w4-g64 leaves activations in float`},
		{"nothing to promote", "mixed: {max_bytes: 10}\n", ":1: mixed promotes maps to 8 bits, but w8a16 has no weights of fewer; remove the section"},
		{"mixed precision without a bound", "scheme: w4a16\nmixed: {}\n", ":2: mixed promotes nothing: it has no bound; give max_loss_increase, max_bytes or both, or remove the section"},
		{"mixed precision by nothing known", "scheme: w4a16\nmixed: {by: answer, max_bytes: 3}\n", `:2: mixed.by is "answer"; did you mean "answers"? It must be one of text, answers`},
		{"mixed precision by answers without a bound", "scheme: w4a16\nmixed: {by: answers}\n", ":2: mixed promotes nothing: it has no bound; give max_loss_increase, max_bytes or both, or remove the section"},
		{"rotations of nothing", "transforms: [rotate]\nrotate: {r1: none, r2: none}\n", ":2: rotate turns nothing: r1 and r2 are none; name a rotation, or take rotate out of transforms"},
		{"steps without learning", "transforms: [rotate]\nrotate: {steps: 5}\n", ":2: rotate.steps is 5, but neither r1 nor r2 is learned; remove it, or set one of them to learned"},
		{"unknown rotation", "transforms: [rotate]\nrotate: {r1: hadamrd}\n", `:2: rotate.r1 is "hadamrd"; did you mean "hadamard"? It must be one of hadamard, learned, none`},
		{"reconstruction of nothing", "reconstruct: {rounding: false, scales: false}\n", ":1: reconstruct fits nothing: rounding and scales are false; set one of them, or steps: 0"},
		{"bounds", `transforms: [smoothquant, awq]
smoothquant: {alpha: 1.5}
awq: {grid: 0}
weights: gptq
gptq: {block: 0, damping: 0}
reconstruct: {steps: -1, tokens: 0, lr: 0}
samples: -1
sensitivity: -2
eval: {samples: -3}
scheme: w4a16
mixed: {max_loss_increase: -1, max_bytes: -1}
name: a/b
exceptions: [{match: "*.q_proj", bits: 16}, {match: "*:in", bits: 4}, {match: "[", bits: 8}, {bits: 8}]
`, `:12: name is "a/b"; it must be the name of a folder that is not hidden, since the quantized model is written to one
:2: smoothquant.alpha is 1.5; it must be from 0 to 1
:3: awq.grid is 0; it must be at least 1
:5: gptq.block is 0; it must be at least 1
:5: gptq.damping is 0; it must be above 0 and at most 1
:6: reconstruct.steps is -1; it must be at least 0
:6: reconstruct.tokens is 0; it must be at least 1
:6: reconstruct.lr is 0; it must be above 0 and at most 1
:7: samples is -1; it must be at least 0
:8: sensitivity is -2; it must be at least 0
:9: eval.samples is -3; it must be at least 0
:11: mixed.max_loss_increase is -1; it must be from 0 to 10
:11: mixed.max_bytes is -1; it must be at least 0
:13: exceptions[0].bits is 16; it must be 4 or 8, since "*.q_proj" is the name of a map
:13: exceptions[1].bits is 4; it must be 8 or 16, since "*:in" is the name of a point
:13: exceptions[2].match is "[", which is no pattern; * stands for any part of a name, ? for a character, [ab] for one of several
:13: exceptions[3].match is missing, but it is required`},
		{"above bounds", "weights: seqmse\nseqmse: {candidates: 1001, samples: 9999999999}\nreconstruct: {steps: 1000001, lr: 2}\n", `:2: seqmse.candidates is 1001; it must be at most 1000
:2: seqmse.samples is 9999999999; it must be at most 1000000000
:3: reconstruct.steps is 1000001; it must be at most 1000000
:3: reconstruct.lr is 2; it must be above 0 and at most 1`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ParseRecipe([]byte(tc.text), "r.yaml")
			if err == nil {
				t.Fatalf("no error, want\n%s", tc.want)
			}
			if got := strings.ReplaceAll("\n"+err.Error(), "\nr.yaml", "\n")[1:]; got != tc.want {
				t.Errorf("error\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

// TestRecipeFit: patterns that match nothing in a model are named, with what may have been
// meant.
func TestRecipeFit(t *testing.T) {
	m := demoModel(t)
	r, err := ParseRecipe([]byte(`scheme: w4a16
exceptions:
  - {match: "*.down_prj", bits: 8}
  - {match: "model.layers.0.*", bits: 8}
  - {match: "*.down_proj:inn", bits: 8}
  - {match: "xyz", bits: 8}
`), "r.yaml")
	if err != nil {
		t.Fatal(err)
	}
	err = r.Fit(m)
	want := `r.yaml:3: exceptions[0].match is "*.down_prj", which matches no map of this model; did you mean "*.down_proj"?
r.yaml:5: exceptions[2].match is "*.down_proj:inn", which matches no point of this model; did you mean "*.down_proj:in"?
r.yaml:6: exceptions[3].match is "xyz", which matches no map of this model; there are *.q_proj, *.k_proj, *.v_proj, *.o_proj, *.gate_proj, *.up_proj, *.down_proj, lm_head`
	if err == nil || err.Error() != want {
		t.Errorf("error\n%v\nwant\n%s", err, want)
	}
}

// TestRecipeOverrides: flags go before keys, a method that a flag takes away takes its section
// along, and what contradicts a flag is said of the flag.
func TestRecipeOverrides(t *testing.T) {
	text := []byte("scheme: w4a16\nweights: gptq\ngptq: {block: 64}\nsamples: 3\n")
	to := func(key, flag string, set func(*Recipe)) Override { return Override{key, flag, set} }
	r, err := ParseRecipe(text, "dir/r.yaml", to("weights", "--weights", func(r *Recipe) { r.Weights = "seqmse" }), to("samples", "--samples", func(r *Recipe) { r.Samples = 5 }))
	if err != nil {
		t.Fatal(err)
	}
	if r.GPTQ != (GPTQ{}) || r.SeqMSE != methodDefaults.SeqMSE || r.Samples != 5 || r.Scheme != "w4a16" || r.Name != "r" {
		t.Errorf("%+v", r.Recipe)
	}
	_, err = ParseRecipe(text, "dir/r.yaml", to("target", "--target", func(r *Recipe) { r.Target = "openvino" }))
	if want := "--target is openvino, which cannot run w4a16: that is for generic, qnn, mediatek, litert; openvino runs " + enum.List(SchemesFor("openvino")); err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	_, err = ParseRecipe(nil, "", to("transforms", "--transform", func(r *Recipe) { r.Transforms = []string{"awq", "awq"} }))
	if want := "--transform[1] is awq, which is there already; name each transform once"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestRecipePaths: relative paths are relative to the file.
func TestRecipePaths(t *testing.T) {
	r, err := ParseRecipe([]byte("calib: ../c.parquet\neval: {data: /e.parquet}\n"), "/project/configs/quant/r.yaml")
	if err != nil || r.Calib.String() != "/project/configs/c.parquet" || r.Eval.Data.String() != "/e.parquet" {
		t.Errorf("%q, %q, %v", r.Calib, r.Eval.Data, err)
	}
	r, err = ParseRecipe([]byte("calib: [a.jsonl, {path: ../b/*.parquet, prompt: Read.}]\n"), "/project/configs/quant/r.yaml")
	if want := (data.Files{{Path: "/project/configs/quant/a.jsonl"}, {Path: "/project/configs/b/*.parquet", Options: data.Options{Prompt: "Read."}}}); err != nil || !reflect.DeepEqual(r.Calib, want) {
		t.Errorf("%+v, %v", r.Calib, err)
	}
	_, err = ParseRecipe([]byte("calib: [{path: a, weight: 2}]\neval: {data: {path: b}}\n"), "r.yaml")
	if err == nil || !strings.Contains(err.Error(), "r.yaml:2: eval.data must be a path, or a list of paths and sections") {
		t.Errorf("error %v", err)
	}
	_, err = ParseRecipe([]byte("calib: [{path: a, weight: 2}]\n"), "r.yaml")
	if err == nil || !strings.Contains(err.Error(), "r.yaml:1: calib[0].weight is for data.train") {
		t.Errorf("error %v", err)
	}
}

// TestFormats: exceptions give maps and points their widths, the last one that matches.
func TestFormats(t *testing.T) {
	m := demoModel(t)
	file, err := ParseRecipe([]byte(`scheme: w4a16-lpbq32
cache: int16
exceptions:
  - {match: "*_proj", bits: 8}
  - {match: "*.q_proj", bits: 4}
  - {match: "model.layers.1.*:out", bits: 8}
`), "r.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := schemes.Get("w4a16-lpbq32")
	for name, want := range map[string]string{"model.layers.0.mlp.down_proj": "int8", "model.layers.0.self_attn.q_proj": s.Weight.String(), HeadName: "int8"} {
		if got := file.mapFormat(s, name, name == HeadName).String(); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	format := file.pointFormats(m)
	for name, want := range map[string]int{
		KeyPoint(m.Base.Layers[0]): 16, KeyPoint(m.Base.Layers[1]): 8, "model.layers.1.self_attn.q_proj:out": 8, "model.layers.0.self_attn.q_proj:in": 16,
	} {
		for _, p := range points(m) {
			if p.name == name {
				if got := format(name, p.format(s)).Bits; got != want {
					t.Errorf("%s has %d bits, want %d", name, got, want)
				}
			}
		}
	}
}

func FuzzRecipe(f *testing.F) {
	text, err := os.ReadFile(explained)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("scheme: w4a16\nmixed: {max_bytes: 3}\n"))
	f.Fuzz(func(_ *testing.T, text []byte) { _, _ = ParseRecipe(text, "r.yaml") })
}

func TestScaleRule(t *testing.T) {
	block := encoding.Format{Bits: 4, Block: 32}
	for want, tc := range map[string]struct {
		recipe Recipe
		format encoding.Format
	}{
		"max|w|/127 per row":            {Recipe{Weights: RoundNearest}, encoding.Format{Bits: 8}},
		"max|w|/8 per block of 32":      {Recipe{Weights: RoundNearest}, block},
		"(max-min)/255 per row":         {Recipe{Weights: RoundNearest}, encoding.Format{Bits: 8, ZeroPoint: true}},
		"mse-clip per row":              {Recipe{Weights: RoundMSEClip}, encoding.Format{Bits: 4}},
		"seqmse per block of 32":        {Recipe{Weights: RoundGPTQ}, block},
		"mse-clip per block of 32":      {Recipe{Weights: RoundGPTQ, GPTQ: GPTQ{Scales: RoundMSEClip}}, block},
		"(max-min)/255 per block of 32": {Recipe{Weights: RoundGPTQ, GPTQ: GPTQ{Scales: RoundNearest}}, encoding.Format{Bits: 8, ZeroPoint: true, Block: 32}},
	} {
		if got := tc.recipe.scaleRule(tc.format); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
