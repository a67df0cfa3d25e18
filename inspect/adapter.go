package inspect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"eisft/internal/relpath"
	"eisft/model"
	"eisft/model/hf"
	"eisft/train/config"
	"eisft/train/runs"
)

// inspectAdapter describes an adapter's folder.
func inspectAdapter(_ context.Context, r *Report, dir string, o Options) error {
	r.Kind = "adapter"
	r.table(r.adapter(dir, o.Model, nil))
	if f, err := hf.OpenFile(filepath.Join(dir, model.AdapterWeights)); err == nil { // else adapter has said so
		defer func() { _ = f.Close() }()
		r.size(filepath.Join(dir, model.AdapterWeights))
		kinds, layers := adapterNorms(f)
		r.table(kinds)
		r.table(layers)
	}
	return nil
}

// adapter describes the adapter in a folder, holds it to its base, which is at a path ("": where
// the adapter says), and to the configuration of its run (nil: there is none, or it cannot be
// read), and returns the table of its tensors.
func (r *Report) adapter(dir, base string, c *config.Config) (table Table) {
	a, err := model.ReadAdapter(dir)
	if err != nil {
		r.problem(err)
		return table
	}
	if base == "" {
		base = relpath.Of(dir, a.Base)
	}
	r.fact("base", base)
	r.fact("base identity", a.BaseID)
	r.fact("base parameters", Count(a.BaseSize))
	r.fact("block", blockText(a.Block))
	f, err := hf.OpenFile(filepath.Join(dir, model.AdapterWeights))
	if err != nil {
		r.problem(err)
		return table
	}
	defer func() { _ = f.Close() }()
	before := len(r.Problems)
	r.values(f)
	table, have := tensorTable(f)
	r.fact("trained parameters", Count(have))
	r.fact("trained share", Share(float64(have)/float64(max(a.BaseSize, 1))))
	switch {
	case have != a.Trained:
		r.problem(fmt.Errorf("%s: parameters is %d, but %s holds %d; the files belong to different adapters", filepath.Join(dir, model.AdapterConfig), a.Trained, model.AdapterWeights, have))
	case a.Block.FeatureDim > have: // would make room for more than the file can hold
		r.problem(fmt.Errorf("%s: block.feature_dim is %d, but the adapter has only %d parameters", filepath.Join(dir, model.AdapterConfig), a.Block.FeatureDim, have))
	case len(r.Problems) == before:
		r.belongs(dir, base, a.Ignore, c)
	}
	return table
}

// belongs reports an adapter that its base does not take, or that is not of its run's
// configuration.
func (r *Report) belongs(dir, base string, ignore []string, c *config.Config) {
	if _, err := os.Stat(base); errors.Is(err, fs.ErrNotExist) {
		r.problem(fmt.Errorf("the base is not at %s; put it there, or say with --model where it is", base))
		return
	}
	if c != nil {
		ignore = c.Model.Ignore
	}
	b, err := model.LoadBase(base, ignore...)
	if err != nil {
		r.problem(err)
		return
	}
	m, err := model.LoadAdapter(b, dir)
	if err != nil {
		r.problem(err)
		return
	}
	if c != nil {
		r.problem(runs.CheckBlock(c, m))
	}
	for _, w := range m.Warnings() {
		r.note("%s", w)
	}
}

// blockText is a block in one line.
func blockText(s model.Spec) string {
	text := fmt.Sprintf("%d sinks, %d slots, window %d, segments of %d, %s positions", s.Sink, s.Slots, s.Window, s.Segment, s.Positions)
	if s.SlotLayers != nil {
		text += ", slots in layers " + indices(s.SlotLayers) + " alone"
	}
	if !s.Retention.IsZero() {
		text += ", retention " + s.Retention.String()
	}
	if !s.HasMemory() {
		return text + ", no memory"
	}
	text += fmt.Sprintf(", %s memory of %s features, %s gate", s.Memory, s.Feature, s.Gate)
	if s.Map {
		text += ", map"
	}
	if s.WriteGate {
		text += ", write gate"
	}
	return text
}
