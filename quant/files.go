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
	"eisft/internal/filehash"
	"eisft/model/hf"
	"eisft/quant/encoding"
)

// The files of a quantized model in its folder.
const (
	WeightsFile   = "weights.safetensors" // codes and zero points as int8, scales as float32, under checkpoint names
	EncodingsFile = "encodings.json"
	FoldedFile    = "folded.safetensors" // scales and rotations of transforms, float32; only where there were any
)

// Schema is the version of EncodingsFile that this package writes and reads.
const Schema = 2

// The suffixes of a map's tensors in WeightsFile.
const (
	codesSuffix  = ".weight"
	scalesSuffix = ".weight_scale"
	zerosSuffix  = ".weight_zero_point" // where the scheme has them
)

// encodings is EncodingsFile.
type encodings struct {
	Schema      int          `json:"schema"`
	Scheme      Scheme       `json:"scheme"`
	Range       Range        `json:"range"`
	Base        string       `json:"base_identity"`
	Calibration Calibration  `json:"calibration"`
	WeightsSum  string       `json:"weights_sha256,omitempty"` // of WeightsFile; "" in files of earlier versions
	Folded      *foldedInfo  `json:"folded,omitempty"`         // of FoldedFile, where transforms were folded in
	Weights     []weightInfo `json:"weights"`
	Activations []*Point     `json:"activations"`
}

// weightInfo names the tensors of a map in WeightsFile.
type weightInfo struct {
	Name string `json:"name"`
	encoding.Format
}

// paramShape is the shape of a weight's scales: [Out], or [Out,In/block].
func (w *Weight) paramShape(f encoding.Format) []int {
	if f.Block > 0 {
		return []int{w.Out, w.In / f.Block}
	}
	return []int{w.Out}
}

