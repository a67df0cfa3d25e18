package ort

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/x448/float16"

	"eisft/export/ir"
)

// Tensors returns a tensor for each port: the given one, which must have its type and shape,
// or one of zeros.
func Tensors(ports []ir.Port, given map[string]Tensor) (map[string]Tensor, error) {
	all := map[string]Tensor{}
	for _, p := range ports {
		t, ok := given[p.Name]
		var err error
		if ok {
			err = t.fits(p)
		} else {
			t, err = newTensor(p)
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w", p.Name, err)
		}
		all[p.Name] = t
	}
	return all, nil
}

// newTensor allocates a tensor for a port, filled with zeros.
func newTensor(p ir.Port) (Tensor, error) {
	n, err := elements(p.Shape)
	if err != nil {
		return Tensor{}, err
	}
	t := Tensor{Shape: p.Shape}
	switch p.DType {
	case ir.Float32:
		t.Data = make([]float32, n)
	case ir.Float16:
		t.Data = make([]float16.Float16, n)
	case ir.Int8:
		t.Data = make([]int8, n)
	case ir.UInt8:
		t.Data = make([]uint8, n)
	case ir.Int16:
		t.Data = make([]int16, n)
	case ir.UInt16:
		t.Data = make([]uint16, n)
	case ir.Int32:
		t.Data = make([]int32, n)
	case ir.Int64:
		t.Data = make([]int64, n)
	default:
		return Tensor{}, fmt.Errorf("%s cannot be passed to a graph", p.DType)
	}
	return t, nil
}

// fits checks a caller's tensor against a port.
func (t Tensor) fits(p ir.Port) error {
	dtype, n, err := ir.DataType(t.Data)
	if err != nil || dtype != p.DType {
		return fmt.Errorf("data is %T, want %s", t.Data, p.DType)
	}
	if !slices.Equal(t.Shape, p.Shape) {
		return fmt.Errorf("shape %v, want %v", t.Shape, p.Shape)
	}
	if want, err := elements(p.Shape); err != nil || int64(n) != want {
		return fmt.Errorf("%d elements for shape %v", n, p.Shape)
	}
	return nil
}

// elements refuses shapes that no graph of a phone has before they are allocated.
func elements(shape []int64) (int64, error) {
	n := int64(1)
	for _, size := range shape {
		if size < 1 || n > (1<<34)/size {
			return 0, fmt.Errorf("shape %v cannot be allocated", shape)
		}
		n *= size
	}
	return n, nil
}

// Clone returns a tensor with a copy of the elements.
func (t Tensor) Clone() (Tensor, error) {
	dtype, _, err := ir.DataType(t.Data)
	if err != nil {
		return Tensor{}, err
	}
	c, err := newTensor(ir.Port{DType: dtype, Shape: t.Shape})
	if err != nil {
		return Tensor{}, err
	}
	return c, c.CopyFrom(t)
}

// CopyFrom copies the elements of a tensor of the same type and shape.
func (t Tensor) CopyFrom(o Tensor) error {
	to, n, err := ir.DataType(t.Data)
	if err != nil {
		return err
	}
	from, m, err := ir.DataType(o.Data)
	if err != nil || from != to || m != n {
		return fmt.Errorf("%d elements of %s cannot take %d of %s", n, to, m, from)
	}
	reflect.Copy(reflect.ValueOf(t.Data), reflect.ValueOf(o.Data))
	return nil
}
