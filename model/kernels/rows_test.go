package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// way is one of the ways in which Gemm may compute here.
type way struct {
	name string
	blas *openBLAS
	do   func(f func()) // calls f with the kernels meant
}

// ways are the built-in kernels and, if there is one, OpenBLAS, whatever EISFT_BLAS says.
func ways() []way {
	call := func(f func()) { f() }
	w := []way{{builtinName(), nil, call}}
	if useAVX512 {
		w = append(w, way{"built-in AVX2", nil, withoutAVX512})
	}
	if lib := askedFor("openblas").blas; lib != nil {
		w = append(w, way{"OpenBLAS", lib, call})
	}
	return w
}

// TestRowsHaveTheSameBits computes rows of products beside other rows, at other places, on other numbers of cores, with
// a packed factor and with one in place: their bits are those of the product of all rows.
func TestRowsHaveTheSameBits(t *testing.T) {
	heights := []int{1, 2, 3, 5, 6, 7, 8, 11, 12, 13, 16, 17, 31, 33, 63, 64, 65, 90, 97, 127, 128, 129, 150}
	const all = 150
	for _, way := range ways() {
		test := func(t *testing.T) {
			r := rand.New(rand.NewPCG(11, 12))
			shapes := []struct{ n, k int }{
				{3, 5},
				{16, 3},
				{17, 64},
				{40, 65},
				{65, 300},
				{64, 256},
				{96, 129},
				{128, 64},
				{130, 700},
				{256, 256},
				{257, 100},
				{300, 513},
				{768, 256},
				{256, 768},
				{1040, 77},
				{2048, 64},
				{64, 2048},
			}
			if testing.Short() { // emulated
				shapes = shapes[:5]
			}
			for _, s := range shapes {
				for mode := range 4 {
					for _, beta := range []float32{0, 1} {
						p := randomProduct(r, mode&1 != 0, mode&2 != 0, all, s.n, s.k, 3, 0.3, beta)
						p.blas = way.blas
						whole := p
						whole.c = slices.Clone(p.c)
						whole.run()
						checkParts(t, r, p, whole.c, heights)
					}
				}
			}
		}
		t.Run(way.name, func(t *testing.T) { way.do(func() { test(t) }) })
	}
}

// checkParts computes some rows of p in ways that callers have. want is C.
func checkParts(t *testing.T, r *rand.Rand, p product, want []float32, heights []int) {
	t.Helper()
	packed := p // but a library does not read packed factors
	if p.blas == nil {
		packed.packed = packedFactor{make([]float32, PackedSize(p.n, p.k)), p.n, p.k}
		for l0 := 0; l0 < p.k; l0 += blockK {
			packed.packB(new(packing), packed.packed.block(l0, 0), l0, min(blockK, p.k-l0), 0)
		}
	}
	for range 6 {
		m := heights[r.IntN(len(heights))]
		at, cores := r.IntN(p.m-m+1), 1+r.IntN(4)
		q := p.rows(at, at+m)
		if r.IntN(2) == 0 {
			q = packed.rows(at, at+m)
		}
		q.c = slices.Clone(q.c)
		func() {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
			q.runParallel()
		}()
		for i := range m {
			if j := differs(q.c[i*q.ldc:][:p.n], want[(at+i)*p.ldc:][:p.n]); j >= 0 {
				t.Fatalf("ta=%v tb=%v n=%d k=%d beta=%g: row %d of %d from row %d on, %d cores, packed %v: column %d has other bits: %g and %g",
					p.ta, p.tb, p.n, p.k, p.beta, i, m, at, cores, q.packed.data != nil, j,
					q.c[i*q.ldc+j], want[(at+i)*p.ldc+j])
			}
		}
	}
}

// differs returns the first place where bits differ, or -1.
func differs(a, b []float32) int {
	for i, v := range a {
		if math.Float32bits(v) != math.Float32bits(b[i]) {
			return i
		}
	}
	return -1
}

// TestZerosDoNotCount multiplies longer and longer rows whose further elements are zero, as attention does with keys
// that a query does not see, from several rows of the factor on: bits stay.
func TestZerosDoNotCount(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	const m, n, k, seen = 70, 64, 900, 530
	for _, way := range ways() {
		t.Run(way.name, func(t *testing.T) {
			for _, from := range []int{0, 16, 400} {
				a, b := matrix(r, m, k, k), matrix(r, k, n, n)
				for i := range m {
					clear(a[i*k:][:from])
					clear(a[i*k+seen:][:k-seen])
				}
				want := make([]float32, m*n)
				p := newProduct(false, false, m, n, k, 1, a, k, b, n, 0, want, n)
				p.blas, p.open = way.blas, true
				p.run()
				for _, end := range []int{seen, seen + 1, seen + 7, 640, 768, 800} {
					for _, buf := range [][]float32{nil, make([]float32, PackedSize(n, k))} {
						if way.blas != nil && buf != nil {
							continue // a library does not read packed factors
						}
						f := Pack(buf, false, n, k, b, n)
						f.factor.blas, f.factor.open = way.blas, true
						q := f.From(from, 0).product(false, m, n, end-from, 1, a[from:], k, 0, make([]float32, m*n), n)
						q.run()
						if j := differs(q.c, want); j >= 0 {
							t.Errorf("rows %d to %d, packed %v: element %d has other bits", from, end, buf != nil, j)
						}
					}
				}
			}
		})
	}
}

