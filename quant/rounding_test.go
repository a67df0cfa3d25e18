package quant

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"eisft/internal/ranks"
	"eisft/quant/encoding"
)

// correlated returns inputs [n,in] as layers have them: some large, and none independent of
// the others.
func correlated(n, in int) []float32 {
	random := rand.New(rand.NewPCG(7, 8))
	const causes = 24
	mix := make([]float64, causes*in)
	for i := range mix {
		mix[i] = random.NormFloat64()
	}
	x := make([]float32, n*in)
	for t := range n {
		cause := make([]float64, causes)
		for i := range cause {
			cause[i] = random.NormFloat64()
		}
		for i := range in {
			v := 0.3 * random.NormFloat64()
			for j, c := range cause {
				v += c * mix[j*in+i] / math.Sqrt(causes)
			}
			x[t*in+i] = float32(v * math.Exp2(float64(i%5)-2))
		}
	}
	return x
}

// hessianOf returns the Hessian of inputs [n,in].
func hessianOf(t testing.TB, x []float32, in, block int) *Hessian {
	t.Helper()
	h := testHessian(in, block)
	h.add(x[:len(x)/in/2*in])
	h.add(x[len(x)/in/2*in:])
	if err := h.finish("x"); err != nil {
		t.Fatal(err)
	}
	return h
}

// weightFormats4 are the formats of 4 bits that schemes have.
var weightFormats4 = []encoding.Format{{Bits: 4}, {Bits: 4, Block: 32}, {Bits: 4, Block: 32, LowPower: true}}

// rounded rounds a map by a rule.
func rounded(t testing.TB, r *Recipe, m *Map) *Weight {
	t.Helper()
	rule, err := roundings.Find(r.Weights)
	if err != nil {
		t.Fatal(err)
	}
	e, err := rule.scales(r, m)
	if err != nil {
		t.Fatal(err)
	}
	w := &Weight{Name: m.Name, Out: m.Out, In: m.In, Encoding: e}
	if rule.codes == nil {
		w.Codes = m.nearestCodes(e)
	} else {
		h := *m.Hessian
		h.Values = slices.Clone(h.Values)
		f, err := rule.prepare(r, &h)
		if err != nil {
			t.Fatal(err)
		}
		w.Codes = rule.codes(m, e, f)
	}
	if _, err := w.ParamShape([]int{m.Out, m.In}); err != nil {
		t.Fatal(err)
	}
	return w
}

// outputError is the sum of squares of (W-Ŵ)Xᵀ.
func outputError(m *Map, w *Weight, x []float32) float64 {
	d := w.Dequantize()
	subtract(d, m.Matrix)
	sum := 0.0
	for r := range m.Out {
		for t := 0; t < len(x); t += m.In {
			y := dot64(d[r*m.In:(r+1)*m.In], x[t:t+m.In])
			sum += y * y
		}
	}
	return sum
}

// TestHessianErrors: what is measured by the Hessian is the squared error of the outputs, of
// rows and of blocks.
func TestHessianErrors(t *testing.T) {
	const rows, in, n = 5, 576, 700 // of more than two panels
	x, d := correlated(n, in), normal(rows*in, 0.1)
	for _, block := range []int{0, 32} {
		e := encoding.Encoding{Block: block}
		h := hessianOf(t, x, in, block)
		width := in
		if block > 0 {
			width = block
		}
		got := make([]float64, rows*in/width)
		h.errors(got, d, e)
		for i, v := range got {
			r, at := i/(in/width), i%(in/width)*width
			want := 0.0
			for t := range n {
				y := dot64(d[r*in+at:r*in+at+width], x[t*in+at:t*in+at+width])
				want += y * y
			}
			if math.Abs(v-want) > 1e-4*want {
				t.Fatalf("blocks of %d: error %d is %g, want %g", block, i, v, want)
			}
		}
	}
	full, blocks := hessianOf(t, x, in, 0), hessianOf(t, x, in, 32)
	for i := range in * 32 {
		r, c := i/32, i/32/32*32+i%32
		if a, b := full.Values[r*in+c], blocks.Values[i]; math.Abs(float64(a-b)) > 1e-4*math.Abs(float64(a))+1e-2 {
			t.Fatalf("moment %d,%d is %g of all and %g of blocks", r, c, a, b)
		}
		if full.Values[r*in+c] != full.Values[c*in+r] {
			t.Fatalf("moment %d,%d is not that of %d,%d", r, c, c, r)
		}
	}
}

