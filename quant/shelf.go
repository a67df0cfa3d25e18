package quant

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"eisft/internal/mapped"
	"eisft/internal/ranks"
	"eisft/model/hf"
	"eisft/model/kernels"
)

// shelf are files that hold weights while a job is at work. They are mapped: pages come into
// memory when codes are read and can leave it again, so that the weights of a model take no more
// memory for having more layers.
type shelf struct{ files []*hf.File }

// The suffixes of a map's tensors on a shelf, behind the name of the map, where they are not
// those of WeightsFile. Codes are always I8 [Out,In] there, and scales F32 of each row or block,
// so that they can be used where they lie.
const (
	channelsSuffix = ".weight_channel_scale" // F32 [Out], of low-power blockwise encodings
	productSuffix  = ".weight_product"       // U8: see [kernels.StoreCodes]
)

// shelved is a weight that goes on a shelf.
type shelved struct {
	*Weight
	// codes writes the codes, row by row, where they are not in memory; nil where they are.
	codes func(write func([]int8) error) error
}

// remember takes the codes into memory.
func (w shelved) remember() error {
	if w.codes == nil {
		return nil
	}
	w.Codes = make([]int8, 0, w.Out*w.In)
	return w.codes(func(codes []int8) error {
		w.Codes = append(w.Codes, codes...)
		return nil
	})
}

// put writes weights to a file and has them lie there from now on.
func (s *shelf) put(path string, list []shelved) error {
	var tensors []hf.Entry
	var weights []*Weight
	for _, w := range list {
		codes := hf.Entry{Name: w.Name + codesSuffix, Shape: []int{w.Out, w.In}, Data: w.Codes}
		if w.codes != nil {
			codes.Data = hf.Lazy{DType: hf.DTypeI8, Count: w.Out * w.In, Write: func(to io.Writer) error {
				return w.codes(func(codes []int8) error { return binary.Write(to, binary.LittleEndian, codes) })
			}}
		}
		tensors = append(tensors, codes, hf.Entry{Name: w.Name + scalesSuffix, Shape: w.paramShape(), Data: w.Scales})
		if len(w.Zeros) > 0 {
			tensors = append(tensors, hf.Entry{Name: w.Name + zerosSuffix, Shape: w.paramShape(), Data: w.Zeros})
		}
		if w.LowPower() {
			tensors = append(tensors, hf.Entry{Name: w.Name + channelsSuffix, Shape: []int{w.Out}, Data: w.Channels})
		}
		weights = append(weights, w.Weight)
	}
	if err := hf.WriteFile(path, tensors, nil); err != nil {
		return err
	}
	return s.take(path, weights)
}

// take has weights, of which all but codes and scales is known, lie in a file that put has
// written.
func (s *shelf) take(path string, weights []*Weight) error {
	f, err := hf.OpenFile(path)
	if err != nil {
		return err
	}
	s.files = append(s.files, f)
	for _, w := range weights {
		if err := w.lie(f); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// lie has the weight's codes and scales lie in a file.
func (w *Weight) lie(f *hf.File) (err error) {
	if w.Codes, err = tensorOf[int8](f, w.Name+codesSuffix, w.Out, w.In); err != nil {
		return err
	}
	if w.Scales, err = tensorOf[float32](f, w.Name+scalesSuffix, w.paramShape()...); err != nil {
		return err
	}
	if w.Channels != nil {
		if w.Channels, err = tensorOf[float32](f, w.Name+channelsSuffix, w.Out); err != nil {
			return err
		}
	}
	if w.Zeros != nil {
		t, err := f.Tensor(w.Name + zerosSuffix)
		if err != nil {
			return err
		}
		zeros, err := t.Int64()
		if err != nil {
			return err
		}
		w.Zeros = make([]int32, len(zeros))
		for i, z := range zeros {
			w.Zeros[i] = int32(z)
		}
	}
	if _, err := w.ParamShape([]int{w.Out, w.In}); err != nil {
		return fmt.Errorf("%s: %w", w.Name, err)
	}
	return nil
}

// tensorOf returns the numbers of a tensor, which has the given shape.
func tensorOf[T float32 | int8](f *hf.File, name string, shape ...int) ([]T, error) {
	t, err := f.Tensor(name)
	if err == nil && !slices.Equal(t.Shape, shape) {
		err = fmt.Errorf("tensor %s is %v, want %v", name, t.Shape, shape)
	}
	if err != nil {
		return nil, err
	}
	return hf.Numbers[T](t)
}

// products writes the codes of weights to a file as kernels multiply with them, and has the
// weights' maps run from there: a model of them takes no memory either. Maps whose shape is none
// that kernels multiply with are left out. Rank 0 writes the file, and all ranks look at it.
func (s *shelf) products(g ranks.Group, path string, weights []*Weight) error {
	var tensors []hf.Entry
	var of []*Weight
	for _, w := range weights {
		_, bytes, ok := kernels.StoredCodes(w.Bits, w.Out, w.In, w.Block, nil)
		if !ok || !w.multiplied() {
			continue
		}
		of = append(of, w)
		tensors = append(tensors, hf.Entry{Name: w.Name + productSuffix, Shape: []int{bytes}, Data: hf.Lazy{DType: hf.DTypeU8, Count: bytes, Write: func(to io.Writer) error {
			defer mapped.Rest()
			return w.inRows(func(first, last int) error {
				part := w.Part(w.Out, first, last)
				codes, _ := kernels.StoreCodes(w.Bits, w.Codes[first*w.In:last*w.In], part.Scales, last-first, w.In, w.Block)
				_, err := to.Write(codes.Data)
				return err
			})
		}}})
	}
	if len(of) == 0 {
		return nil
	}
	if _, err := ranks.OnFirst(g, func() (bool, error) { return true, hf.WriteFile(path, tensors, nil) }); err != nil {
		return err
	}
	f, err := hf.OpenFile(path)
	if err != nil {
		return err
	}
	s.files = append(s.files, f)
	for _, w := range of {
		t, err := f.Tensor(w.Name + productSuffix)
		if err != nil {
			return err
		}
		w.product, _, _ = kernels.StoredCodes(w.Bits, w.Out, w.In, w.Block, t.Data)
	}
	return nil
}

// close unmaps the files. The weights that lie there must not be used any more.
func (s *shelf) close() error {
	var err error
	for _, f := range s.files {
		err = errors.Join(err, f.Close())
	}
	s.files = nil
	return err
}
