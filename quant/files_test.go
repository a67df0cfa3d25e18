package quant

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"eisft/model"
	"eisft/model/hf"
	"eisft/quant/encoding"
)

// tiny is a quantized model of one map.
func tiny() *Quantized {
	return &Quantized{
		Scheme: schemes.Get("w8a16-mixed"), Range: RangeMinMax, Base: "0123",
		Calibration: Calibration{Samples: 2, Prompt: 600, Steps: 20, Hash: "abc", Warnings: []string{"short"}},
		Weights:     []*Weight{{Name: "lm_head", Out: 2, In: 3, Encoding: encoding.Encoding{Bits: 8, Scales: []float32{0.5, 0.25}}, Codes: []int8{1, -127, 3, 127, 0, -6}}},
		Points: []*Point{
			{Name: "lm_head:in", Encoding: encoding.Signed(16, 0.001), Min: -2, Max: 3, SQNR: 81.5},
			{Name: "lm_head:out", Encoding: encoding.Signed(16, 0.01), Min: -20, Max: 30, ClipRate: 0.25},
		},
	}
}

// save writes q into a new folder.
func save(t testing.TB, q *Quantized) string {
	t.Helper()
	dir := t.TempDir()
	if err := q.write(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLoad(t *testing.T) {
	want := tiny()
	got, err := Load(save(t, want))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestLoadDamagedEncodings(t *testing.T) {
	for _, tc := range []struct{ name, old, replacement, want string }{
		{"cut off", "\n}\n", "", "not valid JSON: unexpected end of JSON input"},
		{"other type", `"bits": 16,`, `"bits": "16",`, "not valid JSON: json: cannot unmarshal string into Go struct field Point.activations.encoding.bits of type int"},
		{"schema", `"schema": 3`, `"schema": 2`, "schema is 2; this version of eisft reads 3: run eisft quantize again"},
		{"later schema", `"schema": 3`, `"schema": 4`, "schema is 4; this version of eisft reads 3: it was written by a later one"},
		{"scheme", `"name": "w8a16-mixed"`, `"name": "int"`, `scheme is "int"; it must be one of ` + strings.Join(SchemeNames(), ", ")},
		{"scheme's bits", "\"head\": {\n   \"bits\": 8", "\"head\": {\n   \"bits\": 7", "the scheme is w8a16-mixed: weights int8, head int7, activations int16, cache int8; this version of eisft has w8a16-mixed: weights int8, head int8, activations int16, cache int8"},
		{"range", `"minmax"`, `"all"`, `range is "all"; it must be one of minmax, mse, percentile, entropy`},
		{"bits", "\"bits\": 16,", "\"bits\": 5,", `activation "lm_head:in": bits is 5; it must be 4, 8 or 16`},
		{"other bits", "\"bits\": 16,", "\"bits\": 4,", `activation "lm_head:in": it is int4 scale 0.001; scheme w8a16-mixed has activations int16 and a cache int8`},
		{"two scales", `"scale": 0.001`, `"axis": 0, "scales": [1, 2]`, `activation "lm_head:in": it has 2 scales; want one for the whole tensor`},
		{"no scale", `"scale": 0.001`, `"scale": 0`, `activation "lm_head:in": scale 0 is 0; it must be a finite number above 0`},
		{"negative scale", `"scale": 0.001`, `"scale": -1`, `activation "lm_head:in": scale 0 is -1; it must be a finite number above 0`},
		{"zero point", `"zero_point": 0`, `"zero_point": 3`, `activation "lm_head:in": it is int16 scale 0.001 zero point 3; scheme w8a16-mixed has activations int16 and a cache int8`},
		{"twice", `"lm_head:out"`, `"lm_head:in"`, `activation "lm_head:in" is there twice`},
		{"weight bits", "3\n   ],\n   \"bits\": 8", "3\n   ],\n   \"bits\": 16", `weight "lm_head" is int16; scheme w8a16-mixed has int8`},
		{"other weight", `"name": "lm_head"`, `"name": "head"`, "tensor head.weight is not in the file, which holds 2 others"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := save(t, tiny())
			path := filepath.Join(dir, EncodingsFile)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			damaged := strings.Replace(string(text), tc.old, tc.replacement, 1)
			if damaged == string(text) {
				t.Fatalf("%s is not in the file:\n%s", tc.old, text)
			}
			if err := os.WriteFile(path, []byte(damaged), 0o666); err != nil {
				t.Fatal(err)
			}
			wantError(t, dir, tc.want)
		})
	}
}

// wantError checks that Load fails with a message that ends like that and
// names a file of the folder.
func wantError(t *testing.T, dir, want string) {
	t.Helper()
	if _, err := Load(dir); err == nil || !strings.HasSuffix(err.Error(), ": "+want) || !strings.HasPrefix(err.Error(), dir) {
		t.Errorf("error %v, want %s/FILE: %s", err, dir, want)
	}
}

func TestLoadDamagedWeights(t *testing.T) {
	for _, tc := range []struct {
		name   string
		damage func(w *Weight)
		want   string
	}{
		{"scale", func(w *Weight) { w.Scales[1] = 0 }, "tensor lm_head.weight_scale: scale 1 is 0; it must be a finite number above 0"},
		{"scales", func(w *Weight) { w.Out, w.In = 3, 2; w.Scales = make([]float32, 3) }, "tensor lm_head.weight_scale: scale 0 is 0; it must be a finite number above 0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := tiny()
			tc.damage(q.Weights[0])
			wantError(t, save(t, q), tc.want)
		})
	}
	t.Run("more tensors", func(t *testing.T) {
		dir, q := save(t, tiny()), tiny()
		w := *q.Weights[0]
		w.Name = "other"
		q.Weights = append(q.Weights, &w)
		replaceWeights(t, dir, q)
		wantError(t, dir, "it has 4 tensors, but encodings.json lists 1 weights, of 2 tensors; run eisft quantize again")
	})
	t.Run("other codes", func(t *testing.T) {
		dir, q := save(t, tiny()), tiny()
		q.Weights[0].Codes[0]++
		replaceWeights(t, dir, q)
		if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "the file is damaged: run eisft quantize again") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("missing", func(t *testing.T) {
		dir := save(t, tiny())
		if err := os.Remove(filepath.Join(dir, WeightsFile)); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); err == nil {
			t.Error("no error")
		}
	})
}

// replaceWeights puts q's weights into a folder.
func replaceWeights(t *testing.T, dir string, q *Quantized) {
	t.Helper()
	if err := os.Rename(filepath.Join(save(t, q), WeightsFile), filepath.Join(dir, WeightsFile)); err != nil {
		t.Fatal(err)
	}
}

func TestLoadNothing(t *testing.T) {
	dir := t.TempDir()
	_, err := Load(dir)
	if want := "there is no quantized model in " + dir + "; make one with eisft quantize: "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %v, want %s…", err, want)
	}
}

