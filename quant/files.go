package quant

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"eisft/internal/atomicfile"
	"eisft/internal/filehash"
	"eisft/internal/head"
	"eisft/model/hf"
	"eisft/quant/encoding"
)

// The files of a quantized model in its folder.
const (
	WeightsFile   = "weights.safetensors" // see the suffixes of its tensors
	EncodingsFile = "encodings.json"
	FoldedFile    = "folded.safetensors" // scales and rotations of transforms, float32; only where there were any
)

// Schema is the version of EncodingsFile that this package writes and reads.
const Schema = 3

// The suffixes of a map's tensors in WeightsFile, behind the name of the map.
//
// Codes of 8 bits are I8 [Out,In]. Those of 4 bits are U8 [Out,⌈In/2⌉], two of a row in a
// byte: the code of an even input in the lower half, that of the odd one behind it in the
// upper half, each in two's complement, as ONNX packs INT4. After an odd number the last
// upper half is 0.
//
// Scales are F32 [Out] or, of blocks, [Out,In/block]. Low-power blockwise encodings have
// one scale for each row, F32 [Out], and the multiple of it, 1 to 16, that is the scale of
// each block, U8 [Out,In/block].
const (
	codesSuffix     = ".weight"
	scalesSuffix    = ".weight_scale"
	multiplesSuffix = ".weight_block_scale" // low-power blockwise encodings alone
	zerosSuffix     = ".weight_zero_point"  // I8, shaped as the scales; where the scheme has them
)

// encodings is EncodingsFile.
type encodings struct {
	Schema      int          `json:"schema"`
	Scheme      Scheme       `json:"scheme"`
	Range       Range        `json:"range"`
	Base        string       `json:"base_identity"`
	Calibration Calibration  `json:"calibration"`
	Text        []int32      `json:"text,omitempty"`
	WeightsSum  string       `json:"weights_sha256,omitempty"` // of WeightsFile; "" in files of earlier versions
	Folded      *foldedInfo  `json:"folded,omitempty"`         // of FoldedFile, where transforms were folded in
	Weights     []weightInfo `json:"weights"`
	Activations []*Point     `json:"activations"`
}

// weightInfo names the tensors of a map in WeightsFile.
type weightInfo struct {
	Name  string `json:"name"`
	Shape [2]int `json:"shape"` // [Out,In]
	encoding.Format
}

// info describes the weight in EncodingsFile.
func (w *Weight) info() weightInfo { return weightInfo{w.Name, [2]int{w.Out, w.In}, w.Format()} }

// paramShape is the shape of a weight's scales: [Out], or [Out,In/block].
func (w *Weight) paramShape() []int {
	if w.Block > 0 {
		return []int{w.Out, w.In / w.Block}
	}
	return []int{w.Out}
}

// tensors are the weight's tensors in WeightsFile.
func (w *Weight) tensors() []hf.Entry {
	codes := hf.Entry{Name: w.Name + codesSuffix, Shape: []int{w.Out, w.In}, Data: w.Codes}
	if w.Bits == 4 {
		width := (w.In + 1) / 2
		codes.Shape = []int{w.Out, width}
		codes.Data = hf.Lazy{DType: hf.DTypeU8, Count: w.Out * width, Write: func(to io.Writer) error {
			return w.inRows(func(first, last int) error {
				_, err := to.Write(packNibbles(w.Codes[first*w.In:last*w.In], w.In))
				return err
			})
		}}
	}
	scales := hf.Entry{Name: w.Name + scalesSuffix, Shape: w.paramShape(), Data: w.Scales}
	if !w.LowPower() {
		list := []hf.Entry{codes, scales}
		if len(w.Zeros) > 0 {
			zeros := make([]int8, len(w.Zeros))
			for i, z := range w.Zeros {
				zeros[i] = int8(z)
			}
			list = append(list, hf.Entry{Name: w.Name + zerosSuffix, Shape: w.paramShape(), Data: zeros})
		}
		return list
	}
	multiples := hf.Lazy{DType: hf.DTypeU8, Count: len(w.Scales), Write: func(to io.Writer) error {
		bytes := make([]uint8, len(w.Scales))
		for i := range bytes {
			bytes[i] = uint8(w.Multiple(i))
		}
		_, err := to.Write(bytes)
		return err
	}}
	scales.Shape, scales.Data = []int{w.Out}, w.Channels
	return []hf.Entry{codes, scales, {Name: w.Name + multiplesSuffix, Shape: w.paramShape(), Data: multiples}}
}

