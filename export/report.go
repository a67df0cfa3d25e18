package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"eisft/export/check"
	"eisft/export/emit"
	"eisft/export/manifest"
	"eisft/export/ort"
	"eisft/model"
	"eisft/quant"
)

// Against is what exported graphs are compared with.
type Against struct {
	Model     *model.Model     // whose logits they should give; nil: they are not run
	Quantized *quant.Quantized // whose codes, scales and zero points quantized ones should have; nil: they are not compared
	// Load loads every graph at each level of ONNX Runtime, or in LiteRT. The comparison with a model
	// does so in any case.
	Load bool

	sources *sources // the Go models, where they have read golden vectors
}

// Report is what Check found.
type Report struct {
	Findings     []check.Finding
	Verification []manifest.Verification
	// Unverified says why the graphs were not compared with a model, nil if they were.
	Unverified error
}

// Check holds an exported folder, or a single .onnx file, to the contract and to the rules
// of a target, by default of that which the folder was made for, and, where there is a quantized model, compares its encodings and codes bit by
// bit. Where there is a model and ONNX Runtime, it runs a folder's graphs and compares
// their logits.
func Check(ctx context.Context, path string, target check.Target, a Against) (*Report, error) {
	r := &Report{}
	var err error
	if target == check.NoTarget {
		if target, err = check.TargetOf(path); err != nil {
			return nil, err
		}
	}
	if r.Findings, err = check.Path(path, target); err != nil {
		return nil, err
	}
	if a.Quantized != nil {
		codes, err := check.Quantized(path, a.Quantized)
		if err != nil {
			return nil, err
		}
		r.Findings = append(r.Findings, codes...)
	}
	if a.Load {
		if _, err := ort.Version(); err == nil {
			found, err := loads(path)
			if err != nil {
				return nil, err
			}
			r.Findings = append(r.Findings, found...)
		}
		found, err := loadsLite(path)
		if err != nil {
			return nil, err
		}
		r.Findings = append(r.Findings, found...)
	}
	if a.Model == nil {
		r.Unverified = errors.New("there is no model to compare with; name the run that they were made from")
		return r, nil
	}
	info, err := manifest.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		r.Unverified = fmt.Errorf("%s has no %s, which says how to run the graphs", path, manifest.Name)
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	for _, precision := range info.Precisions() {
		if _, err := runtimeOf(info.InTFLite(precision)); err != nil {
			r.Unverified = err
			return r, nil
		}
	}
	if r.broken() == nil { // graphs that break the contract may not run at all
		if a.sources == nil {
			a.sources, err = newSources(path, info, a.Model, a.Quantized)
		}
		if err == nil {
			r.Verification, err = verify(ctx, path, info, a.sources)
		}
		r.Findings = append(r.Findings, lostTokens(r.Verification, target)...)
	}
	return r, err
}

// lostTokens reports graphs whose tokens float16 does not keep.
func lostTokens(list []manifest.Verification, target check.Target) []check.Finding {
	severity := check.Warning
	if halves(list, target) {
		severity = check.Error
	}
	var findings []check.Finding
	for _, v := range list {
		if v.KeepsTokens() {
			continue
		}
		findings = append(findings, check.Finding{Severity: severity, Rule: check.RuleTokens, Graph: v.Shape + ", " + v.Precision, Message: roundTrip(v)})
	}
	return findings
}

// graphFiles lists the files with an extension: a path itself, or those in a folder.
func graphFiles(path, extension string) ([]string, error) {
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		return filepath.Glob(filepath.Join(path, "*"+extension))
	}
	if isLite := filepath.Ext(path) == emit.TFLiteExtension; isLite != (extension == emit.TFLiteExtension) {
		return nil, nil
	}
	return []string{path}, nil
}

// loads reports graphs that ONNX Runtime does not load at each of its levels.
func loads(path string) ([]check.Finding, error) {
	files, err := graphFiles(path, ".onnx")
	if err != nil {
		return nil, err
	}
	var findings []check.Finding
	for _, file := range files {
		for _, level := range ort.Levels() {
			s, err := ort.Open(file, ort.Options{Level: level})
			if err == nil {
				err = s.Close()
			}
			if err != nil {
				findings = append(findings, check.Finding{
					Severity: check.Error, Rule: check.RuleLoads, Graph: filepath.Base(file),
					Message: fmt.Sprintf("ONNX Runtime does not load it at the level %s: %v", level, err),
				})
			}
		}
	}
	return findings, nil
}

// Err says why the graphs cannot be relied on, nil if they can.
func (r *Report) Err() error {
	if err := r.broken(); err != nil {
		return err
	}
	var errs []error
	for _, v := range r.Verification {
		if !v.Passed() {
			more := ""
			if v.Codes > 0 {
				more = fmt.Sprintf(", other codes in the first segment's cache %.2g %% (tolerance %.2g %%)", 100*v.OtherCodes, 100*v.Tolerance.Codes)
			}
			for _, l := range v.Levels {
				if l.Name != ort.Basic.String() && !(l.MaxLogitError <= v.Tolerance.Max) {
					more += fmt.Sprintf(", largest at ONNX Runtime's level %s %.2g", l.Name, l.MaxLogitError)
				}
			}
			errs = append(errs, fmt.Errorf("the %s graphs of %s differ from the Go model: largest difference of a logit %.2g (tolerance %.2g), mean %.2g (tolerance %.2g)%s", v.Precision, v.Shape, v.MaxLogitError, v.Tolerance.Max, v.MeanLogitError, v.Tolerance.Mean, more))
		}
	}
	return errors.Join(errs...)
}