func FuzzEncodings(f *testing.F) {
	text, err := os.ReadFile(filepath.Join(save(f, tiny()), EncodingsFile))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"schema":3,"scheme":{"name":"w8a16-mixed"},"activations":[{"encoding":{"bits":16,"signed":true,"scale":1e-45}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		q, _, err := parseEncodings(text)
		if err != nil {
			return
		}
		for _, p := range q.Points {
			x := []float32{1, -1e30}
			if p.Encoding.Fake(x); x[0] != x[0] || q.Point(p.Name) != p {
				t.Errorf("%+v makes %g of 1", p, x[0])
			}
		}
	})
}

// FuzzLoad: whatever the weights' file holds, Load returns an error or weights
// whose parts fit together.
func FuzzLoad(f *testing.F) {
	dir := save(f, tiny())
	path := filepath.Join(dir, WeightsFile)
	weights, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(weights)
	f.Add(weights[:20])
	f.Fuzz(func(t *testing.T, weights []byte) {
		if err := os.WriteFile(path, weights, 0o666); err != nil {
			t.Fatal(err)
		}
		q, err := Load(dir)
		if err != nil {
			return
		}
		for _, w := range q.Weights {
			if len(w.Codes) != w.Out*w.In || len(w.Scales) != w.Out || len(w.Dequantize()) != len(w.Codes) {
				t.Errorf("%s: %d codes and %d scales for [%d,%d]", w.Name, len(w.Codes), len(w.Scales), w.Out, w.In)
			}
		}
	})
}

