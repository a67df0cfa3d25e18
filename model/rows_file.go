package model

import (
	"encoding/binary"
	"fmt"

	"eisft/model/hf"
)

// shape is that of n rows in a state's file: [n,K,d], of codes with their scales [n,K] of so many bytes.
func (r *Rows) shape(n int) []int {
	last := r.dim
	if r.cache == CacheInt8 {
		last = r.headBytes()
	}
	return []int{n, r.heads, last}
}

// content is what a state's file holds of them: float32, float16 or bytes.
func (r *Rows) content() any {
	if r.cache == CacheFloat32 {
		return r.Floats()
	}
	data, size := make([]byte, 0, r.Bytes()), r.headBytes()
	for row := range r.n {
		r.parts(row, row+1, func(c rowChunk, _, _ int) {
			for g := range r.heads {
				data = append(data, c.bytes[(g*c.room+row-c.first)*size:][:size]...)
			}
		})
	}
	if r.cache == CacheInt8 {
		return data
	}
	half := make(hf.F16, len(data)/2)
	for i := range half {
		half[i] = binary.LittleEndian.Uint16(data[2*i:])
	}
	return half
}

// fileTypes are the types of tensors in a state's file.
var fileTypes = map[CacheType]hf.DType{CacheFloat32: hf.DTypeF32, CacheFloat16: hf.DTypeF16, CacheInt8: hf.DTypeU8}

// restore reads n rows of a state's file.
func (r *Rows) restore(n int, t hf.Tensor) error {
	if want := fileTypes[r.cache]; t.DType != want {
		return fmt.Errorf("tensor %s: found %s, want %s, as the cache is %s; the file is damaged", t.Name, t.DType, want, r.cache)
	}
	r.resize(n, n)
	if r.cache == CacheFloat32 {
		x, err := t.Float32()
		r.Put(0, x)
		return err
	}
	data, size := t.Data, r.headBytes()
	for row := range n {
		r.parts(row, row+1, func(c rowChunk, _, _ int) {
			for g := range r.heads {
				copy(r.bytesOf(c, g, row, row+1), data)
				data = data[size:]
			}
		})
	}
	return nil
}