// foundAtOnce bounds the findings that an error names.
const foundAtOnce = 20

// broken returns the errors among the findings.
func (r *Report) broken() error {
	var text []string
	count := 0
	for _, f := range r.Findings {
		if f.Severity != check.Error {
			continue
		}
		if count++; count <= foundAtOnce {
			text = append(text, f.String())
		}
	}
	switch {
	case count == 0:
		return nil
	case count == 1:
		return errors.New(text[0])
	case count > foundAtOnce:
		text = append(text, fmt.Sprintf("and %d more", count-foundAtOnce))
	}
	return fmt.Errorf("%d errors:\n  %s", count, strings.Join(text, "\n  "))
}

// WriteTable prints the findings and the figures of the comparison.
func (r *Report) WriteTable(w io.Writer) error {
	for _, f := range r.Findings {
		fmt.Fprintln(w, f)
	}
	if r.Unverified != nil {
		_, err := fmt.Fprintf(w, "Not compared with the Go model: %v\n", r.Unverified)
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "shape\tgraphs\ttokens\tin memory\tin slots\tsame choice\tmax difference\tallowed\tmean\tallowed")
	for _, v := range r.Verification {
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%d of %d\t%.2g\t%.2g\t%.2g\t%.2g\n",
			v.Shape, v.Precision, v.Read, v.Written, v.Slots, v.EqualTokens, v.Compared, v.MaxLogitError, v.Tolerance.Max, v.MeanLogitError, v.Tolerance.Mean)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, v := range r.Verification {
		if len(v.Levels) > 0 {
			fmt.Fprintln(w, loaded(v))
		} else {
			fmt.Fprintf(w, "%s, %s: compared in %s\n", v.Shape, v.Precision, v.Runtime)
		}
	}
	for _, v := range r.Verification {
		if v.RoundTrip != nil {
			fmt.Fprintln(w, roundTrip(v))
		}
	}
	return nil
}

// loaded says at which levels graphs were loaded.
func loaded(v manifest.Verification) string {
	var levels []string
	for _, l := range v.Levels {
		levels = append(levels, fmt.Sprintf("%s (%.2g)", l.Name, l.MaxLogitError))
	}
	return fmt.Sprintf("%s, %s: loaded and compared at ONNX Runtime's levels %s", v.Shape, v.Precision, strings.Join(levels, ", "))
}

// roundTrip says what rounding all floats to float16 changes.
func roundTrip(v manifest.Verification) string {
	r := v.RoundTrip
	s := fmt.Sprintf("%s, %s: with every float rounded to float16, as an NPU stores it, %d of %d best tokens stay equal (%.1f %%)",
		v.Shape, v.Precision, r.EqualTokens, r.Compared, 100*float64(r.EqualTokens)/float64(r.Compared))
	if !v.KeepsTokens() && r.Lost != "" {
		s += "; lost first: " + r.Lost
	}
	return s
}

// WriteFiles prints what an export consists of.
func WriteFiles(w io.Writer, m *manifest.Manifest) error {
	for _, s := range m.Shapes {
		fmt.Fprintf(w, "%s: %d new tokens beside a cache of %d: %d sinks, %d slots, a window of %d, a segment of %d\n", s.Name, s.Tokens, s.Cache, s.Sinks, s.Slots, s.Window, s.Segment)
	}
	ops, float, seen := map[string]int{}, map[string]float64{}, map[string]bool{}
	for _, g := range m.Graphs {
		for _, p := range g.Parts {
			if _, listed := float[p.File]; !listed && g.Precision != manifest.Float {
				float[p.File] = g.FloatMACs // of several signatures, that of the prompt's
			}
			part, counted := p.File+"\n"+p.Signature, 0
			for _, n := range p.Ops {
				counted += n
			}
			if !seen[part] { // sizes may share a graph
				ops[p.File] += counted
			}
			seen[part] = true
		}
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "file\tMB\tops\tMACs in float")
	for _, f := range m.Files {
		count := ""
		if n, ok := ops[f.Name]; ok {
			count = fmt.Sprint(n)
		}
		share := ""
		if s, ok := float[f.Name]; ok {
			share = fmt.Sprintf("%.1f %%", 100*s)
		}
		fmt.Fprintf(table, "%s\t%.1f\t%s\t%s\n", f.Name, float64(f.Bytes)/1e6, count, share)
	}
	return table.Flush()
}

// FindQuantized returns the folder of a run's quantized model, "" if it has none. The
// error of a run with several says how one of them is named. Hidden folders are what a
// quantization that was killed left behind.
func FindQuantized(run string) (string, error) {
	found, err := QuantizedNames(run)
	switch {
	case err != nil || len(found) == 0:
		return "", err
	case len(found) == 1:
		return filepath.Join(run, "quant", found[0]), nil
	}
	return "", fmt.Errorf("the run has several quantized models; name one of them with --quant: %s", strings.Join(found, ", "))
}

// QuantizedNames lists the names of a run's quantized models.
func QuantizedNames(run string) ([]string, error) {
	all, err := filepath.Glob(filepath.Join(run, "quant", "*", quant.EncodingsFile))
	var found []string
	for _, f := range all {
		if name := filepath.Base(filepath.Dir(f)); !strings.HasPrefix(name, ".") {
			found = append(found, name)
		}
	}
	return found, err
}
