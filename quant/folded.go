package quant

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"eisft/internal/filehash"
	"eisft/model/hf"
)

// foldedInfo is what EncodingsFile says of FoldedFile.
type foldedInfo struct {
	Sum   string     `json:"sha256"`
	Steps []stepInfo `json:"steps"`
	Notes []string   `json:"notes,omitempty"`
}

// stepInfo says what step N has in FoldedFile, each tensor as one row of numbers: N.residual
// [D·D], N.values.L of each layer L [K·d·d], N.scale.POINT of points [channels].
type stepInfo struct {
	Method   string `json:"method"`
	Scales   int    `json:"scales,omitempty"` // points
	Residual bool   `json:"residual,omitempty"`
	Values   int    `json:"values,omitempty"` // layers
}

// write writes FoldedFile; nothing of nil.
func (f *Folded) write(dir string) (*foldedInfo, error) {
	if f == nil {
		return nil, nil
	}
	info := &foldedInfo{Notes: f.Notes}
	var tensors []hf.Entry
	for i, s := range f.Steps {
		info.Steps = append(info.Steps, stepInfo{s.Method, len(s.Scales), s.Residual != nil, len(s.Values)})
		for _, point := range slices.Sorted(maps.Keys(s.Scales)) {
			tensors = append(tensors, hf.Entry{Name: fmt.Sprintf("%d.scale.%s", i, point), Shape: []int{len(s.Scales[point])}, Data: s.Scales[point]})
		}
		if s.Residual != nil {
			tensors = append(tensors, hf.Entry{Name: fmt.Sprintf("%d.residual", i), Shape: []int{len(s.Residual)}, Data: s.Residual})
		}
		for l, r := range s.Values {
			tensors = append(tensors, hf.Entry{Name: fmt.Sprintf("%d.values.%d", i, l), Shape: []int{len(r)}, Data: r})
		}
	}
	path := filepath.Join(dir, FoldedFile)
	err := hf.WriteFile(path, tensors, nil)
	if err == nil {
		info.Sum, err = filehash.Compute(path)
	}
	return info, err
}

// read reads FoldedFile as info describes it; nil of nil, and then there must be no file.
// Shapes are for Float to check, which knows the model.
func (info *foldedInfo) read(dir string) (*Folded, error) {
	path := filepath.Join(dir, FoldedFile)
	f, err := hf.OpenFile(path)
	switch {
	case info == nil && errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if info == nil {
		return nil, fmt.Errorf("%s: the file is there, but %s knows of no transforms; run eisft quantize again", path, EncodingsFile)
	}
	if err := intact(path, info.Sum); err != nil {
		return nil, err
	}
	folded, err := info.tensors(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return folded, nil
}

// tensors reads all tensors of a file.
func (info *foldedInfo) tensors(f *hf.File) (*Folded, error) {
	out := &Folded{Notes: info.Notes}
	left := map[string]bool{}
	for _, name := range f.Names() {
		left[name] = true
	}
	take := func(name string) ([]float32, error) {
		delete(left, name)
		t, err := f.Tensor(name)
		if err == nil && t.DType != hf.DTypeF32 {
			err = fmt.Errorf("tensor %s is %s; want F32", name, t.DType)
		}
		if err != nil {
			return nil, err
		}
		return t.Float32()
	}
	for i, s := range info.Steps {
		if _, err := transforms.Find(s.Method); err != nil {
			return nil, err
		}
		step, err := s.step(strconv.Itoa(i)+".", f.Names(), take)
		if err != nil {
			return nil, err
		}
		out.Steps = append(out.Steps, *step)
	}
	if names := slices.Sorted(maps.Keys(left)); len(names) > 0 {
		return nil, fmt.Errorf("tensor %s belongs to none of the %d transforms that %s lists", names[0], len(info.Steps), EncodingsFile)
	}
	return out, nil
}

// step reads the tensors of a step, whose names begin with prefix.
func (s stepInfo) step(prefix string, names []string, take func(name string) ([]float32, error)) (_ *Step, err error) {
	out := &Step{Method: s.Method}
	if s.Residual {
		if out.Residual, err = take(prefix + "residual"); err != nil {
			return nil, err
		}
	}
	for l := range s.Values {
		r, err := take(fmt.Sprintf("%svalues.%d", prefix, l))
		if err != nil {
			return nil, err
		}
		out.Values = append(out.Values, r)
	}
	for _, name := range names {
		point, ok := strings.CutPrefix(name, prefix+"scale.")
		if !ok || s.Scales == 0 {
			continue
		}
		if out.Scales == nil {
			out.Scales = map[string][]float32{}
		}
		if out.Scales[point], err = take(name); err != nil {
			return nil, err
		}
	}
	if len(out.Scales) != s.Scales {
		return nil, fmt.Errorf("there are scales of %d points for %s, but %s lists %d", len(out.Scales), s.Method, EncodingsFile, s.Scales)
	}
	return out, nil
}
