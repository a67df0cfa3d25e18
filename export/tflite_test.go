package export_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eisft/export"
	"eisft/export/check"
	"eisft/export/exporttest"
	"eisft/export/host"
	"eisft/export/manifest"
	"eisft/export/tflite"
	"eisft/export/tflite/litert"
	"eisft/export/tflite/litert/litertest"
	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/hf"
	"eisft/quant"
)

// inTFLite are options for TFLite files of a model, quantized by a scheme where one is named.
func inTFLite(t testing.TB, m *model.Model, scheme string) export.Options {
	t.Helper()
	o := options()
	o.Format = export.FormatTFLite
	if scheme != "" {
		o.Quantized = exporttest.QuantizedAs(t, m, exporttest.Scheme(t, scheme, quant.LiteRT))
	}
	return o
}

// TestTFLite: the whole pair, driven in LiteRT, gives the Go model's tokens, in float and in
// whole numbers.
func TestTFLite(t *testing.T) {
	litertest.Require(t)
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	dir, info := exported(t, m, inTFLite(t, m, "w8a16"))
	sameTokens(t, info, 0)
	validate(t, dir)
	if got, want := info.TFLiteFiles(), []string{"model.tflite", "model-w8a16.tflite"}; !slices.Equal(got, want) || len(info.GraphFiles()) > 0 {
		t.Errorf("files %v and %v, want %v alone", got, info.GraphFiles(), want)
	}
	if _, err := os.Stat(filepath.Join(dir, export.WeightsFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is there, though no graph refers to it: %v", export.WeightsFile, err)
	}
	var signatures []string
	for _, g := range info.Graphs {
		signatures = append(signatures, g.Precision+" "+g.Parts[0].Signature)
	}
	want := []string{"float prefill_4", "w8a16 prefill_4", "float decode", "w8a16 decode", "float commit", "w8a16 commit"}
	slices.Sort(signatures)
	slices.Sort(want)
	if !slices.Equal(signatures, want) {
		t.Errorf("signatures %q, want %q", signatures, want)
	}
}

// sameTokens holds the verification of an export to LiteRT and to as many other tokens as are
// allowed in whole numbers.
func sameTokens(t *testing.T, info *manifest.Manifest, others int) {
	t.Helper()
	for _, v := range info.Verification {
		allowed := others
		if v.Precision == manifest.Float {
			allowed = 0
		}
		t.Logf("%s, %s: %d of %d tokens, mean difference %.2g, %.2g %% other codes", v.Shape, v.Precision, v.EqualTokens, v.Compared, v.MeanLogitError, 100*v.OtherCodes)
		if !strings.HasPrefix(v.Runtime, "LiteRT 2.") || v.Compared-v.EqualTokens > allowed || v.Compared < 15 {
			t.Errorf("%s in %s: %d of %d tokens", v.Precision, v.Runtime, v.EqualTokens, v.Compared)
		}
	}
	if len(info.Verification) == 0 {
		t.Error("nothing was compared")
	}
}

// TestSlowTFLite: so do other schemes, blocks and families, in float where no scheme is named, with
// several shapes in one file, and the golden vectors say the same.
func TestSlowTFLite(t *testing.T) {
	testfiles.Slow(t)
	litertest.Require(t)
	for name, c := range map[string]struct {
		scheme string
		block  func(*model.Spec)
		family func(*hf.Config)
		others int // tokens
		shapes []export.Size
	}{
		"w8a16-mixed": {scheme: "w8a16-mixed", others: 2},
		"w4a16":       {scheme: "w4a16", others: 2, shapes: []export.Size{size, {Tokens: 5, Cache: 19}}},
		"w8a8":        {scheme: "w8a8", others: 8},
		"absolute positions, mass gate, few slots": {block: func(s *model.Spec) {
			s.Positions, s.Gate, s.SlotLayers = model.PositionsAbsolute, model.GateMass, []int{1}
		}, shapes: []export.Size{size, {Tokens: 5, Cache: 19}}},
		"no memory, biases":      {block: func(s *model.Spec) { s.Memory = model.MemoryNone }, family: families["biases"]},
		"w8a8 no memory, biases": {scheme: "w8a8", block: func(s *model.Spec) { s.Memory = model.MemoryNone }, family: families["biases"], others: 8},
		"gemma2":                 {family: families["gemma2"]},
		"w8a16 gemma2":           {scheme: "w8a16", family: families["gemma2"], others: 2},
	} {
		t.Run(name, func(t *testing.T) {
			m := exporttest.Model(t, exporttest.Block(c.block), c.family)
			o := inTFLite(t, m, c.scheme)
			o.NoGolden, o.QuantizedOnly = false, c.scheme != ""
			if c.shapes != nil {
				o.Sizes = c.shapes
			}
			dir, info := exported(t, m, o)
			sameTokens(t, info, c.others)
			all, err := export.Replay(t.Context(), dir, host.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var table bytes.Buffer
			if err := export.WriteReplayed(&table, all); err != nil {
				t.Errorf("%v\n%s", err, &table)
			}
		})
	}
}

// TestTFLiteIsDeterministic: the same model gives the same bytes.
func TestTFLiteIsDeterministic(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	var files [][]byte
	for range 2 {
		o := inTFLite(t, m, "w8a8")
		o.NoVerify, o.QuantizedOnly = true, true
		dir, _ := exported(t, m, o)
		raw, err := os.ReadFile(filepath.Join(dir, "model-w8a8.tflite"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, raw)
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("two exports of one model differ")
	}
}

// TestTFLiteRefuses: what the format cannot hold is refused by its name, with what can.
func TestTFLiteRefuses(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), func(c *hf.Config) {
		c.HiddenSize, c.HeadDim, c.IntermediateSize = 32, 8, 32
	})
	for name, c := range map[string]struct {
		scheme, target string
		change         func(*export.Options)
		want           string
	}{
		"blocks":       {"w4a16-lpbq32", quant.Generic, nil, "scheme w4a16-lpbq32 has a scale for each block of 32 weights of model.layers.0.self_attn.q_proj"},
		"weights only": {"w4-g32", quant.Generic, nil, "scheme w4-g32 leaves activations in float"},
		"unsigned":     {"w8a16", quant.QNN, nil, "as uint16 with a zero point"},
		"float16":      {"", "", func(o *export.Options) { o.Precisions = []export.Precision{export.Float16} }, "leave --precision float16 out"},
		"hosts":        {"", "", func(o *export.Options) { o.Hosts = []string{"cpp"} }, "the hosts for cpp drive ONNX graphs"},
	} {
		t.Run(name, func(t *testing.T) {
			o := inTFLite(t, m, "")
			if c.scheme != "" {
				o.Quantized = exporttest.QuantizedAs(t, m, exporttest.Scheme(t, c.scheme, c.target))
			}
			if c.change != nil {
				c.change(&o)
			}
			out := filepath.Join(t.TempDir(), "out")
			_, _, err := export.Export(t.Context(), m, out, o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
			if c.scheme != "" && (err == nil || !strings.Contains(err.Error(), "w8a16, w8a16-mixed, w4a16, w8a8 for --target litert")) {
				t.Errorf("error %v does not say what can be written", err)
			}
			if _, err := os.Lstat(out); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is there: %v", out, err)
			}
		})
	}
}

// TestTFLiteWithoutLiteRT: an export says that it was not compared, and why; running it says
// what is missing.
func TestTFLiteWithoutLiteRT(t *testing.T) {
	t.Setenv(litert.FolderVariable, t.TempDir())
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	out := filepath.Join(t.TempDir(), "out")
	_, report, err := export.Export(t.Context(), m, out, inTFLite(t, m, ""))
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(report.Unverified, litert.ErrAbsent) {
		t.Errorf("unverified: %v, want that LiteRT is absent", report.Unverified)
	}
	if _, err := host.Open(out, host.Options{}); !errors.Is(err, litert.ErrAbsent) || !strings.Contains(err.Error(), "fetch-litert.sh") {
		t.Errorf("error %v, want that LiteRT is absent and how it is fetched", err)
	}
}

// TestTFLiteMutations: codes, scales, ports and ops of a file that are not those of the
// quantized model or the manifest are found.
func TestTFLiteMutations(t *testing.T) {
	m := exporttest.Model(t, exporttest.Block(nil), nil)
	o := inTFLite(t, m, "w8a8")
	o.NoVerify, o.QuantizedOnly = true, true
	good, _ := exported(t, m, o)
	const name = "model-w8a8.tflite"
	weight := o.Quantized.Weights[0]
	for what, c := range map[string]struct {
		change func(raw []byte) []byte
		want   string
	}{
		"nothing": {func(raw []byte) []byte { return raw }, ""},
		"a code": {func(raw []byte) []byte {
			weightsOf(t, raw, weight.Name).Raw[3] ^= 1
			return raw
		}, "1 codes differ from the quantized model's, the first one, number 3,"},
		"a weight's scale":  {rescaled(t, weight.Scales[1]), "want"},
		"an input's scale":  {rescaled(t, o.Quantized.Point(quant.MaskPoint).Encoding.Scales[0]), "as the manifest says"},
		"a point's scale":   {rescaled(t, o.Quantized.Point(quant.EmbeddingPoint).Encoding.Scales[0]), "as in the quantized model"},
		"a signature":       {replaced("decode", "decide"), "the manifest lists this signature, but the file does not have it"},
		"a port":            {replaced("past_key_0_in", "past_key_9_in"), "the manifest does not list this input"},
		"a cut":             {func(raw []byte) []byte { return raw[:200] }, "it is damaged"},
		"another beginning": {replaced("TFL3", "TFL2"), "it is no TFLite file"},
	} {
		t.Run(what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "copy")
			if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, name)
			raw, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, c.change(raw), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			resum(t, dir)
			found := findings(t, dir, o.Quantized)
			if c.want == "" && found != "" || !strings.Contains(found, c.want) {
				t.Errorf("found %q, want %q in it", found, c.want)
			}
		})
	}
}

