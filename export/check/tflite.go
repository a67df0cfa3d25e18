package check

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"eisft/export/ir"
	"eisft/export/manifest"
	"eisft/export/tflite"
	"eisft/quant"
)

// lite is a TFLite file under check.
type lite struct {
	*tflite.Model
	findings *[]Finding
	rule     RuleName
}

func (l *lite) report(node, format string, args ...any) { l.reportAs(Error, node, format, args...) }

func (l *lite) reportAs(s Severity, node, format string, args ...any) {
	*l.findings = append(*l.findings, Finding{s, l.rule, filepath.Base(l.Path), node, fmt.Sprintf(format, args...)})
}

// openLite opens the TFLite files of an exported folder, or a single one.
func openLite(path string, m *manifest.Manifest, findings *[]Finding) ([]*lite, error) {
	files := []string{path}
	if m != nil {
		files = nil
		for _, name := range m.TFLiteFiles() {
			files = append(files, filepath.Join(path, name))
		}
	}
	var list []*lite
	for _, file := range files {
		model, err := tflite.Open(file)
		if err != nil {
			return nil, err
		}
		list = append(list, &lite{model, findings, RuleTFLite})
	}
	return list, nil
}

// inLite tells whether a path is a TFLite file, or an exported folder with one.
func inLite(path string, m *manifest.Manifest) bool {
	return isLite(path) || m != nil && len(m.TFLiteFiles()) > 0
}

// isLite tells whether a path is a single TFLite file.
func isLite(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir() && strings.HasSuffix(path, ".tflite")
}

// checkLite holds TFLite files to the contract, to a target's rules and, where there is one, to
// a manifest.
func checkLite(path string, m *manifest.Manifest, target Target) ([]Finding, error) {
	var findings []Finding
	files, err := openLite(path, m, &findings)
	if err != nil {
		return nil, err
	}
	for _, l := range files {
		for _, s := range l.Signatures {
			l.checkSignature(s)
			l.checkRules(s, target)
		}
	}
	if m != nil {
		for _, g := range m.Graphs {
			for _, p := range g.Parts {
				if i := slices.IndexFunc(files, func(l *lite) bool { return filepath.Base(l.Path) == p.File }); i >= 0 && p.Signature != "" {
					files[i].rule = RuleManifest
					files[i].compareListed(g, p)
				}
			}
		}
	}
	return findings, nil
}

// checkSignature: known ops and types, rank 4 at most, codes of 16 bits without a zero point.
func (l *lite) checkSignature(s tflite.ReadSignature) {
	for _, op := range slices.Sorted(maps.Keys(s.Ops)) {
		if !slices.Contains(tflite.Ops(), op) {
			l.report(s.Name, "%s is not one of the ops that LiteRT, MediaTek and this contract have in common", op)
		}
	}
	for _, t := range s.Tensors {
		switch {
		case t.DType == 0:
			l.report(s.Name+": "+t.Name, "it is of a type outside float32, int4, int8, int16, int32 and int64")
		case len(t.Shape) > ir.MaxRank:
			l.report(s.Name+": "+t.Name, "its shape %v has rank %d, above %d", t.Shape, len(t.Shape), ir.MaxRank)
		case t.Encoding != nil && t.Encoding.Bits == 16 && !t.Encoding.Symmetric():
			l.report(s.Name+": "+t.Name, "it has 16 bits and a zero point, with which LiteRT's kernels do not compute")
		}
	}
}

// checkRules holds a signature to the rules of the table that can be said of TFLite.
func (l *lite) checkRules(s tflite.ReadSignature, target Target) {
	defer func(before RuleName) { l.rule = before }(l.rule)
	for _, rule := range Rules() {
		if !rule.appliesTo(target) {
			continue
		}
		if l.rule = rule.Name; rule.lite != nil {
			rule.lite(l, s)
		}
		for _, r := range rule.codes {
			for _, t := range s.Tensors {
				if e := t.Encoding; e != nil && r.in(*e, t.Raw != nil) && r.violates(*e) {
					l.reportAs(r.severity, s.Name+": "+t.Name, r.message, e.Type())
				}
			}
		}
	}
}

func (l *lite) checkLogits(s tflite.ReadSignature) {
	for _, p := range s.Outputs {
		if p.Name == "logits" {
			bytes := p.Tensor.DType.Bits() / 8
			for _, n := range p.Tensor.Shape {
				bytes *= n
			}
			if bytes > mostLogits {
				l.reportAs(Warning, s.Name+": "+p.Name, "the logits take %d MiB a step; export those of the last token (--logits last)", bytes>>20)
			}
		}
	}
}