// TestSeqMSEIsTheBest: no candidate of a row or block has a smaller error than the one taken.
func TestSeqMSEIsTheBest(t *testing.T) {
	const out, in, n = 6, 256, 300
	x := correlated(n, in)
	for _, f := range weightFormats4 {
		for rule, moments := range map[string][]float32{RoundSeqMSE: x, RoundMSEClip: identity(in)} {
			m := &Map{Name: "w", Matrix: normal(out*in, 0.1), Out: out, In: in, Format: f, Hessian: hessianOf(t, moments, in, 0)}
			m.Matrix[3], m.Matrix[300] = 0.5, -0.4 // outliers, better clipped
			r := &Recipe{Weights: rule, SeqMSE: SeqMSE{Candidates: 20}}
			w := rounded(t, r, m)
			sum := make([]float64, len(w.Scales))
			of := func(e encoding.Encoding) []float64 {
				d := slices.Clone(m.Matrix)
				e.Fake(d, out, in)
				subtract(d, m.Matrix)
				m.Hessian.errors(sum, d, e)
				return sum
			}
			least := slices.Clone(of(w.Encoding))
			spanned, err := m.spanned()
			if err != nil {
				t.Fatal(err)
			}
			clipped := false
			for i := 1; i <= 20; i++ {
				e := spanned
				e.Scales = slices.Clone(e.Scales)
				for k := range e.Scales {
					e.Scales[k] *= float32(i) / 20
					if f.LowPower {
						e.Scales[k] = w.Channel(k) * float32(min(i, 16))
					}
				}
				for k, v := range of(e) {
					if v < least[k]*(1-1e-6) {
						t.Fatalf("%s, %s: scale %d has the error %g, and %g with %g instead of %g", rule, f, k, least[k], v, e.Scales[k], w.Scales[k])
					}
				}
			}
			for k := range w.Scales {
				clipped = clipped || w.Scales[k] < spanned.Scales[k]*0.95
			}
			if !clipped {
				t.Errorf("%s, %s: nothing was clipped", rule, f)
			}
		}
	}
}

// identity is the matrix of ones on the diagonal [n,n].
func identity(n int) []float32 {
	x := make([]float32, n*n)
	for i := range n {
		x[i*n+i] = 1
	}
	return x
}

// TestWithoutInputs: where the samples say nothing, rules do what rtn does: of a Hessian of
// zeros, and in columns of zeros.
func TestWithoutInputs(t *testing.T) {
	const out, in = 7, 64
	for _, f := range weightFormats4 {
		m := &Map{Name: "w", Matrix: normal(out*in, 0.1), Out: out, In: in, Format: f, Hessian: testHessian(in, 0)}
		f.LowPower = false // whose multiples are chosen among equals
		m.Format = f
		want := rounded(t, &Recipe{Weights: RoundNearest}, m)
		for _, rule := range []string{RoundSeqMSE, RoundGPTQ} {
			if got := rounded(t, &Recipe{Weights: rule}, m); !slices.Equal(got.Codes, want.Codes) || !got.Equal(want.Encoding) {
				t.Errorf("%s, %s: not what rtn does: %s", rule, f, got.Difference(want.Encoding))
			}
		}
		x := correlated(200, in)
		for i := range 200 {
			x[i*in+9] = 0
		}
		m.Hessian = hessianOf(t, x, in, 0)
		got := rounded(t, &Recipe{Weights: RoundGPTQ, GPTQ: GPTQ{Scales: RoundNearest, ActOrder: true}}, m)
		same := 0
		for i, c := range got.Codes {
			if c == want.Codes[i] {
				same++
			} else if i%in == 9 {
				t.Errorf("%s: code %d of an input that is always 0 is %d, want %d", f, i, c, want.Codes[i])
			}
		}
		if same == len(got.Codes) {
			t.Errorf("%s: gptq did nothing", f)
		}
	}
}

