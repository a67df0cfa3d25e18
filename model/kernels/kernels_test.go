package kernels

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSoftmax(t *testing.T) {
	r := rand.New(rand.NewPCG(14, 15))
	for _, n := range oddSizes[1:] {
		for _, scale := range []float64{1, 40} {
			x := normals(r, n, scale)
			var sum float64
			for _, v := range x {
				sum += math.Exp(float64(v))
			}
			want := make([]float32, n)
			for i, v := range x {
				want[i] = float32(math.Exp(float64(v)) / sum)
			}
			lse := []float32{LogSumExp(x), Softmax(x)}
			if err := closeTo(x, want, 1e-5); err != nil {
				t.Errorf("n=%d: %v", n, err)
			}
			if err := closeTo(lse, []float32{float32(math.Log(sum)), float32(math.Log(sum))}, 1e-6); err != nil {
				t.Errorf("log-sum-exp, n=%d: %v", n, err)
			}
		}
	}
}

func TestSoftmaxOfSpecialRows(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		in, want []float32
		lse      float32
	}{
		{[]float32{}, []float32{}, -inf},
		{[]float32{-inf, -inf, -inf}, []float32{0, 0, 0}, -inf},
		{[]float32{-inf, 2}, []float32{0, 1}, 2},
		{[]float32{1e30, 1e30, -1e30}, []float32{0.5, 0.5, 0}, 1e30},
		{[]float32{-3e38, -3e38}, []float32{0.5, 0.5}, -3e38},
		{[]float32{1, nan}, []float32{nan, nan}, nan},
		{[]float32{-inf, nan}, []float32{nan, nan}, nan},
		{[]float32{inf, 0}, []float32{nan, nan}, nan},
	} {
		x := append([]float32{}, c.in...)
		lse := []float32{LogSumExp(x), Softmax(x)}
		if err := closeTo(append(x, lse...), append(append([]float32{}, c.want...), c.lse, c.lse), 1e-6); err != nil {
			t.Errorf("softmax of %v is %v, log-sum-exp %v: %v", c.in, x, lse, err)
		}
	}
}

// checkGrad compares the gradient of dot(f(x), dy) with respect to x with finite differences.
func checkGrad(t *testing.T, name string, x, grad []float32, loss func() float64) {
	t.Helper()
	const h = 1e-2
	for i := range x {
		v := x[i]
		x[i] = v + h
		up := loss()
		x[i] = v - h
		down := loss()
		x[i] = v
		if want := (up - down) / (2 * h); math.Abs(want-float64(grad[i])) > 2e-3*(1+math.Abs(want)) {
			t.Errorf("%s: gradient %d is %g, finite difference %g", name, i, grad[i], want)
		}
	}
}

func dot64(a, b []float32) (s float64) {
	for i, v := range a {
		s += float64(v) * float64(b[i])
	}
	return s
}

