package kernels_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"eisft/model/hf"
	"eisft/model/kernels"
)

// blockTypes are the types of blocks that have kernels, and where in a block its half-precision numbers are.
var blockTypes = []struct {
	dtype  hf.DType
	halves []int
}{
	{hf.DTypeQ80, []int{0}},
	{hf.DTypeQ40, []int{0}},
	{hf.DTypeQ41, []int{0, 2}},
	{hf.DTypeQ50, []int{0}},
	{hf.DTypeQ51, []int{0, 2}},
	{hf.DTypeQ4K, []int{0, 2}},
	{hf.DTypeQ5K, []int{0, 2}},
	{hf.DTypeQ6K, []int{208}},
}

// randomBlocks is a weight [n, k] of random bits, but for finite scales: some are zero, negative or too small to be normal.
func randomBlocks(r *rand.Rand, dtype hf.DType, halves []int, n, k int) kernels.Stored {
	w := hf.Tensor{DType: dtype}.Stored()
	w.Data = make([]byte, n*k/w.Count*w.Size)
	for i := range w.Data {
		w.Data[i] = byte(r.Uint32())
	}
	for at := 0; at < len(w.Data); at += w.Size {
		for _, h := range halves {
			bits := uint16(r.Uint32()) & 0xbbff // below 2
			if r.IntN(8) == 0 {
				bits &= 0x83ff
			}
			binary.LittleEndian.PutUint16(w.Data[at+h:], bits)
		}
	}
	return w
}

// TestBlocksHaveTheBitsOfGemm multiplies blocks of codes as they are stored, with every instruction set there is: bits
// are those of products with the float32 numbers that package hf reads from them.
func TestBlocksHaveTheBitsOfGemm(t *testing.T) {
	for _, c := range blockTypes {
		t.Run(string(c.dtype), func(t *testing.T) {
			r := rand.New(rand.NewPCG(21, 22))
			w := hf.Tensor{DType: c.dtype}.Stored()
			if w.Code == kernels.AnyCode {
				t.Fatal("has no kernels")
			}
			for _, n := range []int{17, 50, 160, 197} { // twice and three times as many rows as are multiplied at once at most, and some
				for _, k := range []int{96, 288, 512} {
					if k%w.Count != 0 || k == 512 && w.Count < 256 {
						continue
					}
					w := randomBlocks(r, c.dtype, c.halves, n, k)
					x := make([]float32, 14*k)
					for i := range x {
						x[i] = float32(r.NormFloat64())
					}
					kernels.EachWay(func(name string) { kernels.CheckStored(t, name, w, x, n, k) })
				}
			}
		})
	}
}

// TestCodesHaveTheBitsOfGemm does the same with codes of 8 and 4 bits, of a scale for each row or for blocks of it: they
// stand for scale*code.
func TestCodesHaveTheBitsOfGemm(t *testing.T) {
	r := rand.New(rand.NewPCG(25, 26))
	for _, c := range []struct{ bits, block int }{{8, 0}, {4, 0}, {4, 16}, {4, 32}, {8, 64}, {4, 128}} {
		for _, s := range []struct{ n, k int }{{1, 128}, {17, 256}, {70, 384}, {160, 384}} {
			codes, scales, want := make([]int8, s.n*s.k), make([]float32, s.n*s.k/max(c.block, 16)), make([]float32, s.n*s.k)
			per := c.block
			if per == 0 {
				per = s.k
			}
			for i := range scales {
				scales[i] = r.Float32() / 100
			}
			for i := range codes {
				codes[i] = int8(r.Uint32()) >> (8 - c.bits)
				want[i] = scales[i/per] * float32(codes[i])
			}
			w, ok := kernels.StoreCodes(c.bits, codes, scales, s.n, s.k, c.block)
			if !ok {
				t.Fatalf("%d bits in blocks of %d: no kernels", c.bits, c.block)
			}
			got, x := make([]float32, s.n*s.k), make([]float32, 14*s.k)
			w.Floats(got, 0)
			if !slices.Equal(got, want) {
				t.Fatalf("%d bits in blocks of %d: other numbers", c.bits, c.block)
			}
			for i := range x {
				x[i] = float32(r.NormFloat64())
			}
			kernels.EachWay(func(name string) { kernels.CheckStored(t, name, w, x, s.n, s.k) })
		}
	}
	for _, c := range []struct{ bits, k, block int }{{8, 48, 0}, {4, 64, 24}, {8, 64, 16}, {16, 64, 0}} {
		if _, ok := kernels.StoreCodes(c.bits, make([]int8, c.k), make([]float32, c.k), 1, c.k, c.block); ok {
			t.Errorf("%d codes of %d bits in blocks of %d were taken", c.k, c.bits, c.block)
		}
	}
}

// BenchmarkBlocks multiplies weights as they are stored, with one row and with 64, and a weight of bfloat16 beside them.
func BenchmarkBlocks(b *testing.B) {
	r := rand.New(rand.NewPCG(23, 24))
	const n, k = 4864, 1024
	x, y := make([]float32, 64*k), make([]float32, 64*n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	all := map[string]kernels.Stored{"BF16": kernels.StoredBF16(make([]byte, 2*n*k))}
	for _, c := range blockTypes {
		all[string(c.dtype)] = randomBlocks(r, c.dtype, c.halves, n, k)
	}
	for name, w := range all {
		for _, m := range []int{1, 64} {
			b.Run(map[int]string{1: "one row/", 64: "64 rows/"}[m]+name, func(b *testing.B) {
				for b.Loop() {
					kernels.GemmStored(m, n, k, x, w, y)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(n*k), "ns/weight")
			})
		}
	}
}

// BenchmarkFromMemory multiplies one row with weights that no cache holds, and says how long reading them takes at least
// (run it with GOMAXPROCS=1 for what one core does).
func BenchmarkFromMemory(b *testing.B) {
	r := rand.New(rand.NewPCG(27, 28))
	const n, k, times = 1024, 1024, 128
	x, y := make([]float32, k), make([]float32, n*times)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	for _, c := range blockTypes {
		b.Run(string(c.dtype), func(b *testing.B) {
			w := randomBlocks(r, c.dtype, c.halves, n, k)
			w.Data = bytes.Repeat(w.Data, times)
			for b.Loop() {
				kernels.GemmStored(1, n*times, k, x, w, y)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(n*k*times), "ns/weight")
			b.ReportMetric(1e9*float64(len(w.Data))/kernels.ReadRate([][]byte{w.Data})/(n*k*times), "read-ns/weight")
			b.ReportMetric(0, "ns/op")
		})
	}
}
