package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// matrix is a random row-major matrix with unused elements between its rows.
func matrix(r *rand.Rand, rows, cols, stride int) []float32 {
	m := make([]float32, max(rows*stride, 1))
	for i := range m {
		m[i] = float32(r.NormFloat64())
	}
	return m
}

// referenceGemm is the definition, in float64. bound gets what the rounding error of each element scales with.
func referenceGemm(p product) (want, bound []float64) {
	want, bound = make([]float64, len(p.c)), make([]float64, len(p.c))
	at := func(x []float32, stride int, t bool, i, j int) float64 {
		if t {
			i, j = j, i
		}
		return float64(x[i*stride+j])
	}
	for i, v := range p.c {
		want[i] = float64(v)
	}
	for i := range p.m {
		for j := range p.n {
			var s, e float64
			for l := range p.k {
				v := at(p.a, p.lda, p.ta, i, l) * at(p.b, p.ldb, p.tb, l, j)
				s, e = s+v, e+math.Abs(v)
			}
			o := i*p.ldc + j
			c := float64(p.beta) * want[o]
			if p.beta == 0 {
				c = 0
			}
			want[o] = float64(p.alpha)*s + c
			bound[o] = math.Abs(float64(p.alpha))*e + math.Abs(c)
		}
	}
	return want, bound
}

// randomProduct makes a product whose rows are pad elements apart.
func randomProduct(r *rand.Rand, ta, tb bool, m, n, k, pad int, alpha, beta float32) product {
	p := product{ta: ta, tb: tb, m: m, n: n, k: k, alpha: alpha, beta: beta}
	stored := func(t bool, rows, cols int) ([]float32, int) {
		if t {
			rows, cols = cols, rows
		}
		return matrix(r, rows, cols, cols+pad), cols + pad
	}
	p.a, p.lda = stored(ta, m, k)
	p.b, p.ldb = stored(tb, k, n)
	p.c, p.ldc = stored(false, m, n)
	return p
}

func checkProduct(t *testing.T, p product, f func(p *product)) {
	t.Helper()
	want, bound := referenceGemm(p)
	f(&p)
	for i := range want {
		if d := math.Abs(float64(p.c[i]) - want[i]); !(d <= 1e-6*bound[i]) {
			t.Fatalf("ta=%v tb=%v m=%d n=%d k=%d alpha=%g beta=%g: C[%d, %d] = %g, want %g",
				p.ta, p.tb, p.m, p.n, p.k, p.alpha, p.beta, i/p.ldc, i%p.ldc, p.c[i], want[i])
		}
	}
}

func gemm(p *product) {
	Gemm(p.ta, p.tb, p.m, p.n, p.k, p.alpha, p.a, p.lda, p.b, p.ldb, p.beta, p.c, p.ldc)
}

func gemmSerial(p *product) {
	GemmSerial(p.ta, p.tb, p.m, p.n, p.k, p.alpha, p.a, p.lda, p.b, p.ldb, p.beta, p.c, p.ldc)
}

var gemmShapes = []struct{ m, n, k int }{
	{1, 1, 1},
	{1, 7, 5},
	{7, 1, 5},
	{3, 17, 1},
	{6, 16, 8},
	{5, 15, 9},
	{7, 33, 31},
	{13, 50, 64},
	{1, 129, 200},
	{2, 70, 300},
	{4, 64, 33},
	{64, 5, 17},
	{65, 97, 101},
	{100, 1040, 13},
	{110, 90, 260},
}

func TestGemm(t *testing.T) {
	t.Log(Backend())
	r := rand.New(rand.NewPCG(1, 2))
	scales := []struct{ alpha, beta float32 }{{1, 0}, {-0.5, 2}, {1, 1}, {0, 0.5}}
	for _, s := range gemmShapes {
		for mode := range 4 {
			ta, tb := mode&1 != 0, mode&2 != 0
			for i, c := range scales {
				pad := 3 * (i % 2)
				checkProduct(t, randomProduct(r, ta, tb, s.m, s.n, s.k, pad, c.alpha, c.beta), gemm)
				if s.m*s.n*s.k > 1<<18 && i > 0 {
					break
				}
			}
			checkProduct(t, randomProduct(r, ta, tb, s.m, s.n, s.k, 1, 1, 1), gemmSerial)
			checkProduct(t, randomProduct(r, ta, tb, s.m, s.n, s.k, 2, 0.5, -1), builtinGemm)
		}
	}
}