func TestGradientsAgreeWithFiniteDifferences(t *testing.T) {
	r := rand.New(rand.NewPCG(16, 17))
	for _, n := range []int{1, 5, 8, 21} {
		dy, y := normals(r, n, 1), make([]float32, n)

		x := normals(r, n, 1)
		softmax := func() float64 { copy(y, x); Softmax(y); return dot64(y, dy) }
		softmax()
		dx := make([]float32, n)
		SoftmaxGrad(dx, dy, y)
		checkGrad(t, "SoftmaxGrad", x, dx, softmax)

		for name, f := range map[string]struct {
			forward func(dst, gate, up []float32)
			grad    func(dGate, dUp, dy, gate, up []float32)
		}{"SiLUMulGrad": {SiLUMul, SiLUMulGrad}, "GELUTanhMulGrad": {GELUTanhMul, GELUTanhMulGrad}} {
			gate, up := normals(r, n, 2), normals(r, n, 2)
			dGate, dUp := make([]float32, n), make([]float32, n)
			f.grad(dGate, dUp, dy, gate, up)
			loss := func() float64 { f.forward(y, gate, up); return dot64(y, dy) }
			checkGrad(t, name+" gate", gate, dGate, loss)
			checkGrad(t, name+" up", up, dUp, loss)
			copy(y, gate)
			f.grad(y, up, dy, y, up) // in place
			if err := closeTo(append(y, up...), append(dGate, dUp...), 0); err != nil {
				t.Errorf("%s in place: %v", name, err)
			}
		}

		const rows, eps = 3, 1e-5
		x, dy = normals(r, rows*n, 1), normals(r, rows*n, 1)
		w, out := normals(r, n, 1), make([]float32, rows*n)
		dx = make([]float32, rows*n)
		RMSNormGrad(dx, dy, x, w, rows, n, eps)
		if n > 1 { // one element alone is its own norm: the gradient vanishes up to eps
			checkGrad(t, "RMSNormGrad", x, dx, func() float64 { RMSNorm(out, x, w, rows, n, eps); return dot64(out, dy) })
		}
		LayerNormGrad(dx, dy, x, w, rows, n, eps)
		if n > 2 { // of two elements one is the other's negative: the gradient vanishes up to eps
			b := normals(r, n, 1)
			checkGrad(t, "LayerNormGrad", x, dx, func() float64 { LayerNorm(out, x, w, b, rows, n, eps); return dot64(out, dy) })
		}
		inPlace := slices.Clone(dy)
		LayerNormGrad(inPlace, inPlace, x, w, rows, n, eps)
		if err := closeTo(inPlace, dx, 0); err != nil {
			t.Errorf("LayerNormGrad in place: %v", err)
		}
	}
}

func TestRMSNorm(t *testing.T) {
	r := rand.New(rand.NewPCG(18, 19))
	for _, cols := range oddSizes[1:] {
		const rows, eps = 3, 1e-6
		x, w := normals(r, rows*cols, 2), normals(r, cols, 1)
		want := make([]float32, rows*cols)
		for i := range rows {
			row := x[i*cols:][:cols]
			rms := math.Sqrt(dot64(row, row)/float64(cols) + eps)
			for j, v := range row {
				want[i*cols+j] = float32(float64(v) / rms * float64(w[j]))
			}
		}
		RMSNorm(x, x, w, rows, cols, eps)
		if err := closeTo(x, want, 1e-6); err != nil {
			t.Errorf("cols=%d: %v", cols, err)
		}
	}
}

func TestLayerNorm(t *testing.T) {
	r := rand.New(rand.NewPCG(24, 25))
	for _, cols := range oddSizes[1:] {
		for _, b := range [][]float32{nil, normals(r, cols, 1)} {
			const rows, eps = 3, 1e-5
			x, w := normals(r, rows*cols, 2), normals(r, cols, 1)
			want := make([]float32, rows*cols)
			for i := range rows {
				row, sum, squares := x[i*cols:][:cols], 0.0, 0.0
				for j := range row {
					row[j] += 3
					sum += float64(row[j])
				}
				mean := sum / float64(cols)
				for _, v := range row {
					squares += (float64(v) - mean) * (float64(v) - mean)
				}
				for j, v := range row {
					y := (float64(v) - mean) / math.Sqrt(squares/float64(cols)+eps) * float64(w[j])
					if b != nil {
						y += float64(b[j])
					}
					want[i*cols+j] = float32(y)
				}
			}
			LayerNorm(x, x, w, b, rows, cols, eps)
			if err := closeTo(x, want, 3e-6); err != nil {
				t.Errorf("cols=%d, bias %t: %v", cols, b != nil, err)
			}
		}
	}
}