// TestGPTQOfDiagonal: where no input tells of another, there is nothing to make up for.
func TestGPTQOfDiagonal(t *testing.T) {
	const out, in = 7, 320
	x := identity(in)
	for i := range in {
		x[i*in+i] = float32(1 + i%13)
	}
	for _, f := range weightFormats4 {
		m := &Map{Name: "w", Matrix: normal(out*in, 0.1), Out: out, In: in, Format: f, Hessian: hessianOf(t, x, in, 0)}
		want := rounded(t, &Recipe{Weights: RoundNearest}, m)
		got := rounded(t, &Recipe{Weights: RoundGPTQ, GPTQ: GPTQ{Scales: RoundNearest, ActOrder: true, Block: 48}}, m)
		if !slices.Equal(got.Codes, want.Codes) {
			t.Errorf("%s: codes differ from rtn's", f)
		}
	}
}

// TestGPTQByTheBook compares with the algorithm as the paper has it, in float64 and with the
// inverse Hessian itself: column after column, from H⁻¹ the part of what is not rounded yet
// (arXiv 2210.17323, equations 2 and 3).
func TestGPTQByTheBook(t *testing.T) {
	const out, in, n = 4, 96, 400
	x := correlated(n, in)
	for _, f := range weightFormats4 {
		for _, act := range []bool{false, true} {
			m := &Map{Name: "w", Matrix: normal(out*in, 0.1), Out: out, In: in, Format: f, Hessian: hessianOf(t, x, in, 0)}
			r := &Recipe{Weights: RoundGPTQ, GPTQ: GPTQ{Scales: RoundNearest, ActOrder: act, Block: 40, Damping: 0.02}}
			got := rounded(t, r, m)
			want, near := bookGPTQ(m, got.Encoding, act, 0.02)
			differ := 0
			for i, c := range got.Codes {
				if c != want[i] {
					differ++
				}
			}
			if differ > near {
				t.Errorf("%s, by activity %t: %d codes differ, and %d are near a tie", f, act, differ, near)
			}
		}
	}
}

// bookGPTQ rounds without blocks and factors. near counts what a last bit may decide.
func bookGPTQ(m *Map, e encoding.Encoding, act bool, damping float64) (codes []int8, near int) {
	n := m.In
	h := make([]float64, n*n)
	mean := 0.0
	order := make([]int, n)
	for i, v := range m.Hessian.Values {
		h[i] = float64(v)
	}
	for i := range n {
		order[i] = i
		mean += h[i*n+i] / float64(n)
	}
	if act {
		slices.SortStableFunc(order, func(a, b int) int { return int(math.Copysign(1, h[b*n+b]-h[a*n+a])) })
	}
	for i := range n {
		h[i*n+i] += damping * mean
	}
	inverse := inverted(h, n)
	w := make([]float64, len(m.Matrix))
	for i, v := range m.Matrix {
		w[i] = float64(v)
	}
	codes = make([]int8, len(w))
	for _, c := range order {
		d := inverse[c*n+c]
		for r := range m.Out {
			k := r * (len(e.Scales) / m.Out)
			if e.Block > 0 {
				k += c / e.Block
			}
			steps := w[r*n+c] / float64(e.Scales[k])
			if math.Abs(steps-math.Floor(steps)-0.5) < 1e-3 {
				near++
			}
			code := e.Code(float32(w[r*n+c]), k)
			codes[r*n+c] = int8(code)
			miss := (w[r*n+c] - float64(e.Scales[k])*float64(code)) / d
			for j := range n {
				w[r*n+j] -= miss * inverse[c*n+j]
			}
		}
		pivot := slices.Clone(inverse[c*n : (c+1)*n])
		for i := range n { // strike c out
			for j := range n {
				inverse[i*n+j] -= pivot[i] * pivot[j] / d
			}
		}
		for i := range n {
			inverse[c*n+i], inverse[i*n+c] = 0, 0
		}
	}
	return codes, near
}

// inverted returns the inverse of a symmetric matrix, by Gauss and Jordan.
func inverted(a []float64, n int) []float64 {
	a = slices.Clone(a)
	b := make([]float64, n*n)
	for i := range n {
		b[i*n+i] = 1
	}
	for c := range n {
		p := a[c*n+c]
		for j := range n {
			a[c*n+j] /= p
			b[c*n+j] /= p
		}
		for r := range n {
			if f := a[r*n+c]; r != c && f != 0 {
				for j := range n {
					a[r*n+j] -= f * a[c*n+j]
					b[r*n+j] -= f * b[c*n+j]
				}
			}
		}
	}
	return b
}

