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
	"runtime/debug"
	"slices"

	"eisft/export/check"
	"eisft/export/lower"
	"eisft/export/manifest"
	"eisft/internal/atomicfile"
	"eisft/model"
	"eisft/model/tokenizer"
	"eisft/quant"
)

// Options say what is exported.
type Options struct {
	Sizes  []Size
	Inputs lower.Inputs
	Logits lower.Logits
	// Parts is how many parts the prompt and generation graphs come in, one after another; 0 is 1.
	Parts int
	// Format is how quantized graphs are written, and float ones as FormatTFLite; "" is FormatQDQ.
	Format Format
	// Embeddings is the type of the rows in the file of embeddings; "" is float16.
	Embeddings Embeddings
	// Target is what the graphs are made for: it chooses what is left open here and how masks
	// are added, and its rules are checked beside the contract's. Codes must be for it.
	Target check.Target
	// Quantized, if not nil, adds quantized graphs to the float ones; QuantizedOnly
	// leaves these out.
	Quantized     *quant.Quantized
	QuantizedOnly bool
	// Precisions are those of the float graphs; none is the target's.
	Precisions []Precision
	Name       string // of the model, for the manifest
	BaseDir    string // the base's folder or GGUF file, from which configuration and tokenizer are copied
	// Replace lets an export take the place of an earlier one: of a folder that holds
	// nothing but what its manifest lists, and in which neither RunDir (if any) nor BaseDir
	// nor the working directory lie.
	Replace bool
	RunDir  string
	// TemplateOptions are what the run's chat template knows beside the messages.
	TemplateOptions []tokenizer.Field
	// Evaluated is what the model recalls in the sizes, for the manifest.
	Evaluated []manifest.Evaluated
	// NoVerify leaves the comparison in ONNX Runtime out.
	NoVerify bool
	// NoGolden leaves the golden vectors out.
	NoGolden bool
	// Hosts are names of hosts that are put beside the graphs ([HostNames]), each in a
	// folder of its name.
	Hosts []string
}

// garbagePercent is how much garbage may lie beside what is in use: a large tensor is dropped as
// soon as it is written.
const garbagePercent = 10

// ErrExists is wrapped by Export's error where the folder exists and may not be replaced.
var ErrExists = errors.New("the folder exists")

// Export writes the model into the folder out, checks it as Check does, and adds the
// figures of the comparison to the manifest. Nothing is left behind when it fails or
// ctx is cancelled. What appears at out while it works stays, and the export fails.
func Export(ctx context.Context, m *model.Model, out string, o Options) (*manifest.Manifest, *Report, error) {
	if err := o.check(m, out); err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o777); err != nil {
		return nil, nil, err
	}
	dir, err := atomicfile.CreateDir(out)
	if err != nil {
		return nil, nil, err
	}
	defer dir.Abort()
	defer debug.SetGCPercent(debug.SetGCPercent(garbagePercent))
	info, read, err := write(ctx, dir.Path(), m, o)
	if err != nil {
		return nil, nil, err
	}
	against := Against{Model: m, Quantized: o.Quantized, sources: read}
	if o.NoVerify {
		against.Model = nil
	}
	report, err := Check(ctx, dir.Path(), o.Target, against)
	if err == nil {
		err = report.Err()
	}
	if err != nil {
		return nil, nil, err
	}
	if o.NoVerify {
		report.Unverified = errors.New("the comparison was switched off")
	}
	info.Verification, info.Evaluated = report.Verification, o.Evaluated
	if err := errors.Join(writePage(dir.Path(), info, o.Quantized, report.Findings), info.Write(dir.Path())); err != nil {
		return nil, nil, err
	}
	if err := o.publish(dir, out); err != nil {
		return nil, nil, err
	}
	return info, report, nil
}

// publish gives the complete folder its name.
func (o Options) publish(dir *atomicfile.Dir, out string) error {
	if o.Replace {
		return dir.Replace(func(string) error { return o.replaceable(out) })
	}
	err := dir.Commit()
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s appeared while the export was at work: it stays, and the export is not kept; export again with another name, or let %s be replaced", out, out)
	}
	return err
}

// check finds everything that can be wrong with the options before a file is written.
func (o Options) check(m *model.Model, out string) error {
	if _, err := os.Lstat(out); err == nil && !o.Replace {
		return fmt.Errorf("%w: %s; name another one, or let it be replaced", ErrExists, out)
	}
	if err := atomicfile.CheckDir(out); err != nil {
		return err
	}
	if err := o.replaceable(out); err != nil {
		return err
	}
	if len(o.Sizes) == 0 {
		return errors.New("there is no shape to export")
	}
	if o.QuantizedOnly && o.Quantized == nil {
		return errors.New("there is no quantized model to export alone; make one with eisft quantize")
	}
	if err := o.inTFLite(); err != nil {
		return err
	}
	if _, err := o.cuts(m.Base); err != nil {
		return err
	}
	for i, p := range o.Precisions {
		if slices.Contains(o.Precisions[:i], p) {
			return fmt.Errorf("precision %s is given twice", p)
		}
	}
	for i, size := range o.Sizes {
		if _, err := size.Fit(m.Spec); err != nil {
			return err
		}
		if !o.NoVerify {
			if err := size.fits(m.Base, model.AvailableMemory()); err != nil {
				return err
			}
		}
		for _, l := range m.Base.Layers {
			if limit := l.Rotary.Limit; limit > 0 && size.Cache > limit {
				return fmt.Errorf("shape %s has positions beyond %d, where the base's rotary embedding has other frequencies, or its queries another scale; want a cache of at most %d", size, limit, limit)
			}
		}
		for _, earlier := range o.Sizes[:i] {
			if earlier == size {
				return fmt.Errorf("shape %s is given twice", size)
			}
		}
	}
	if err := o.forTarget(); err != nil {
		return err
	}
	return quantizable(m, o.Quantized)
}
