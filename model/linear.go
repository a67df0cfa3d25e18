package model

import (
	"fmt"
	"sync"

	"eisft/model/hf"
	"eisft/model/kernels"
	"eisft/model/scratch"
)

// Linear is a frozen affine map y = xWᵀ + b of the base model. W stays in the
// checkpoint, as it is stored there, until it is used. Then a float32 copy is
// kept as far as memory allows; beyond that W is converted block by block each
// time.
type Linear struct {
	Name    string
	In, Out int
	Bias    []float32 // [Out], or nil

	tensor hf.Tensor // W in the checkpoint; nothing if matrix was given
	budget *budget
	once   sync.Once
	matrix []float32 // W in float32, if it is kept
}

// NewLinear returns a map with the given float32 weights [out,in].
func NewLinear(name string, in, out int, weight, bias []float32) *Linear {
	return &Linear{Name: name, In: in, Out: out, Bias: bias, matrix: weight}
}

// Weight returns W [Out,In] in float32; it must not be written to.
func (l *Linear) Weight() []float32 {
	if w := l.kept(); w != nil {
		return w
	}
	w := make([]float32, l.Out*l.In)
	l.convert(w, 0, l.Out)
	return w
}

// Bytes returns the size of W as the checkpoint stores it.
func (l *Linear) Bytes() int {
	if l.tensor.Data == nil {
		return 4 * len(l.matrix)
	}
	return len(l.tensor.Data)
}

// kept returns the float32 copy of W, or nil if there is no room for one.
func (l *Linear) kept() []float32 {
	l.once.Do(func() {
		if l.matrix == nil && l.budget.take(4*int64(l.Out)*int64(l.In)) {
			w := make([]float32, l.Out*l.In)
			l.convert(w, 0, l.Out)
			l.matrix = w
		}
	})
	return l.matrix
}

// convert writes rows [lo,hi) of W, [hi-lo,In].
func (l *Linear) convert(dst []float32, lo, hi int) {
	if l.tensor.Data == nil {
		copy(dst, l.matrix[lo*l.In:hi*l.In])
		return
	}
	kernels.Parallel(hi-lo, max(1, 1<<15/l.In), func(a, b int) {
		if err := l.tensor.Rows(lo+a, lo+b).ReadFloat32(dst[a*l.In : b*l.In]); err != nil {
			panic(fmt.Sprintf("model: %s: %v", l.Name, err)) // dtype and size were checked when the model was opened
		}
	})
}

// blockFloats is how much of W is converted at a time where no copy is kept:
// few enough to stay in the caches, enough for a product to be efficient.
const blockFloats = 1 << 19

// blocks calls f with W in float32, rows [lo,hi) at a time.
func (l *Linear) blocks(f func(lo, hi int, w []float32)) {
	if w := l.kept(); w != nil {
		f(0, l.Out, w)
		return
	}
	rows := min(l.Out, max(1, blockFloats/l.In))
	w := scratch.Borrow(rows * l.In)
	defer scratch.Release(w)
	for lo := 0; lo < l.Out; lo += rows {
		hi := min(lo+rows, l.Out)
		l.convert(w, lo, hi)
		f(lo, hi, w[:(hi-lo)*l.In])
	}
}

// Apply writes xWᵀ + b for the rows of x.
func (l *Linear) Apply(dst, x []float32) {
	rows := len(x) / l.In
	if rows == 1 && l.tensor.DType == hf.DTypeBF16 { // bound by reading W: half the bytes, twice the speed
		kernels.GemvBF16(dst, l.tensor.Data, x, l.Out, l.In)
	} else {
		l.blocks(func(lo, hi int, w []float32) {
			kernels.Gemm(false, true, rows, hi-lo, l.In, 1, x, l.In, w, l.In, 0, dst[lo:], l.Out)
		})
	}
	if l.Bias != nil {
		addToRows(dst, l.Bias)
	}
}

// Backward adds dOut·W, the gradient of the input.
func (l *Linear) Backward(dx, dOut []float32) {
	rows := len(dx) / l.In
	l.blocks(func(lo, hi int, w []float32) {
		kernels.Gemm(false, false, rows, l.In, hi-lo, 1, dOut[lo:], l.Out, w, l.In, 1, dx, l.In)
	})
}

// addToRows adds b to each row of x.
func addToRows(x, b []float32) {
	for t := 0; t < len(x); t += len(b) {
		kernels.Add(x[t:t+len(b)], b)
	}
}