// TestColumnsBesideDoNotCount multiplies with parts of a transposed factor, as attention does with the keys that the
// last query of a block sees: columns have the bits that they have in the product with the whole factor.
func TestColumnsBesideDoNotCount(t *testing.T) {
	r := rand.New(rand.NewPCG(19, 20))
	const m, n, k = 70, 700, 80 // more than shortSums
	for _, way := range ways() {
		t.Run(way.name, func(t *testing.T) {
			way.do(func() {
				a, b := matrix(r, m, k, k), matrix(r, n, k, k)
				for _, buf := range [][]float32{nil, make([]float32, PackedSize(n, k))} {
					if way.blas != nil && buf != nil {
						continue // a library does not read packed factors
					}
					f := Pack(buf, true, n, k, b, k)
					f.factor.blas, f.factor.open = way.blas, true
					whole := f.product(false, m, n, k, 0.3, a, k, 0, make([]float32, m*n), n)
					whole.run()
					for _, from := range []int{0, 16, 112, 128, 400} {
						for _, cols := range []int{1, 18, 64, 127, 250, 300} {
							for _, rows := range []int{1, 18, 70} {
								p := f.From(0, from).product(false, rows, cols, k, 0.3, a, k, 0, make([]float32, rows*cols), cols)
								p.run()
								for i := range rows {
									if j := differs(p.c[i*cols:][:cols], whole.c[i*n+from:]); j >= 0 {
										t.Fatalf("%d columns from %d on, packed %v: column %d of row %d has other bits", cols, from, buf != nil, j, i)
									}
								}
							}
						}
					}
				}
			})
		})
	}
}

// TestStoredHasTheBitsOfGemm multiplies 16-bit weights as they are stored, one row of them at a time in float32, and in
// float32 beside other rows.
func TestStoredHasTheBitsOfGemm(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	for _, s := range []struct{ n, k int }{{1, 1}, {16, 31}, {32, 32}, {33, 64}, {70, 100}, {96, 256}, {128, 300}, {200, 768}, {64, 896}} {
		w, x := make([]byte, 2*s.n*s.k), normals(r, 14*s.k, 1)
		for _, stored := range []Stored{StoredBF16(w), StoredF16(w)} {
			if stored.Code == BF16 {
				F32ToBF16(w, normals(r, s.n*s.k, 1))
			} else {
				F32ToF16(w, normals(r, s.n*s.k, 1))
			}
			eachWay(func(name string) { checkStored(t, name, stored, x, s.n, s.k) })
		}
	}
}

// eachWay calls f with all kernels that run here in turn.
func eachWay(f func(name string)) {
	for _, way := range ways() {
		if way.blas == nil {
			way.do(func() { f(way.name) })
		}
	}
	if useVectors() {
		withoutVectors(func() { f("built-in (portable)") })
	}
}

// checkStored multiplies different numbers of the rows of x with a weight as it is stored, and one row with it in
// float32.
func checkStored(t *testing.T, kernels string, w Stored, x []float32, n, k int) {
	t.Helper()
	wide, m := make([]float32, n*k), len(x)/k
	w.Widen(wide, w.Data)
	all := newProduct(false, true, m, n, k, 1, x, k, wide, k, 0, make([]float32, m*n), n)
	all.blas = nil
	all.run()
	for _, rows := range []int{1, 2, m} {
		i := m - rows
		got, one := make([]float32, rows*n), all.rows(i, i+1)
		one.c = make([]float32, n)
		one.runParallel()
		for j := range got {
			got[j] = float32(j) // which must not count
		}
		GemmStored(rows, n, k, x[i*k:], w, got)
		if a, b := differs(got, all.c[i*n:]), differs(one.c, all.c[i*n:]); a >= 0 || b >= 0 {
			t.Fatalf("%s, code %d, %d rows, n=%d k=%d: as stored the first other bits are at %d, of float32 at %d", kernels, w.Code, rows, n, k, a, b)
		}
	}
	// Part of it, times a number and added to what is there.
	for _, from := range []struct{ row, col int }{{0, 0}, {max(codesTogether, w.Count), PackedColumns}} {
		if from.row >= k || from.col >= n {
			continue
		}
		var results [2][]float32
		for i, factor := range []Packed{PackStored(n, k, w), InPlace(true, n, k, wide, k)} {
			factor.factor.blas = nil
			c := slices.Clone(all.c[:n-from.col])
			p := factor.From(from.row, from.col).product(false, 1, n-from.col, k-from.row, 0.3, x[from.row:], k, 1, c, n)
			p.run()
			results[i] = c
		}
		if at := differs(results[0], results[1]); at >= 0 {
			t.Fatalf("%s, code %d [%d, %d] from %v: added to others the first other bits are at %d", kernels, w.Code, n, k, from, at)
		}
	}
}

// TestTilesOfAnySizeHaveTheSameBits compares the AVX-512 kernels with the AVX2 kernels.
func TestTilesOfAnySizeHaveTheSameBits(t *testing.T) {
	if !useAVX512 {
		t.Skip("no AVX-512 here")
	}
	r := rand.New(rand.NewPCG(15, 16))
	for _, s := range gemmShapes {
		for mode := range 4 {
			for _, beta := range []float32{0, 1, -0.5} {
				p := randomProduct(r, mode&1 != 0, mode&2 != 0, s.m, s.n, s.k, 3, 0.3, beta)
				q := p
				q.c = slices.Clone(p.c)
				builtinGemm(&p)
				withoutAVX512(func() { builtinGemm(&q) })
				if j := differs(p.c, q.c); j >= 0 {
					t.Fatalf("%s: element %d differs", fmt.Sprint(s, mode, beta), j)
				}
			}
		}
	}
}