func TestRotate(t *testing.T) {
	r := rand.New(rand.NewPCG(20, 21))
	for _, d := range []int{2, 6, 16, 32, 64, 80} {
		const heads, pos = 3, 1234
		half := d / 2
		invFreq, cos, sin := make([]float32, half), make([]float32, half), make([]float32, half)
		for i := range invFreq {
			invFreq[i] = float32(math.Pow(10000, -float64(i)/float64(half)))
		}
		RopeTables(cos, sin, []int{pos}, invFreq, 1)
		x := normals(r, heads*d, 1)
		want := make([]float32, heads*d)
		for h := range heads {
			for i := range half {
				s, c := math.Sincos(float64(pos * invFreq[i]))
				a, b := float64(x[h*d+i]), float64(x[h*d+i+half])
				want[h*d+i], want[h*d+i+half] = float32(a*c-b*s), float32(b*c+a*s)
			}
		}
		y := make([]float32, heads*d)
		Rotate(y, x, heads, d, cos, sin, false)
		if err := closeTo(y, want, 1e-6); err != nil {
			t.Errorf("d=%d: %v", d, err)
		}
		rotateGo(want, x, heads, half, cos, sin, 1)
		if err := closeTo(y, want, 1e-6); err != nil {
			t.Errorf("d=%d: assembly and Go differ: %v", d, err)
		}
		Rotate(y, y, heads, d, cos, sin, true)
		if err := closeTo(y, x, 2e-6); err != nil {
			t.Errorf("d=%d: turned back: %v", d, err)
		}
	}
}

func TestRopeTablesScaleAndOrder(t *testing.T) {
	cos, sin := make([]float32, 4), make([]float32, 4)
	RopeTables(cos, sin, []int{0, 2}, []float32{1, 0.5}, 2)
	wantCos := []float32{2, 2, float32(2 * math.Cos(2)), float32(2 * math.Cos(1))}
	wantSin := []float32{0, 0, float32(2 * math.Sin(2)), float32(2 * math.Sin(1))}
	if err := closeTo(append(cos, sin...), append(wantCos, wantSin...), 1e-6); err != nil {
		t.Error(err)
	}
}

func TestBF16RoundTripsAndRounds(t *testing.T) {
	src := make([]byte, 2<<16)
	for i := range 1 << 16 {
		binary.LittleEndian.PutUint16(src[2*i:], uint16(i))
	}
	wide, back := make([]float32, 1<<16), make([]byte, 2<<16)
	BF16ToF32(wide, src)
	F32ToBF16(back, wide)
	for i, v := range wide {
		got := binary.LittleEndian.Uint16(back[2*i:])
		if bits := math.Float32bits(v); bits != uint32(i)<<16 {
			t.Fatalf("%#04x widened to %#08x", i, bits)
		}
		if v == v && got != uint16(i) || v != v && got != uint16(i)|0x40 {
			t.Fatalf("%#04x came back as %#04x", i, got)
		}
	}
	for _, n := range oddSizes {
		dst, intact := guarded(rand.New(rand.NewPCG(1, 1)), n)
		BF16ToF32(dst, src[2*16000:])
		if err := closeTo(dst, wide[16000:][:n], 0); err != nil || !intact() {
			t.Errorf("n=%d: %v, guards intact: %v", n, err, intact())
		}
	}
	for in, want := range map[uint32]uint16{
		0x3f808000: 0x3f80, 0x3f818000: 0x3f82, 0x3f808001: 0x3f81, 0x3f807fff: 0x3f80, // ties to even
		0x7f7fffff: 0x7f80, 0x7f800001: 0x7fc0, 0xff800000: 0xff80, // overflow, NaN, infinity
	} {
		F32ToBF16(back, []float32{math.Float32frombits(in)})
		if got := binary.LittleEndian.Uint16(back); got != want {
			t.Errorf("%#08x rounded to %#04x, want %#04x", in, got, want)
		}
	}
}