// write writes the files into a folder.
func (q *Quantized) write(dir string) error {
	e := encodings{Schema: Schema, Scheme: q.Scheme, Range: q.Range, Base: q.Base, Calibration: q.Calibration, Activations: q.Points}
	var tensors []hf.Entry
	for _, w := range q.Weights {
		f := encoding.Format{Bits: w.Bits, Unsigned: w.Unsigned, ZeroPoint: len(w.Zeros) > 0, Block: w.Block}
		e.Weights = append(e.Weights, weightInfo{w.Name, f})
		tensors = append(tensors,
			hf.Entry{Name: w.Name + codesSuffix, Shape: []int{w.Out, w.In}, Data: w.Codes},
			hf.Entry{Name: w.Name + scalesSuffix, Shape: w.paramShape(f), Data: w.Scales})
		if f.ZeroPoint {
			zeros := make([]int8, len(w.Zeros))
			for i, z := range w.Zeros {
				zeros[i] = int8(z)
			}
			tensors = append(tensors, hf.Entry{Name: w.Name + zerosSuffix, Shape: w.paramShape(f), Data: zeros})
		}
	}
	path := filepath.Join(dir, WeightsFile)
	err := hf.WriteFile(path, tensors, map[string]string{"scheme": q.Scheme.Name})
	if err != nil {
		return err
	}
	if e.WeightsSum, err = filehash.Compute(path); err != nil {
		return err
	}
	if e.Folded, err = q.Folded.write(dir); err != nil {
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
	q, e, err := parseEncodings(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	path = filepath.Join(dir, WeightsFile)
	if err := q.readWeights(path); err != nil {
		return nil, err
	}
	if err := intact(path, e.WeightsSum); err != nil {
		return nil, err
	}
	q.Folded, err = e.Folded.read(dir)
	return q, err
}

// intact compares a file with the hash that it was written with, if that is known.
func intact(path, want string) error {
	if want == "" {
		return nil
	}
	have, err := filehash.Sum(path)
	if err == nil && have != want {
		err = fmt.Errorf("%s: the content has the sha256 %.16s…, but %s has %.16s…; the file is damaged: run eisft quantize again", path, have, EncodingsFile, want)
	}
	return err
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
func parseEncodings(text []byte) (*Quantized, *encodings, error) {
	var version struct{ Schema int }
	if err := json.Unmarshal(text, &version); err != nil {
		return nil, nil, fmt.Errorf("not valid JSON: %w", err)
	}
	if err := checkSchema(version.Schema); err != nil {
		return nil, nil, err
	}
	var e encodings
	if err := json.Unmarshal(text, &e); err != nil {
		return nil, nil, fmt.Errorf("not valid JSON: %w", err)
	}
	want, err := ParseScheme(e.Scheme.Name)
	if err != nil {
		return nil, nil, err
	}
	if e.Scheme != want {
		return nil, nil, fmt.Errorf("the scheme is %s; this version of eisft has %s", e.Scheme, want)
	}
	if _, err := ParseRange(string(e.Range)); err != nil {
		return nil, nil, err
	}
	q := &Quantized{Scheme: e.Scheme, Range: e.Range, Base: e.Base, Calibration: e.Calibration}
	names := map[string]bool{}
	for i, a := range e.Activations {
		if a == nil {
			return nil, nil, fmt.Errorf("activation %d is null", i)
		}
		if names[a.Name] {
			return nil, nil, fmt.Errorf("activation %q is there twice", a.Name)
		}
		names[a.Name] = true
		if err := checkPoint(a.Encoding, q.Scheme); err != nil {
			return nil, nil, fmt.Errorf("activation %q: %w", a.Name, err)
		}
		q.Points = append(q.Points, a)
	}
	for _, w := range e.Weights {
		if names[w.Name] {
			return nil, nil, fmt.Errorf("weight %q is there twice", w.Name)
		}
		names[w.Name] = true
		if w.Format != e.Scheme.Weight && w.Format != e.Scheme.Head {
			return nil, nil, fmt.Errorf("weight %q is %s; scheme %s has %s", w.Name, w.Format, e.Scheme.Name, e.Scheme.Weight)
		}
		q.Weights = append(q.Weights, newWeight(w.Name, w.Format))
	}
	return q, &e, nil
}

// checkSchema reports a version of the files that this package does not read.
func checkSchema(found int) error {
	switch {
	case found == Schema:
		return nil
	case found < Schema:
		return fmt.Errorf("schema is %d; this version of eisft reads %d: run eisft quantize again", found, Schema)
	default:
		return fmt.Errorf("schema is %d; this version of eisft reads %d: it was written by a later one", found, Schema)
	}
}

// checkPoint reports the encoding of a point that a scheme does not make.
func checkPoint(e encoding.Encoding, s Scheme) error {
	if err := e.Check(); err != nil {
		return err
	}
	if len(e.Scales) != 1 {
		return fmt.Errorf("it has %d scales; want one for the whole tensor", len(e.Scales))
	}
	for _, f := range []encoding.Format{s.Activation, s.Cache} {
		if e.Bits == f.Bits && e.Unsigned == f.Unsigned && (f.ZeroPoint || e.Symmetric()) {
			return nil
		}
	}
	return fmt.Errorf("it is %s; scheme %s has activations %s and a cache %s", e, s.Name, s.Activation, s.Cache)
}

// newWeight returns the weight of a format, without codes and scales.
func newWeight(name string, f encoding.Format) *Weight {
	w := &Weight{Name: name, Encoding: encoding.Encoding{Bits: f.Bits, Unsigned: f.Unsigned, Block: f.Block}}
	if f.Block > 0 {
		w.Axis = 1
	}
	if f.ZeroPoint {
		w.Zeros = []int32{}
	}
	return w
}

// readWeights fills in codes and scales of every weight.
func (q *Quantized) readWeights(path string) error {
	f, err := hf.OpenFile(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	tensors := 0
	for _, w := range q.Weights {
		n, err := w.read(f)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		tensors += n
	}
	if n := len(f.Names()); n != tensors {
		return fmt.Errorf("%s: it has %d tensors, but %s lists %d weights, of %d tensors; run eisft quantize again", path, n, EncodingsFile, len(q.Weights), tensors)
	}
	return nil
}

// read fills in the weight from a file and returns how many tensors it has there.
func (w *Weight) read(f *hf.File) (tensors int, err error) {
	codes, err := f.Tensor(w.Name + codesSuffix)
	if err != nil {
		return 0, err
	}
	if codes.DType != hf.DTypeI8 || len(codes.Shape) != 2 {
		return 0, fmt.Errorf("tensor %s is %s %v; want a matrix of I8", codes.Name, codes.DType, codes.Shape)
	}
	w.Out, w.In = codes.Shape[0], codes.Shape[1]
	w.Codes = signedBytes(codes.Data)
	lo, hi := w.Limits()
	if i := slices.IndexFunc(w.Codes, func(c int8) bool { return int32(c) < lo || int32(c) > hi }); i >= 0 {
		return 0, fmt.Errorf("tensor %s, row %d: code %d is outside %s", codes.Name, i/w.In, w.Codes[i], w.Type())
	}
	shape := []int{w.Out}
	if w.Block > 0 {
		shape = append(shape, w.In/w.Block)
	}
	param := func(suffix, dtype string) (hf.Tensor, error) {
		t, err := f.Tensor(w.Name + suffix)
		if err == nil && (string(t.DType) != dtype || !slices.Equal(t.Shape, shape)) {
			err = fmt.Errorf("tensor %s is %s %v; want %s %v, one for each row or block of the codes", t.Name, t.DType, t.Shape, dtype, shape)
		}
		return t, err
	}
	scales, err := param(scalesSuffix, string(hf.DTypeF32))
	if err != nil {
		return 0, err
	}
	if w.Scales, err = scales.Float32(); err != nil {
		return 0, err
	}
	tensors = 2
	if w.Zeros != nil {
		zeros, err := param(zerosSuffix, string(hf.DTypeI8))
		if err != nil {
			return 0, err
		}
		for _, z := range signedBytes(zeros.Data) {
			w.Zeros = append(w.Zeros, int32(z))
		}
		tensors++
	}
	if _, err := w.ParamShape([]int{w.Out, w.In}); err != nil {
		return 0, fmt.Errorf("tensor %s: %w", scales.Name, err)
	}
	return tensors, nil
}

func signedBytes(data []byte) []int8 {
	codes := make([]int8, len(data))
	for i, b := range data {
		codes[i] = int8(b)
	}
	return codes
}
