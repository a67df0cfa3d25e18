package kernels

import "fmt"

// Stored is a weight [n, k] as a file holds it, row by row: numbers in blocks of Count, of which each takes Size bytes.
type Stored struct {
	Data        []byte
	Size, Count int
	Widen       func(dst []float32, src []byte) // turns the blocks of src into float32: what the numbers are
	Code        Code                            // has kernels of its own that do the same
}

// Code is a way to store numbers that this package has kernels for. The block formats are ggml's (ggml-common.h).
type Code int

// The ways to store numbers. All others are widened by [Stored].Widen.
const (
	AnyCode Code = iota
	BF16
	F16
	Q80
	Q40
	Q41
	Q50
	Q51
	Q4K
	Q5K
	Q6K
	I8 // see StoreCodes
	I4
	I4Two
	codes
)

// StoredBF16 is a weight of little-endian bfloat16 numbers.
func StoredBF16(data []byte) Stored { return Stored{data, 2, 1, BF16ToF32, BF16} }

// StoredF16 is a weight of little-endian IEEE 754 half-precision numbers.
func StoredF16(data []byte) Stored { return Stored{data, 2, 1, F16ToF32, F16} }

// GemmStored computes C = A*Wᵀ on all cores for a weight w [n, k] as it is stored, where A is [m, k] and C [m, n]. k is
// a multiple of w.Count. Decoding one token at a time is bound by reading the weights, which this reads as they are; many
// rows of A share what is widened of W. The built-in kernels compute it; their Gemm gives the same bits for the same
// numbers in float32.
func GemmStored(m, n, k int, a []float32, w Stored, c []float32) {
	if w.Count <= 0 || k%w.Count != 0 || blockK%w.Count != 0 {
		panic(fmt.Sprintf("kernels: GemmStored: rows of %d numbers in blocks of %d", k, w.Count))
	}
	need("GemmStored: C", len(c), m*n)
	need("GemmStored: W, in bytes,", len(w.Data), n*k/w.Count*w.Size)
	need("GemmStored: A", len(a), m*k)
	p := product{tb: true, m: m, n: n, k: k, alpha: 1, a: a, lda: k, stored: w, ldb: k, c: c, ldc: n}
	p.runParallel()
}

// Floats widens numbers from the at-th on, whole blocks of them, to dst.
func (w *Stored) Floats(dst []float32, at int) {
	w.Widen(dst, w.Data[w.bytes(at):w.bytes(at+len(dst))])
}

// bytes returns how many bytes n numbers take.
func (w *Stored) bytes(n int) int { return n / w.Count * w.Size }

// unpackedRows is how many rows of a weight are unpacked side by side at most.
const unpackedRows = 64

// unpacked are codes of up to unpackedRows rows of a weight that were turned into bytes, four numbers of a row in each, and
// what they are multiplied by, a group of numbers in a line.
type unpacked struct {
	_            [4]byte // kernels that move bytes by reading beside them read this
	codes        [blockK / 4][unpackedRows]uint32
	scales, mins [blockK / 16][unpackedRows]float32
}