// FuzzWeights: whatever a weight's file holds, and whatever format it is listed with, it is
// refused or its parts fit together and can be written again.
func FuzzWeights(f *testing.F) {
	for i, format := range weightFormats {
		w, err := nearest(model.NewLinear("w", 6, 4, normal(24, 1), nil), format)
		if err != nil {
			f.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(save(f, &Quantized{Weights: []*Weight{w}}), WeightsFile))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(i, text)
	}
	path := filepath.Join(f.TempDir(), WeightsFile)
	f.Fuzz(func(t *testing.T, format int, text []byte) {
		if format < 0 || format >= len(weightFormats) {
			return
		}
		if err := os.WriteFile(path, text, 0o666); err != nil {
			t.Fatal(err)
		}
		w, err := newWeight(weightInfo{"w", [2]int{4, 6}, weightFormats[format]})
		if err != nil {
			t.Fatal(err)
		}
		if (&Quantized{Weights: []*Weight{w}}).readWeights(path) != nil {
			return
		}
		if err := hf.Encode(io.Discard, w.tensors(), nil); err != nil || len(w.Dequantize()) != 24 {
			t.Errorf("%+v: %v", w, err)
		}
	})
}

// weightFormats are those of weights, in rows of six.
var weightFormats = []encoding.Format{
	{Bits: 8},
	{Bits: 4},
	{Bits: 4, Block: 2},
	{Bits: 8, ZeroPoint: true},
	{Bits: 4, ZeroPoint: true, Block: 3},
	{Bits: 4, Block: 2, LowPower: true},
	{Bits: 4, Block: 6, LowPower: true},
	{Bits: 8, Block: 3, LowPower: true},
}

// TestWeightFiles: weights of every format are read back as they were written, also where
// rows have an odd length and 4 bits fill half a byte.
func TestWeightFiles(t *testing.T) {
	for _, f := range weightFormats {
		for _, cols := range []int{6, 9, 12} {
			if f.CheckRows(cols) != nil {
				continue
			}
			w, err := nearest(model.NewLinear("w", cols, 5, normal(5*cols, 1), nil), f)
			if err != nil {
				t.Fatal(err)
			}
			q := &Quantized{Scheme: schemes.Get("w8a16-mixed"), Range: RangeMinMax, Weights: []*Weight{w}}
			blank, err := newWeight(w.info())
			if err != nil {
				t.Fatal(err)
			}
			read := &Quantized{Weights: []*Weight{blank}}
			if err := read.readWeights(filepath.Join(save(t, q), WeightsFile)); err != nil {
				t.Errorf("%s: %v", f, err)
				continue
			}
			if !reflect.DeepEqual(blank, w) {
				t.Errorf("%s: %+v, want %+v", f, blank, w)
			}
		}
	}
	for _, f := range []encoding.Format{{Bits: 16}, {Bits: 8, Unsigned: true}} {
		if _, err := nearest(model.NewLinear("w", 1, 1, []float32{1}, nil), f); err == nil {
			t.Errorf("weights are quantized to %s", f)
		}
	}
}