// findings are all that checks find, or why they could not.
func findings(t *testing.T, dir string, q *quant.Quantized) string {
	t.Helper()
	report, err := export.Check(t.Context(), dir, check.NoTarget, export.Against{Quantized: q})
	if err != nil {
		return err.Error()
	}
	var all []string
	for _, f := range report.Findings {
		all = append(all, f.String())
	}
	return strings.Join(all, "\n")
}

// resum lists the files of a changed folder anew.
func resum(t *testing.T, dir string) {
	t.Helper()
	info, err := manifest.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := info.Files
	info.Files = nil
	for _, f := range files {
		if err := info.AddFile(dir, f.Name); err != nil {
			t.Fatal(err)
		}
	}
	if err := info.Write(dir); err != nil {
		t.Fatal(err)
	}
}

// weightsOf returns the weights of a map, whose bytes are those of raw.
func weightsOf(t *testing.T, raw []byte, point string) *tflite.Tensor {
	t.Helper()
	m, err := tflite.Parse("", raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range m.Signatures[0].Tensors {
		if x.Point() == point && x.Raw != nil {
			return x
		}
	}
	t.Fatalf("there are no weights %s", point)
	return nil
}

// rescaled multiplies a scale by 1.5 wherever it stands.
func rescaled(t *testing.T, scale float32) func(raw []byte) []byte {
	t.Helper()
	return func(raw []byte) []byte {
		old := binary.LittleEndian.AppendUint32(nil, math.Float32bits(scale))
		if !bytes.Contains(raw, old) {
			t.Fatalf("the scale %g is not in the file", scale)
		}
		return bytes.ReplaceAll(raw, old, binary.LittleEndian.AppendUint32(nil, math.Float32bits(1.5*scale)))
	}
}

// replaced puts a name of equal length in the place of another one.
func replaced(old, name string) func(raw []byte) []byte {
	return func(raw []byte) []byte { return bytes.ReplaceAll(raw, []byte(old), []byte(name)) }
}