func TestGemmKernelsAgreeWithPlainGo(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 3))
	const stride = 70
	src := matrix(r, 64, stride, stride)
	for _, k := range []int{1, 2, 7, 8, 9, 16, 31, 64} {
		for _, width := range []int{1, 5, 6, 12, panelCols} {
			got, want := make([]float32, k*width), make([]float32, k*width)
			packRows(got, src, stride, width, k)
			packRowsGo(want, src, stride, width, k)
			if err := closeTo(got, want, 0); err != nil {
				t.Errorf("packRows, k=%d width=%d: %v", k, width, err)
			}
		}
		panel, want := make([]float32, k*panelCols), make([]float32, k*panelCols)
		transposePanel(panel, src, stride, k, 0)
		transposePanelGo(want, src, stride, k)
		if err := closeTo(panel, want, 0); err != nil {
			t.Errorf("transposePanel, k=%d: %v", k, err)
		}
		for rows := 1; rows <= tileOf().rows; rows++ {
			for _, add := range []bool{false, true} {
				const tiles = 3
				got, intact := guarded(r, tiles*rows*stride-(stride-panelCols))
				want := append([]float32{}, got...)
				gemmTiles(rows, tiles, k, src, 7*stride, stride, 1, panel, panelCols, 0, got, stride, panelCols, 0.5, add)
				gemmTilesGo(rows, tiles, k, src, 7*stride, stride, 1, panel, panelCols, want, stride, 0.5, add)
				if err := closeTo(got, want, 1e-5); err != nil || !intact() {
					t.Errorf("gemmTiles, rows=%d k=%d add=%v: %v, guards intact: %v", rows, k, add, err, intact())
				}
			}
		}
	}
}

// TestPackedFrom multiplies with what follows a row and a column of a factor, packed and in place.
func TestPackedFrom(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for mode := range 4 {
		for _, at := range []struct{ row, col int }{{0, 16}, {5, 0}, {256, 32}, {300, 48}, {563, 64}} {
			const m, n, k = 13, 70, 563
			p := randomProduct(r, mode&1 != 0, mode&2 != 0, m, n, k, 3, 0.5, 1)
			for _, buf := range [][]float32{nil, make([]float32, PackedSize(n, k))} {
				b := Pack(buf, p.tb, n, k, p.b, p.ldb).From(at.row, at.col)
				q := p
				q.n, q.k, q.c = n-at.col, k-at.row, slices.Clone(p.c)
				if q.tb {
					q.b = q.b[min(at.col*q.ldb+at.row, len(q.b)):]
				} else {
					q.b = q.b[min(at.row*q.ldb+at.col, len(q.b)):]
				}
				checkProduct(t, q, func(q *product) {
					GemmPackedSerial(q.ta, q.m, q.n, q.k, q.alpha, q.a, q.lda, b, q.beta, q.c, q.ldc)
				})
			}
		}
	}
}

// TestGemmPacked multiplies with whole packed factors and with parts of them.
func TestGemmPacked(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, s := range append(gemmShapes, struct{ m, n, k int }{64, 64, 700}, struct{ m, n, k int }{13, 700, 64}) {
		for mode := range 4 {
			p := randomProduct(r, mode&1 != 0, mode&2 != 0, s.m, s.n, s.k, 3, 0.5, 1)
			b := Pack(make([]float32, PackedSize(s.n, s.k)), p.tb, s.n, s.k, p.b, p.ldb)
			for _, part := range []struct{ n, k int }{{s.n, s.k}, {s.n - s.n/3, s.k}, {s.n, s.k - s.k/3}} {
				q := p
				q.n, q.k = part.n, part.k
				q.c = slices.Clone(p.c)
				checkProduct(t, q, func(q *product) {
					GemmPackedSerial(q.ta, q.m, q.n, q.k, q.alpha, q.a, q.lda, b, q.beta, q.c, q.ldc)
				})
				q.c = slices.Clone(p.c)
				checkProduct(t, q, func(q *product) {
					GemmPacked(q.ta, q.m, q.n, q.k, q.alpha, q.a, q.lda, b, q.beta, q.c, q.ldc)
				})
			}
		}
	}
}

