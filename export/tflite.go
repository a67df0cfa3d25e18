package export

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"eisft/export/check"
	"eisft/export/emit"
	"eisft/export/manifest"
	"eisft/export/ort"
	"eisft/export/tflite/litert"
	"eisft/quant"
)

// tfliteFile begins the names of TFLite files: model.tflite, model-w8a16.tflite. Each has all
// shapes of a precision, so that they share its weights.
const tfliteFile = "model"

// tfliteForm lets a form write its graphs as signatures of one file, or of one for each part.
func (w *writer) tfliteForm(f form, quantized bool) form {
	f.shared, f.emitters = tfliteFile, nil
	for range max(1, w.Parts) {
		f.emitters = append(f.emitters, emit.NewTFLite(quantized, formOf(w.Target).composites))
	}
	return f
}

// signature is the name of a graph in a TFLite file, as LiteRT's own tools call them; where
// there are several shapes, what they do not share is told apart by its sizes.
func (w *writer) signature(size Size, kind string) string {
	several := len(w.Sizes) > 1
	switch {
	case kind == manifest.PromptGraph && several:
		return fmt.Sprintf("prefill_%s", size)
	case kind == manifest.PromptGraph:
		return fmt.Sprintf("prefill_%d", size.Tokens)
	case kind == manifest.GenerationGraph && several:
		return "decode_" + strings.TrimSuffix(w.generation(size), "c")
	case kind == manifest.GenerationGraph:
		return "decode"
	case several:
		return fmt.Sprintf("commit_%d", size.Tokens)
	}
	return "commit"
}

// inTFLite tells why what is asked for cannot be written as TFLite, nil where it can.
func (o Options) inTFLite() error {
	if o.Format != FormatTFLite {
		return nil
	}
	if slices.Contains(o.Precisions, Float16) {
		return errors.New("--format tflite writes float32 and codes; runtimes of TFLite make float16 of float32 themselves: leave --precision float16 out, or take --format onnx-qdq")
	}
	if len(o.Hosts) > 0 {
		return fmt.Errorf("the hosts for %s drive ONNX graphs; leave --host out, or take --format onnx-qdq", strings.Join(o.Hosts, " and "))
	}
	if o.Quantized == nil {
		return nil
	}
	s := o.Quantized.Scheme
	instead := fmt.Sprintf("quantize with %s for --target litert, or export with --format onnx-qdq", strings.Join(quant.SchemesFor(quant.LiteRT), ", "))
	if s.Activation.None() {
		return fmt.Errorf("scheme %s leaves activations in float, but LiteRT's kernels multiply 4-bit weights with codes alone; %s", s.Name, instead)
	}
	for _, w := range o.Quantized.Weights {
		if w.Encoding.Block > 0 {
			return fmt.Errorf("scheme %s has a scale for each block of %d weights of %s, and TFLite's kernels for whole numbers one for each output; %s", s.Name, w.Encoding.Block, w.Name, instead)
		}
	}
	for _, p := range o.Quantized.Points {
		if e := p.Encoding; e.Unsigned || e.Bits == 16 && !e.Symmetric() {
			return fmt.Errorf("scheme %s encodes %s as %s with a zero point, and LiteRT's kernels take signed codes, those of 16 bits without one; %s", s.Name, p.Name, e.Type(), instead)
		}
	}
	return nil
}

// runtimeOf names the runtime that graphs are compared in, with its version. It fails where
// that is not there.
func runtimeOf(lite bool) (string, error) {
	if lite {
		version, err := litert.Version()
		return "LiteRT " + version, err
	}
	version, err := ort.Version()
	return "ONNX Runtime " + version, err
}

// slackIn is the slack of a scheme in a runtime. LiteRT's kernels round otherwise than Q and DQ
// do, and more often: a product of codes is scaled by a multiplier of 16 bits, results of 8 bits
// pass through 16, and the sigmoid's values come from a table.
func slackIn(lite bool, s quant.Scheme) slack {
	allowed := slackOf(s)
	if lite {
		allowed.shares.max, allowed.shares.mean, allowed.codes = liteFactor*allowed.shares.max, liteFactor*allowed.shares.mean, liteFactor*allowed.codes
	}
	return allowed
}

const liteFactor = 2

// liteMemory is what a number of the memory may be off in LiteRT beside that, as a share of the
// largest one: a code that falls to the other side may let a token be evicted for another.
// Measured on random models of two layers: 0.028 in w8a16, 0.18 in w8a8.
func liteMemory(s quant.Scheme) float64 {
	if s.Activation.Bits == 8 {
		return 0.4
	}
	return 0.05
}

// loadsLite reports TFLite files that LiteRT, where it is there, does not load.
func loadsLite(path string) ([]check.Finding, error) {
	files, err := graphFiles(path, emit.TFLiteExtension)
	if err != nil {
		return nil, err
	}
	if _, err := litert.Version(); err != nil {
		return nil, nil
	}
	var findings []check.Finding
	for _, file := range files {
		m, err := litert.Open(file)
		if err == nil {
			err = m.Close()
		}
		if err != nil {
			findings = append(findings, check.Finding{Severity: check.Error, Rule: check.RuleLoads, Graph: filepath.Base(file), Message: fmt.Sprintf("LiteRT does not load it: %v", err)})
		}
	}
	return findings, nil
}
