package model

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"eisft/internal/enum"
	"eisft/internal/relpath"
	"eisft/model/hf"
	"eisft/model/kernels"
)

// AdapterType is the type in which an adapter stores its numbers. Computations are in float32
// whatever it is.
type AdapterType string

// The types of an adapter's numbers.
const (
	AdapterF32  AdapterType = "float32"
	AdapterF16  AdapterType = "float16"
	AdapterBF16 AdapterType = "bfloat16"
)

var adapterTypes = enum.NewTable[AdapterType, func(name string, v []float32) (any, error)]("type").
	With(AdapterF32, func(_ string, v []float32) (any, error) { return v, nil }).
	With(AdapterF16, storedAsF16).
	With(AdapterBF16, func(_ string, v []float32) (any, error) { return hf.BF16(v), nil })

// AdapterTypes lists the types that an adapter can be stored in.
func AdapterTypes() []AdapterType { return adapterTypes.Names() }

// storedAsF16 rounds to nearest. What is too large for float16 is an error.
func storedAsF16(name string, v []float32) (any, error) {
	bytes := make([]byte, 2*len(v))
	kernels.F32ToF16(bytes, v)
	back, out := make([]float32, len(v)), make(hf.F16, len(v))
	kernels.F16ToF32(back, bytes)
	for i := range out {
		if math.IsInf(float64(back[i]), 0) && !math.IsInf(float64(v[i]), 0) {
			return nil, fmt.Errorf("tensor %s holds %g, and float16 goes up to 65504; take bfloat16", name, v[i])
		}
		out[i] = uint16(bytes[2*i]) | uint16(bytes[2*i+1])<<8
	}
	return out, nil
}

// ConvertAdapter writes the adapter that lies in the folder from, beside a run's other files or
// alone, into the folder to, in the newest format and with numbers of a type. base, if not
// nil, is the adapter's, and basePath where it was read from: the new description then names
// it there, and by the identity that is computed today. Without it the description keeps what
// it says of the base.
func ConvertAdapter(from, to string, t AdapterType, base *Base, basePath string) error {
	store, err := adapterTypes.Find(t)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(to, AdapterConfig)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s holds an adapter already; name another folder", to)
	}
	a, err := ReadAdapter(from)
	if err != nil {
		return err
	}
	if base == nil {
		basePath = relpath.Of(from, a.Base)
	} else {
		m, err := LoadAdapter(base, from)
		if err != nil {
			return err
		}
		a.BaseID, a.BaseSize, a.Ignore = m.Base.Identity(), m.Base.Parameters(), m.Base.Config.Ignored
	}
	f, err := hf.OpenFile(filepath.Join(from, AdapterWeights))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	var entries []hf.Entry
	for _, name := range f.Names() {
		tensor, err := f.Tensor(name)
		if err != nil {
			return err
		}
		values, err := tensor.Float32()
		if err != nil {
			return err
		}
		data, err := store(name, values)
		if err != nil {
			return err
		}
		entries = append(entries, hf.Entry{Name: name, Shape: tensor.Shape, Data: data})
	}
	if err := os.MkdirAll(to, 0o777); err != nil {
		return err
	}
	if a.Base, err = relpath.From(to, basePath); err != nil {
		return err
	}
	return a.write(to, entries)
}