// TestRulesOnDemoWeights: on maps of the demo base, each rule lowers the error that it looks
// at: mse-clip that of the weights, seqmse and gptq that of the output.
func TestRulesOnDemoWeights(t *testing.T) {
	m := demoModel(t)
	for _, l := range m.Base.Layers[2:4] {
		for _, f := range weightFormats4 {
			const n = 900
			x := correlated(n, l.Gate.In)
			part := &Map{Name: l.Gate.Name, Matrix: l.Gate.Weight()[:64*l.Gate.In], Out: 64, In: l.Gate.In, Format: f, Hessian: hessianOf(t, x, l.Gate.In, 0)}
			output, weights := map[string]float64{}, map[string]float64{}
			for _, rule := range RoundingNames() {
				w := rounded(t, &Recipe{Weights: rule, GPTQ: GPTQ{ActOrder: true}}, part)
				output[rule] = outputError(part, w, x)
				d := w.Dequantize()
				subtract(d, part.Matrix)
				weights[rule] = dot64(d, d)
			}
			if weights[RoundMSEClip] >= weights[RoundNearest] {
				t.Errorf("%s, %s: mse-clip has the error %g of the weights, rtn %g", l.Gate.Name, f, weights[RoundMSEClip], weights[RoundNearest])
			}
			if output[RoundSeqMSE] >= 0.95*output[RoundNearest] || output[RoundGPTQ] >= 0.5*output[RoundSeqMSE] {
				t.Errorf("%s, %s: errors of the output are %v", l.Gate.Name, f, output)
			}
		}
	}
}

// TestUpperHessian: half of a symmetric matrix measures the errors of all of it.
func TestUpperHessian(t *testing.T) {
	const out, n = 5, 70
	for _, in := range []int{8, panel, panel + 3, 3*panel + 64} {
		x, d := correlated(n, in), normal(out*in, 0.1)
		all, half := sized(in, wantAll, 0, nil, ranks.Alone{}), sized(in, wantUpper, 0, nil, ranks.Alone{})
		for _, h := range []*Hessian{all, half} {
			h.add(x)
			if err := h.finish("x"); err != nil {
				t.Fatal(err)
			}
		}
		if in > 2*panel && len(half.Values) > len(all.Values)*3/4 {
			t.Errorf("%d inputs: half has %d values, all %d", in, len(half.Values), len(all.Values))
		}
		want, got := make([]float64, out), make([]float64, out)
		all.errors(want, d, encoding.Encoding{})
		half.errors(got, d, encoding.Encoding{})
		for i := range want {
			if math.Abs(got[i]-want[i]) > 1e-5*want[i] {
				t.Errorf("%d inputs, row %d: error %g, want %g", in, i, got[i], want[i])
			}
		}
		for i := range in {
			square, _ := all.at(i)
			if kept, _ := half.at(i); kept[0] != square[0] {
				t.Fatalf("%d inputs: the square of input %d is %g, want %g", in, i, kept[0], square[0])
			}
		}
	}
}

// TestRoundingOnAnyCores: one core gives the codes of two.
func TestRoundingOnAnyCores(t *testing.T) {
	const out, in, n = 150, 288, 300
	x := correlated(n, in)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, f := range weightFormats4 {
		for _, rule := range RoundingNames() {
			var want *Weight
			for _, cores := range []int{1, 2, 3} {
				runtime.GOMAXPROCS(cores)
				m := &Map{Name: "w", Matrix: normal(out*in, 0.1), Out: out, In: in, Format: f, Hessian: hessianOf(t, x, in, 0)}
				got := rounded(t, &Recipe{Weights: rule, SeqMSE: SeqMSE{Candidates: 5}}, m)
				if want == nil {
					want = got
				}
				if !slices.Equal(got.Codes, want.Codes) || !got.Equal(want.Encoding) {
					t.Errorf("%s, %s: %d cores give other codes than one", rule, f, cores)
				}
			}
		}
	}
}