// inRows calls f for so many rows at a time that their weights can be held.
func (w *Weight) inRows(f func(first, last int) error) error {
	rows := min(w.Out, max(1, rowFloats/w.In))
	for first := 0; first < w.Out; first += rows {
		if err := f(first, min(w.Out, first+rows)); err != nil {
			return err
		}
	}
	return nil
}

// packNibbles puts the codes of rows of the given length two in a byte.
func packNibbles(codes []int8, cols int) []uint8 {
	width := (cols + 1) / 2
	packed := make([]uint8, len(codes)/cols*width)
	for i, c := range codes {
		row, col := i/cols, i%cols
		packed[row*width+col/2] |= uint8(c) & 15 << (4 * (col & 1))
	}
	return packed
}

// unpackNibbles is the inverse of packNibbles.
func unpackNibbles(packed []byte, cols int) []int8 {
	width := (cols + 1) / 2
	codes := make([]int8, len(packed)/width*cols)
	for i := range codes {
		row, col := i/cols, i%cols
		codes[i] = int8(packed[row*width+col/2]<<(4-4*(col&1))) >> 4
	}
	return codes
}

// write writes the files into a folder.
func (q *Quantized) write(dir string) error {
	e := encodings{Schema: Schema, Scheme: q.Scheme, Range: q.Range, Base: q.Base, Calibration: q.Calibration, Text: q.Text, Activations: q.Points}
	var tensors []hf.Entry
	for _, w := range q.Weights {
		e.Weights = append(e.Weights, w.info())
		tensors = append(tensors, w.tensors()...)
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
	text, err := head.Read(path, maxEncodings)
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
	if e.Scheme.Target != "" {
		if want, err = want.For(e.Scheme.Target); err != nil {
			return nil, nil, err
		}
	}
	if want.Cache, err = want.cacheLike(e.Scheme.Cache); err != nil {
		return nil, nil, err
	}
	e.Scheme.Targets = want.Targets // who runs it is for this version to know
	if !e.Scheme.Equal(want) {
		return nil, nil, fmt.Errorf("the scheme is %s; this version of eisft has %s", e.Scheme, want)
	}
	if _, err := ParseRange(string(e.Range)); err != nil {
		return nil, nil, err
	}
	q := &Quantized{Scheme: e.Scheme, Range: e.Range, Base: e.Base, Calibration: e.Calibration, Text: e.Text}
	if i := slices.IndexFunc(q.Text, func(id int32) bool { return id < 0 }); i >= 0 || len(q.Text) > TextTokens {
		return nil, nil, fmt.Errorf("text has %d tokens, of which number %d is negative; want at most %d ids", len(q.Text), i, TextTokens)
	}
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
		if w.Bits > 8 || w.Format != e.Scheme.Weight && w.Format != e.Scheme.weightOf(w.Bits) {
			return nil, nil, fmt.Errorf("weight %q is %s; scheme %s has %s", w.Name, w.Format, e.Scheme.Name, e.Scheme.Weight)
		}
		weight, err := newWeight(w)
		if err != nil {
			return nil, nil, err
		}
		q.Weights = append(q.Weights, weight)
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
	for _, f := range s.pointFormats() {
		if (e.Bits == 8 || e.Bits == 16) && !f.None() && e.Unsigned == f.Unsigned && (f.ZeroPoint || e.Symmetric()) {
			return nil
		}
	}
	return fmt.Errorf("it is %s; scheme %s has activations %s and a cache %s", e, s.Name, s.Activation, s.Cache)
}

// newWeight returns a weight without codes and scales.
func newWeight(info weightInfo) (*Weight, error) {
	f := info.Format
	w := &Weight{Name: info.Name, Out: info.Shape[0], In: info.Shape[1], Encoding: encoding.Encoding{Bits: f.Bits, Unsigned: f.Unsigned, Block: f.Block}}
	if w.Out < 1 || w.In < 1 || w.Out > math.MaxInt32 || w.In > math.MaxInt32 {
		return nil, fmt.Errorf("weight %q is %v; want its numbers of outputs and inputs", info.Name, info.Shape)
	}
	if err := f.CheckRows(w.In); err != nil {
		return nil, fmt.Errorf("weight %q: %w", info.Name, err)
	}
	if f.Block > 0 {
		w.Axis = 1
	}
	if f.ZeroPoint {
		w.Zeros = []int32{}
	}
	if f.LowPower {
		w.Channels = []float32{}
	}
	return w, nil
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

// read fills in the weight, which has its shape, from a file and returns how many tensors
// it has there.
func (w *Weight) read(f *hf.File) (tensors int, err error) {
	tensor := func(suffix string, dtype hf.DType, shape ...int) (hf.Tensor, error) {
		t, err := f.Tensor(w.Name + suffix)
		tensors++
		if err == nil && (t.DType != dtype || !slices.Equal(t.Shape, shape)) {
			err = fmt.Errorf("tensor %s is %s %v; %s lists a weight of %s, which has %s %v there", t.Name, t.DType, t.Shape, EncodingsFile, w.Format(), dtype, shape)
		}
		return t, err
	}
	if err := w.readCodes(tensor); err != nil {
		return 0, err
	}
	shape := w.paramShape()
	if w.Channels != nil {
		shape = shape[:1]
	}
	scales, err := tensor(scalesSuffix, hf.DTypeF32, shape...)
	if err != nil {
		return 0, err
	}
	numbers, err := scales.Float32()
	if err != nil {
		return 0, err
	}
	switch {
	case w.Channels != nil:
		blocks, err := tensor(multiplesSuffix, hf.DTypeU8, w.paramShape()...)
		if err != nil {
			return 0, err
		}
		multiples := make([]int32, len(blocks.Data))
		for i, k := range blocks.Data {
			multiples[i] = int32(k)
		}
		if err := w.SetMultiples(numbers, multiples); err != nil {
			return 0, fmt.Errorf("tensor %s: %w", blocks.Name, err)
		}
	case w.Zeros != nil:
		zeros, err := tensor(zerosSuffix, hf.DTypeI8, shape...)
		if err != nil {
			return 0, err
		}
		for _, z := range signedBytes(zeros.Data) {
			w.Zeros = append(w.Zeros, int32(z))
		}
		fallthrough
	default:
		w.Scales = numbers
	}
	if _, err := w.ParamShape([]int{w.Out, w.In}); err != nil {
		return 0, fmt.Errorf("tensor %s: %w", scales.Name, err)
	}
	return tensors, nil
}

// readCodes fills in the codes.
func (w *Weight) readCodes(tensor func(suffix string, dtype hf.DType, shape ...int) (hf.Tensor, error)) error {
	if w.Bits == 4 {
		packed, err := tensor(codesSuffix, hf.DTypeU8, w.Out, (w.In+1)/2)
		if err == nil {
			w.Codes = unpackNibbles(packed.Data, w.In)
		}
		return err
	}
	codes, err := tensor(codesSuffix, hf.DTypeI8, w.Out, w.In)
	if err == nil {
		w.Codes = signedBytes(codes.Data)
	}
	return err
}

func signedBytes(data []byte) []int8 {
	codes := make([]int8, len(data))
	for i, b := range data {
		codes[i] = int8(b)
	}
	return codes
}