func TestF16RoundTripsAndRounds(t *testing.T) {
	src, back, wide := make([]byte, 2<<16), make([]byte, 2<<16), make([]float32, 1<<16)
	for i := range 1 << 16 {
		binary.LittleEndian.PutUint16(src[2*i:], uint16(i))
	}
	F16ToF32(wide, src)
	F32ToF16(back, wide)
	for i, v := range wide {
		if got := binary.LittleEndian.Uint16(back[2*i:]); v == v && got != uint16(i) || v != v && got|0x200 != uint16(i)|0x200 {
			t.Fatalf("%#04x came back as %#04x by %g", i, got, v)
		}
	}
	for bits, want := range map[uint16]float32{
		0x3c00: 1, 0xc000: -2, 0x7bff: 65504, 0x0001: 1.0 / (1 << 24), 0x03ff: 1023.0 / (1 << 24), 0x0400: 1.0 / (1 << 14),
		0xfc00: float32(math.Inf(-1)),
	} {
		if wide[bits] != want {
			t.Errorf("%#04x is %g, want %g", bits, wide[bits], want)
		}
	}
	r := rand.New(rand.NewPCG(22, 23))
	for range 100000 { // the nearest of all, ties to even
		v := float32(math.Ldexp(r.Float64()*2-1, r.IntN(45)-28))
		F32ToF16(back, []float32{v})
		got := binary.LittleEndian.Uint16(back)
		for _, near := range []uint16{got - 1, got + 1} {
			d, e := math.Abs(float64(wide[got])-float64(v)), math.Abs(float64(wide[near])-float64(v))
			if got&0x7c00 != 0x7c00 && (e < d || e == d && got&1 == 1) {
				t.Fatalf("%g became %g, %g is nearer", v, wide[got], wide[near])
			}
		}
	}
	F32ToF16(back, []float32{65519.99, 65520, -1e30})
	want := []uint16{0x7bff, 0x7c00, 0xfc00}
	for i, w := range want {
		if got := binary.LittleEndian.Uint16(back[2*i:]); got != w {
			t.Errorf("overflow %d: %#04x, want %#04x", i, got, w)
		}
	}
}

func TestTransposeAndArgMax(t *testing.T) {
	r := rand.New(rand.NewPCG(24, 25))
	for _, rows := range []int{1, 3, 16, 37} {
		for _, cols := range []int{1, 5, 16, 50} {
			src, dst := normals(r, rows*cols, 1), make([]float32, rows*cols)
			Transpose(dst, src, rows, cols)
			for i := range rows {
				for j := range cols {
					if dst[j*rows+i] != src[i*cols+j] {
						t.Fatalf("[%d, %d]: element %d, %d is wrong", rows, cols, i, j)
					}
				}
			}
		}
	}
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		x    []float32
		want int
	}{{nil, -1}, {[]float32{nan}, -1}, {[]float32{nan, -inf, -inf}, 1}, {[]float32{1, 3, nan, 3}, 1}, {[]float32{-2, -1}, 1}} {
		if got := ArgMax(c.x); got != c.want {
			t.Errorf("ArgMax(%v) = %d, want %d", c.x, got, c.want)
		}
	}
}

func TestKernelsPanicOnShortSlices(t *testing.T) {
	x, short := make([]float32, 16), make([]float32, 15)
	for name, call := range map[string]func(){
		"Dot":         func() { Dot(x, short) },
		"Axpy":        func() { Axpy(1, x, short) },
		"Exp":         func() { Exp(short, x) },
		"SoftmaxGrad": func() { SoftmaxGrad(x, short, x) },
		"RMSNorm":     func() { RMSNorm(x, x, short, 1, 16, 1e-6) },
		"RMSNormGrad": func() { RMSNormGrad(x, short, x, x, 1, 16, 1e-6) },
		"LayerNorm":   func() { LayerNorm(x, x, x, short, 1, 16, 1e-6) },
		"SiLUMul":     func() { SiLUMul(x, short, x) },
		"SiLUMulGrad": func() { SiLUMulGrad(x, x, x, x, short) },
		"Rotate":      func() { Rotate(x, short, 1, 16, x, x, false) },
		"Rotate odd":  func() { Rotate(x, x, 1, 15, x, x, false) },
		"BF16ToF32":   func() { BF16ToF32(x, make([]byte, 31)) },
		"Transpose":   func() { Transpose(x, short, 4, 4) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s read beyond a slice", name)
				}
			}()
			call()
		}()
	}
}