func TestGemmEmptyInnerDimensionScalesC(t *testing.T) {
	c := []float32{1, 2, 3, 4}
	Gemm(false, false, 2, 2, 0, 1, nil, 1, nil, 2, 0.5, c, 2)
	if got := fmt.Sprint(c); got != "[0.5 1 1.5 2]" {
		t.Errorf("beta*C = %s", got)
	}
	Gemm(false, false, 0, 2, 3, 1, nil, 3, make([]float32, 6), 2, 0, nil, 2)
}

func TestGemmWithBetaZeroDoesNotReadC(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, s := range gemmShapes {
		for _, alpha := range []float32{0, 1} {
			p := randomProduct(r, false, true, s.m, s.n, s.k, 0, alpha, 0)
			for i := range p.c {
				p.c[i] = float32(math.NaN())
			}
			checkProduct(t, p, gemm)
		}
	}
}

func TestGemmPanicsBeforeReadingOutside(t *testing.T) {
	x := make([]float32, 6)
	for _, c := range []struct {
		want string
		call func()
	}{
		{"kernels: Gemm: negative size m=-1 n=2 k=3", func() {
			Gemm(false, false, -1, 2, 3, 1, x, 3, x, 2, 0, x, 2)
		}},
		{"kernels: Gemm: A has 6 elements, [3, 3] with stride 3 needs 9", func() {
			Gemm(false, false, 3, 2, 3, 1, x, 3, x, 2, 0, x, 2)
		}},
		{"kernels: Gemm: stride 2 of B [2, 3] is less than its row", func() {
			Gemm(false, true, 2, 2, 3, 1, x, 3, x, 2, 0, x, 2)
		}},
		{"kernels: Gemm: C has 6 elements, [2, 2] with stride 5 needs 7", func() {
			GemmSerial(false, false, 2, 2, 3, 1, x, 3, x, 2, 0, x, 5)
		}},
	} {
		func() {
			defer func() {
				if got := recover(); got != c.want {
					t.Errorf("panic %v, want %s", got, c.want)
				}
			}()
			c.call()
		}()
	}
}

func TestGemv(t *testing.T) {
	r := rand.New(rand.NewPCG(30, 31))
	for name, way := range map[string]struct {
		store  func([]byte, []float32)
		stored func([]byte) Stored
	}{
		"BF16": {F32ToBF16, StoredBF16},
		"F16":  {F32ToF16, StoredF16},
	} {
		for _, n := range []int{0, 1, 3, 4, 9, 300} {
			for _, k := range []int{0, 1, 7, 8, 16, 33, 250, 1000, 2100} {
				w, x := make([]byte, 2*n*k), normals(r, k, 1)
				way.store(w, normals(r, n*k, 1))
				wide := make([]float32, n*k)
				way.stored(w).Widen(wide, w)
				dst, intact := guarded(r, n)
				GemmStored(1, n, k, x, way.stored(w), dst)
				for i := range n {
					var bound float64
					for l, v := range x {
						bound += math.Abs(float64(v) * float64(wide[i*k+l]))
					}
					if want := dot64(x, wide[i*k:]); !(math.Abs(float64(dst[i])-want) <= 1e-6*bound) {
						t.Fatalf("%s, n=%d k=%d: element %d is %g, want %g", name, n, k, i, dst[i], want)
					}
				}
				if !intact() {
					t.Errorf("%s, n=%d k=%d: wrote outside", name, n, k)
				}
			}
		}
	}
}

// TestNoRows multiplies no rows at all with factors large enough for all cores.
func TestNoRows(t *testing.T) {
	b := make([]float32, 512*512)
	Gemm(false, true, 0, 512, 512, 1, nil, 512, b, 512, 0, nil, 512)
	packed := Pack(make([]float32, PackedSize(512, 512)), true, 512, 512, b, 512)
	GemmPacked(false, 0, 512, 512, 1, nil, 512, packed, 0, nil, 512)
}
