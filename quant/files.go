package quant

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"eisft/internal/atomicfile"
	"eisft/model/hf"
)

// The files of a quantized model in its folder.
const (
	WeightsFile   = "weights.safetensors" // codes as int8, scales as float32, under checkpoint names
	EncodingsFile = "encodings.json"
)

// Schema is the version of EncodingsFile that this package writes and reads.
const Schema = 1

// The suffixes of a map's tensors in WeightsFile.
const (
	codesSuffix  = ".weight"
	scalesSuffix = ".weight_scale"
)

// encodings is EncodingsFile.
type encodings struct {
	Schema      int          `json:"schema"`
	Scheme      Scheme       `json:"scheme"`
	Range       Range        `json:"range"`
	Base        string       `json:"base_identity"`
	Calibration Calibration  `json:"calibration"`
	Weights     []weightInfo `json:"weights"`
	Activations []activation `json:"activations"`
}

// weightInfo names the tensors of a map in WeightsFile.
type weightInfo struct {
	Name string `json:"name"`
	Bits int    `json:"bits"`
}

// activation is a point, with what is the same for all of them in words that
// other tools read.
type activation struct {
	Point
	ZeroPoint int  `json:"zero_point"`
	Symmetric bool `json:"symmetric"`
}

// write writes the files into a folder.
func (q *Quantized) write(dir string) error {
	e := encodings{Schema: Schema, Scheme: q.Scheme, Range: q.Range, Base: q.Base, Calibration: q.Calibration}
	var tensors []hf.Entry
	for _, w := range q.Weights {
		e.Weights = append(e.Weights, weightInfo{w.Name, w.Bits})
		tensors = append(tensors,
			hf.Entry{Name: w.Name + codesSuffix, Shape: []int{w.Out, w.In}, Data: w.Codes},
			hf.Entry{Name: w.Name + scalesSuffix, Shape: []int{w.Out}, Data: w.Scales})
	}
	for _, p := range q.Points {
		e.Activations = append(e.Activations, activation{*p, 0, true})
	}
	if err := hf.WriteFile(filepath.Join(dir, WeightsFile), tensors, map[string]string{"scheme": q.Scheme.Name}); err != nil {
		return err
	}
	return writeJSON(filepath.Join(dir, EncodingsFile), e)
}

func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return atomicfile.WriteFile(path, append(text, '\n'))
}

// maxEncodings bounds EncodingsFile: a point takes 250 bytes, and the largest
// models have a few thousand.
const maxEncodings = 16 << 20

// Load reads a folder that `eisft quantize` wrote. It fails, naming file and
// entry, on what is missing, damaged, of another version, or contradicts itself.
// Whether it belongs to a model is for Apply to check.
func Load(dir string) (*Quantized, error) {
	path := filepath.Join(dir, EncodingsFile)
	text, err := readBounded(path, maxEncodings)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no quantized model in %s; make one with eisft quantize: %w", dir, err)
	}
	if err != nil {
		return nil, err
	}
	q, err := parseEncodings(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return q, q.readWeights(filepath.Join(dir, WeightsFile))
}

// readBounded reads a file of at most n bytes.
func readBounded(path string, n int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, n+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > n {
		return nil, fmt.Errorf("%s: it is larger than %d bytes; is it the file that eisft quantize wrote?", path, n)
	}
	return text, nil
}

// parseEncodings reads EncodingsFile; the weights have no codes yet.
func parseEncodings(text []byte) (*Quantized, error) {
	var e encodings
	if err := json.Unmarshal(text, &e); err != nil {
		return nil, fmt.Errorf("not valid JSON: %w", err)
	}
	if e.Schema != Schema {
		return nil, fmt.Errorf("schema is %d; this version of eisft reads %d", e.Schema, Schema)
	}
	want, err := ParseScheme(e.Scheme.Name)
	if err != nil {
		return nil, err
	}
	if e.Scheme != want {
		return nil, fmt.Errorf("scheme %s is %+v; this version of eisft has %+v", want.Name, e.Scheme, want)
	}
	if _, err := ParseRange(string(e.Range)); err != nil {
		return nil, err
	}
	q := &Quantized{Scheme: e.Scheme, Range: e.Range, Base: e.Base, Calibration: e.Calibration}
	names := map[string]bool{}
	for _, a := range e.Activations {
		if err := a.check(names); err != nil {
			return nil, fmt.Errorf("activation %q: %w", a.Name, err)
		}
		q.Points = append(q.Points, &a.Point)
	}
	for _, w := range e.Weights {
		if names[w.Name] {
			return nil, fmt.Errorf("weight %q is there twice", w.Name)
		}
		names[w.Name] = true
		if w.Bits != e.Scheme.Weight && w.Bits != e.Scheme.Head {
			return nil, fmt.Errorf("weight %q: bits is %d; scheme %s has %d", w.Name, w.Bits, e.Scheme.Name, e.Scheme.Weight)
		}
		q.Weights = append(q.Weights, &Weight{Name: w.Name, Bits: w.Bits})
	}
	return q, nil
}

// check reports an activation that no scheme makes, or that has a name of names;
// it adds its own.
func (a *activation) check(names map[string]bool) error {
	if names[a.Name] {
		return errors.New("it is there twice")
	}
	names[a.Name] = true
	if !a.Symmetric || a.ZeroPoint != 0 {
		return fmt.Errorf("symmetric is %t and zero_point %d; this version of eisft has symmetric encodings with zero point 0 only", a.Symmetric, a.ZeroPoint)
	}
	return a.Encoding.check()
}

// readWeights fills in codes and scales of every weight.
func (q *Quantized) readWeights(path string) error {
	f, err := hf.OpenFile(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	for _, w := range q.Weights {
		if err := w.read(f); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if n := len(f.Names()); n != 2*len(q.Weights) {
		return fmt.Errorf("%s: it has %d tensors, but %s lists %d weights, of two tensors each; run eisft quantize again", path, n, EncodingsFile, len(q.Weights))
	}
	return nil
}

// read fills in the weight from a file.
func (w *Weight) read(f *hf.File) error {
	codes, err := f.Tensor(w.Name + codesSuffix)
	if err != nil {
		return err
	}
	if codes.DType != hf.DTypeI8 || len(codes.Shape) != 2 {
		return fmt.Errorf("tensor %s is %s %v; want a matrix of I8", codes.Name, codes.DType, codes.Shape)
	}
	scales, err := f.Tensor(w.Name + scalesSuffix)
	if err != nil {
		return err
	}
	w.Out, w.In = codes.Shape[0], codes.Shape[1]
	if scales.DType != hf.DTypeF32 || !slices.Equal(scales.Shape, []int{w.Out}) {
		return fmt.Errorf("tensor %s is %s %v; want F32 [%d], a scale for each row of the codes", scales.Name, scales.DType, scales.Shape, w.Out)
	}
	if w.Scales, err = scales.Float32(); err != nil {
		return err
	}
	for i, s := range w.Scales {
		if err := checkScale(s); err != nil {
			return fmt.Errorf("tensor %s, row %d: %w", scales.Name, i, err)
		}
	}
	w.Codes = make([]int8, len(codes.Data))
	for i, b := range codes.Data {
		w.Codes[i] = int8(b)
	}
	return nil
}
