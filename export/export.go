// Package export writes a trained model as ONNX graphs of fixed shape, compares them
// with the Go model in ONNX Runtime, and puts a folder under its name only when all of
// it is there. Its subpackages build graphs (ir), turn the block into them (lower),
// describe a folder (manifest), hold it to the contract (check) and run it (ort, host).
package export

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"eisft/export/check"
	"eisft/export/lower"
	"eisft/export/manifest"
	"eisft/export/ort"
	"eisft/model"
	"eisft/quant"
)

// Options say what is exported.
type Options struct {
	Sizes  []Size
	Inputs lower.Inputs
	Logits lower.Logits
	// Quantized, if not nil, adds quantized graphs to the float ones; QuantizedOnly
	// leaves these out.
	Quantized     *quant.Quantized
	QuantizedOnly bool
	Name          string // of the model, for the manifest
	BaseDir       string // the base's folder, from which tokenizer files are copied
	// Replace lets an export take the place of an earlier one.
	Replace bool
	// NoVerify leaves the comparison in ONNX Runtime out.
	NoVerify bool
}

// Result is a finished export.
type Result struct {
	Manifest *manifest.Manifest
	Findings []check.Finding // warnings of the structural check
	// Unverified says why the graphs were not compared in ONNX Runtime; nil if they were.
	Unverified error
}

// ErrExists is wrapped by Export's error where the folder exists and may not be replaced.
var ErrExists = errors.New("the folder exists")

// Export writes the model into the folder out. Nothing is left behind when it fails or
// ctx is cancelled.
func Export(ctx context.Context, m *model.Model, out string, o Options) (*Result, error) {
	if err := o.check(m, out); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return nil, err
	}
	temp, err := os.MkdirTemp(filepath.Dir(out), "."+filepath.Base(out)+".*")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(temp) }() // after the rename there is nothing to remove
	r := &Result{}
	if r.Manifest, err = write(temp, m, o); err != nil {
		return nil, err
	}
	if r.Findings, err = check.Path(temp, check.NoTarget); err != nil {
		return nil, err
	}
	for _, f := range r.Findings {
		if f.Severity == check.Error {
			return nil, fmt.Errorf("the graphs break the fixed-shape contract: %s", f)
		}
	}
	if err := r.verify(ctx, temp, m, o); err != nil {
		return nil, err
	}
	return r, place(temp, out)
}

// check finds everything that can be wrong with the options before a file is written.
func (o Options) check(m *model.Model, out string) error {
	if _, err := os.Lstat(out); err == nil && !o.Replace {
		return fmt.Errorf("%w: %s; name another one, or let it be replaced", ErrExists, out)
	}
	if len(o.Sizes) == 0 {
		return errors.New("there is no shape to export")
	}
	if o.QuantizedOnly && o.Quantized == nil {
		return errors.New("there is no quantized model to export alone; make one with eisft quantize")
	}
	for i, size := range o.Sizes {
		if _, err := size.Fit(m.Spec); err != nil {
			return err
		}
		if limit := m.Base.Layers[0].Rotary.Limit; limit > 0 && size.Cache > limit {
			return fmt.Errorf("shape %s has positions beyond %d, where the base's rotary embedding has other frequencies; want a cache of at most %d", size, limit, limit)
		}
		for _, earlier := range o.Sizes[:i] {
			if earlier == size {
				return fmt.Errorf("shape %s is given twice", size)
			}
		}
	}
	if err := lower.Supports(m.Base); err != nil {
		return err
	}
	return quantizable(m, o.Quantized)
}

// verify compares the graphs with the model where ONNX Runtime is there, and adds the
// figures to the manifest.
func (r *Result) verify(ctx context.Context, dir string, m *model.Model, o Options) error {
	if o.NoVerify {
		r.Unverified = errors.New("the comparison was switched off")
		return nil
	}
	if _, err := ort.Version(); err != nil {
		r.Unverified = err
		return nil
	}
	figures, err := Verify(ctx, dir, m, o.Quantized)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	for _, v := range figures {
		if !v.Passed() {
			return fmt.Errorf("the %s graphs of %s differ from the Go model: largest difference of a logit %.2g, mean %.2g, tolerance %.2g", v.Precision, v.Shape, v.MaxLogitError, v.MeanLogitError, v.Tolerance)
		}
	}
	r.Manifest.Verification = figures
	return r.Manifest.Write(dir)
}

// place moves the finished folder to its name; what was there goes only when the new
// one is in its place.
func place(temp, out string) error {
	if err := os.Chmod(temp, 0o755); err != nil { // MkdirTemp's are private
		return err
	}
	old := temp + ".old"
	err := os.Rename(out, old)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(temp, out); err != nil {
		return errors.Join(err, os.Rename(old, out))
	}
	return os.RemoveAll(old)
}