// checkFloat16 looks for numbers that float16 does not have among the constants of one. Which
// op adds them is for the ONNX file of the same graph to show.
func (l *lite) checkFloat16(s tflite.ReadSignature) {
	for _, t := range s.Tensors {
		if t.DType != ir.Float32 || len(t.Raw) != 4 {
			continue
		}
		v := math.Float32frombits(binary.LittleEndian.Uint32(t.Raw))
		if lost := lostInFloat16(v); lost != "" {
			l.report(s.Name+": "+t.Name, "the constant %g %s", v, lost)
		}
	}
}

// compareListed holds a signature to what the manifest says of it.
func (l *lite) compareListed(g manifest.Graph, p manifest.Part) {
	i := slices.IndexFunc(l.Signatures, func(s tflite.ReadSignature) bool { return s.Name == p.Signature })
	if i < 0 {
		l.report(p.Signature, "the manifest lists this signature, but the file does not have it")
		return
	}
	s := l.Signatures[i]
	if !maps.Equal(s.Ops, p.Ops) {
		l.report(s.Name, "it has the ops %v, the manifest says %v", s.Ops, p.Ops)
	}
	l.comparePorts(s.Name, "input", s.Inputs, g.InputsOf(p))
	l.comparePorts(s.Name, "output", s.Outputs, g.OutputsOf(p))
}

func (l *lite) comparePorts(signature, side string, have []tflite.Port, listed []manifest.Port) {
	want := map[string]manifest.Port{}
	for _, p := range listed {
		want[p.Name] = p
	}
	for _, p := range have {
		w, ok := want[p.Name]
		delete(want, p.Name)
		at, t := signature+": "+p.Name, p.Tensor
		switch {
		case !ok:
			l.report(at, "the manifest does not list this %s", side)
		case t.DType.String() != w.DType || !slices.Equal(t.Shape, w.Shape):
			l.report(at, "the %s is %s %v, the manifest says %s %v", side, t.DType, t.Shape, w.DType, w.Shape)
		case (t.Encoding == nil) != (w.Encoding == nil):
			l.report(at, "the manifest says otherwise whether the %s is in codes", side)
		case t.Encoding != nil:
			if d := t.Encoding.Difference(*w.Encoding); d != "" {
				l.report(at, "%s as the manifest says", d)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		l.report(signature+": "+name, "the manifest lists this %s, but the signature does not have it", side)
	}
}

// compareLite compares the quantized TFLite files with the model that they were made from.
func compareLite(path string, m *manifest.Manifest, q *quant.Quantized, all *coverage) ([]Finding, error) {
	var findings []Finding
	files, err := openLite(path, m, &findings)
	if err != nil {
		return nil, err
	}
	for _, l := range files {
		if l.rule = RuleCodes; m != nil && manifest.IsFloat(m.PrecisionOf(filepath.Base(l.Path))) {
			continue
		}
		for _, s := range l.Signatures {
			seen := l.compareCodes(s, q)
			all.add(place{filepath.Base(l.Path), s.Name}, seen, portNames(s.Inputs), portNames(s.Outputs), func(format string, args ...any) { l.report(s.Name, format, args...) })
		}
	}
	return findings, nil
}

// compareCodes holds the encodings of a signature's tensors, and the codes of its weights, to
// the model's, and returns the names that it encodes.
func (l *lite) compareCodes(s tflite.ReadSignature, q *quant.Quantized) (seen map[string]bool) {
	seen = map[string]bool{}
	for _, t := range s.Tensors {
		point := t.Point()
		if point == "" {
			continue
		}
		seen[point] = true
		at := s.Name + ": " + t.Name
		if p := q.Point(point); p != nil {
			if d := t.Encoding.Difference(p.Encoding); d != "" {
				l.report(at, "%s as in the quantized model", d)
			}
			if len(p.Codes) > 0 {
				compareCodes(l, at, t, p.Codes)
			}
			continue
		}
		w := q.Weight(point)
		if w == nil {
			l.report(at, "the quantized model has neither weights nor an encoding of that name")
			continue
		}
		if d := t.Encoding.Difference(w.Encoding); d != "" {
			l.report(at, "%s as in the quantized model", d)
		}
		compareCodes(l, at, t, w.Codes)
	}
	return seen
}

func portNames(ports []tflite.Port) []string {
	var names []string
	for _, p := range ports {
		names = append(names, p.Name)
	}
	return names
}

// compareCodes holds a constant's codes to those of the model, which has them as the file does.
func compareCodes[T int8 | int32](l *lite, at string, t *tflite.Tensor, want []T) {
	codes, err := t.Integers()
	if err != nil {
		l.report(at, "%v", err)
		return
	}
	if len(codes) != len(want) {
		l.report(at, "it has %d codes, want %d as in the quantized model", len(codes), len(want))
		return
	}
	wrong, first := 0, 0
	for i, c := range codes {
		if c != int64(want[i]) {
			if wrong == 0 {
				first = i
			}
			wrong++
		}
	}
	if wrong > 0 {
		l.report(at, "%d codes differ from the quantized model's, the first one, number %d, is %d, want %d", wrong, first, codes[first], want[first])
	}
}