// TestNibbles holds the packing to ONNX's of INT4: two codes of a row in a byte, the first
// one in the lower half.
func TestNibbles(t *testing.T) {
	codes := []int8{1, -2, 7, -8, 0, -1}
	if got := packNibbles(codes, 6); !bytes.Equal(got, []byte{0xe1, 0x87, 0xf0}) {
		t.Errorf("rows of 6: %x", got)
	}
	if got := packNibbles(codes, 3); !bytes.Equal(got, []byte{0xe1, 0x07, 0x08, 0x0f}) {
		t.Errorf("rows of 3: %x", got)
	}
}

// TestReadDamagedWeights: a file that is not what encodings.json says of it.
func TestReadDamagedWeights(t *testing.T) {
	f := encoding.Format{Bits: 4, Block: 2, LowPower: true}
	for _, tc := range []struct {
		name   string
		damage func(w *Weight, list []hf.Entry)
		want   string
	}{
		{"multiple 17", func(_ *Weight, l []hf.Entry) { l[2].Data = []uint8{16, 17, 2, 3, 4, 5} }, "tensor w.weight_block_scale: scale 1 is 17, 17 times the channel's 1; want a whole multiple, 1 to 16"},
		{"multiple 0", func(_ *Weight, l []hf.Entry) { l[2].Data = []uint8{16, 1, 2, 0, 4, 5} }, "tensor w.weight_block_scale: scale 3 is 0, 0 times the channel's 2; want a whole multiple, 1 to 16"},
		{"channel scale", func(_ *Weight, l []hf.Entry) { l[1].Data.([]float32)[0] = -1 }, "tensor w.weight_block_scale: channel scale 0 is -1; it must be a finite number above 0"},
		{"codes of 8 bits", func(_ *Weight, l []hf.Entry) { l[0].Data, l[0].Shape = make([]int8, 12), []int{2, 6} }, "tensor w.weight is I8 [2 6]; encodings.json lists a weight of int4 in blocks of 2 with low-power scales, which has U8 [2 3] there"},
		{"other blocks", func(_ *Weight, l []hf.Entry) { l[2].Shape = []int{3, 2} }, "tensor w.weight_block_scale is U8 [3 2]; encodings.json lists a weight of int4 in blocks of 2 with low-power scales, which has U8 [2 3] there"},
	} {
		w := &Weight{Name: "w", Out: 2, In: 6, Encoding: encoding.Encoding{Bits: 4, Axis: 1, Block: 2}, Codes: make([]int8, 12)}
		if err := w.SetMultiples([]float32{1, 2}, []int32{16, 1, 2, 3, 4, 5}); err != nil {
			t.Fatal(err)
		}
		list := w.tensors()
		tc.damage(w, list)
		path := filepath.Join(t.TempDir(), WeightsFile)
		if err := hf.WriteFile(path, list, nil); err != nil {
			t.Fatal(err)
		}
		blank, err := newWeight(weightInfo{"w", [2]int{2, 6}, f})
		if err != nil {
			t.Fatal(err)
		}
		err = (&Quantized{Weights: []*Weight{blank}}).readWeights(path)
		if err == nil || !strings.HasSuffix(err.Error(), ": "+tc.want) {
			t.Errorf("%s: %v, want %s", tc.name, err, tc.want)
		}
	}
	for want, info := range map[string]weightInfo{
		`weight "w" is [2 0]; want its numbers of outputs and inputs`:                                                                 {"w", [2]int{2, 0}, f},
		`weight "w": rows of 40 weights cannot be cut into blocks of 32; blocks of these sizes fit: 8, 10, 20, 40`:                    {"w", [2]int{2, 40}, encoding.Format{Bits: 4, Block: 32}},
		`weight "w": rows of 7 weights cannot be cut into blocks of -3, nor into any of 8 to 512; take a scheme with one scale a row`: {"w", [2]int{2, 7}, encoding.Format{Bits: 4, Block: -3}},
	} {
		if _, err := newWeight(info); err == nil || err.Error() != want {
			t.Errorf("%+v: %v, want %s", info, err, want)
		}
	}
}