func TestRoundingErrors(t *testing.T) {
	const in = 8
	m := &Map{Name: "w", Matrix: normal(2*in, 1), Out: 2, In: in, Format: encoding.Format{Bits: 4}, Hessian: hessianOf(t, correlated(20, in), in, 0)}
	for want, f := range map[string]encoding.Format{
		"w.weight: rows of 8 weights cannot be cut into blocks of 3; blocks of these sizes fit: 8":                  {Bits: 4, Block: 3},
		"w.weight: no weights are quantized to int16; want 4 or 8 signed bits":                                      {Bits: 16},
		"w.weight: int4 with low-power scales: low-power blockwise scales are for blocks of signed symmetric codes": {Bits: 4, LowPower: true},
	} {
		for _, rule := range RoundingNames() {
			c := *m
			c.Format = f
			if _, err := roundings.Get(rule).scales(&Recipe{}, &c); err == nil || err.Error() != want {
				t.Errorf("%s: %v, want %s", rule, err, want)
			}
		}
	}
	for name, want := range map[string]string{"gtpq": `weights is "gtpq"; did you mean "gptq"? It must be one of rtn, mse-clip, seqmse, gptq`} {
		if err := RoundWeights(t.Context(), demoModel(t), &Quantized{}, RoundOptions{Recipe: &Recipe{Weights: name}}); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	_, err := gptqScales(&Recipe{GPTQ: GPTQ{Scales: "mse"}}, m)
	if want := `gptq.scales is "mse"; it must be one of rtn, mse-clip, seqmse`; err == nil || !strings.HasPrefix(err.Error(), `gptq.scales is "mse"`) {
		t.Errorf("error %v, want %s", err, want)
	}
	bad := testHessian(2, 0)
	bad.add([]float32{1, 2, 3, float32(math.NaN())})
	if err := bad.finish("w"); err == nil || !strings.HasPrefix(err.Error(), "input 1 of w holds NaN or infinity on these samples") {
		t.Errorf("error %v", err)
	}
	bad = testHessian(4, 2)
	bad.add([]float32{1, 2, 3e30, 1})
	if err := bad.finish("w"); err == nil || !strings.HasPrefix(err.Error(), "input 2 of w holds NaN or infinity") {
		t.Errorf("error %v", err)
	}
	indefinite := &Hessian{In: 2, Values: []float32{1, 5, 5, 1}}
	if _, err := gptqFactor(&Recipe{}, indefinite); err == nil || err.Error() != "gptq: the matrix is not positive definite with a damping of 0.01; raise gptq.damping" {
		t.Errorf("error %v", err)
	}
}

// TestReorder: rows and columns of any permutation.
func TestReorder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for n := range 9 {
		order := random.Perm(n)
		a := normal(n*n, 1)
		b := slices.Clone(a)
		reorder(b, n, order)
		for i := range n * n {
			if want := a[order[i/n]*n+order[i%n]]; b[i] != want {
				t.Fatalf("order %v: element %d is %g, want %g", order, i, b[i], want)
			}
		}
	}
}

// benchmarked are the sizes of Qwen2.5-0.5B's feed-forward maps.
var benchmarked = []struct{ out, in int }{{896, 4864}, {4864, 896}}

func BenchmarkRounding(b *testing.B) {
	for _, size := range benchmarked {
		x := correlated(512, size.in)
		h := hessianOf(b, x, size.in, 0)
		w := normal(size.out*size.in, 0.02)
		for _, f := range weightFormats4 {
			for _, rule := range RoundingNames() {
				b.Run(fmt.Sprintf("%dx%d/%s/%s", size.out, size.in, strings.ReplaceAll(f.String(), " ", "-"), rule), func(b *testing.B) {
					m := &Map{Name: "w", Matrix: w, Out: size.out, In: size.in, Format: f, Hessian: h}
					for b.Loop() {
						rounded(b, &Recipe{Weights: rule, GPTQ: GPTQ{ActOrder: true, Scales: RoundNearest}}, m)
					}
				})
			}
		}
	}
}

func BenchmarkHessian(b *testing.B) {
	for _, in := range []int{896, 4864} {
		for _, block := range []int{0, 32} {
			b.Run(fmt.Sprintf("%d/block=%d", in, block), func(b *testing.B) {
				x, h := normal(512*in, 1), testHessian(in, block)
				for b.Loop() {
					h.add(x)
				}
				b.ReportMetric(512*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
			})
		}
	}
}

// testHessian is all of a Hessian, or blocks of it.
func testHessian(in, block int) *Hessian {
	if block > 0 {
		return sized(in, wantBlocks, block, nil, ranks.Alone{})
	}
	return sized(in, wantAll, 0, nil, ranks.Alone{})
}
