package model

import (
	"sync"

	"eisft/internal/scratch"
	"eisft/model/hf"
	"eisft/model/kernels"
)

// Linear is a frozen affine map y = xWᵀ + b of the base model. W stays in the
// checkpoint, as it is stored there, until it is used. Then a float32 copy is
// kept in the order that products read it in, if the base keeps copies; if not, W
// is converted block by block each time.
type Linear struct {
	Name    string
	In, Out int
	Bias    []float32 // [Out], or nil

	file              string         // the checkpoint's, "" if it is not known
	tensor            hf.Tensor      // W in the checkpoint; nothing if matrix or codes were given
	codes             kernels.Stored // W, if they were given
	copies            *weightCopies  // nil if matrix was given
	derived           *derivation    // where W follows from other maps, see [Base.Derive]; else nil
	forward, backward factor
	once              sync.Once
	matrix            []float32 // W in float32, row by row: if it was given or a library takes it so
}

// factor is W or its transpose, packed when it is first used.
type factor struct {
	once   sync.Once
	packed kernels.Packed
}

// NewLinear returns a map with the given float32 weights [out,in].
func NewLinear(name string, in, out int, weight, bias []float32) *Linear {
	return &Linear{Name: name, In: in, Out: out, Bias: bias, matrix: weight}
}

// Weight returns W [Out,In] in float32; it must not be written to.
func (l *Linear) Weight() []float32 {
	if l.copies == nil {
		return l.matrix
	}
	w := make([]float32, l.Out*l.In)
	l.Rows(w, 0, l.Out)
	return w
}

// Coded returns a map of the base whose weights [out,in] are codes, see
// [kernels.StoreCodes]. They are multiplied as they are; float32 copies are kept as the base
// keeps them of its own.
func (b *Base) Coded(name string, in, out int, weight kernels.Stored, bias []float32) *Linear {
	return &Linear{Name: name, In: in, Out: out, Bias: bias, codes: weight, copies: b.copies}
}

// stored is W as it is stored, without data if it was given in float32 or is derived.
func (l *Linear) stored() kernels.Stored {
	if l.codes.Data != nil {
		return l.codes
	}
	return l.tensor.Stored()
}

// Stored returns W as the checkpoint stores it, or the codes that were given; nil if
// neither is there.
func (l *Linear) Stored() []byte { return l.stored().Data }

// Bytes returns the size of W as the checkpoint stores it, or would store it if it is
// not there.
func (l *Linear) Bytes() int {
	if w := l.stored(); w.Data != nil {
		return len(w.Data)
	}
	if l.copies == nil || l.derived != nil {
		return 4 * l.In * l.Out
	}
	return l.tensor.DType.Bytes(l.In * l.Out)
}

// copiesForward and copiesBackward say whether a float32 copy of W is kept for Apply
// and for Backward.
func (l *Linear) copiesForward() bool  { return l.copies == nil || l.copies.forward }
func (l *Linear) copiesBackward() bool { return l.copies == nil || l.copies.backward }

// pack returns the right factor of xWᵀ, or that of xW.
func (l *Linear) pack(f *factor, transposed bool) kernels.Packed {
	f.once.Do(func() {
		n, k := l.In, l.Out
		if transposed {
			n, k = k, n
		}
		if kernels.Packs() {
			f.packed = kernels.Pack(make([]float32, kernels.PackedSize(n, k)), transposed, n, k, l.Weight(), l.In)
		} else {
			l.once.Do(func() { l.matrix = l.Weight() }) // one copy serves both
			f.packed = kernels.InPlace(transposed, n, k, l.matrix, l.In)
		}
	})
	return f.packed
}

// Rows writes rows [lo,hi) of W in float32, [hi-lo,In].
func (l *Linear) Rows(dst []float32, lo, hi int) {
	if l.derived != nil {
		l.derived.read(dst, lo, hi)
		return
	}
	w := l.stored()
	if w.Data == nil {
		copy(dst, l.matrix[lo*l.In:hi*l.In])
		return
	}
	kernels.Parallel(hi-lo, max(1, 1<<15/l.In), func(a, b int) {
		w.Floats(dst[a*l.In:b*l.In], (lo+a)*l.In)
	})
}

// Where no copy is kept, this much of W is converted at a time: few enough floats
// to stay in a core's caches, and enough rows for a product to be efficient, whose
// columns come in groups that would not be full otherwise.
const blockFloats, blockRows = 1 << 16, 4 * kernels.PackedColumns

// Blocks calls f with W in float32, rows [lo,hi) at a time, side by side on all cores; w is
// valid during the call only.
func (l *Linear) Blocks(f func(lo, hi int, w []float32)) {
	rows := max(blockRows, blockFloats/l.In/kernels.PackedColumns*kernels.PackedColumns)
	kernels.Each((l.Out+rows-1)/rows, func(i int) {
		lo := i * rows
		hi := min(lo+rows, l.Out)
		w := scratch.Borrow((hi - lo) * l.In)
		defer scratch.Release(w)
		l.Rows(w, lo, hi)
		f(lo, hi, w)
	})
}

// Apply writes xWᵀ + b for the rows of x. A row has the same bits whatever rows stand
// beside it; but where a library computes products, a single row's with weights as they
// are stored are the built-in kernels'.
func (l *Linear) Apply(dst, x []float32) {
	rows := len(x) / l.In
	switch {
	case l.asStored(rows):
		kernels.GemmStored(rows, l.Out, l.In, x, l.stored(), dst)
	case l.copiesForward():
		kernels.GemmPacked(false, rows, l.Out, l.In, 1, x, l.In, l.pack(&l.forward, true), 0, dst, l.Out)
	default:
		l.derived.keep(l)
		l.Blocks(func(lo, hi int, w []float32) {
			kernels.Gemm(false, true, rows, hi-lo, l.In, 1, x, l.In, w, l.In, 0, dst[lo:], l.Out)
		})
	}
	l.AddBias(dst)
}

// asStored says whether rows are multiplied with W as it is stored: one row,
// which is bound by reading W, where there are kernels for it, and any where no float32 copy
// is kept.
func (l *Linear) asStored(rows int) bool {
	w := l.stored()
	if w.Data == nil {
		return false
	}
	one := rows == 1 && w.Code != kernels.AnyCode
	return one || !l.copiesForward() && kernels.Packs()
}

// AddBias adds b, if the map has one, to each row of y.
func (l *Linear) AddBias(y []float32) {
	for t := 0; l.Bias != nil && t < len(y); t += l.Out {
		kernels.Add(y[t:t+l.Out], l.Bias)
	}
}

// Backward adds dOut·W, the gradient of the input.
func (l *Linear) Backward(dx, dOut []float32) {
	rows := len(dx) / l.In
	if l.copiesBackward() {
		kernels.GemmPacked(false, rows, l.In, l.Out, 1, dOut, l.Out, l.pack(&l.backward, false), 1, dx, l.In)
		return
	}
	l.derived.keep(l)
	height := min(l.Out, max(1, backwardFloats/l.In/chunkRows)*chunkRows)
	w := scratch.Borrow(height * l.In)
	defer scratch.Release(w)
	for lo := 0; lo < l.Out; lo += height {
		hi := min(lo+height, l.Out)
		l.Rows(w, lo, hi)
		kernels.Gemm(false, false, rows, l.In, hi-lo, 1, dOut[lo:], l.Out, w, l.In, 1, dx, l.In)
	}
}

// backwardFloats is how much of W Backward converts at a time: of a head, all of it would take
// more memory than all else. Rows of W are cut where sums begin anew.
const backwardFloats = 1 << 20
