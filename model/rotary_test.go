package model_test

import (
	"math"
	"math/cmplx"
	"math/rand/v2"
	"strings"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/hf"
	"eisft/model/modeltest"
)

// TestPartialRotary turns two of three pairs of a head of 8 and compares with
// products of complex numbers; the inverse restores what was there.
func TestPartialRotary(t *testing.T) {
	const heads, d = 3, 8
	r := &model.Rotary{InvFreq: []float32{1, 0.25, 0.0625}, Scale: 1}
	rnd := rand.New(rand.NewPCG(1, 2))
	pos := []int{0, 5, -3, 1000}
	x := make([]float32, len(pos)*heads*d)
	for i := range x {
		x[i] = float32(rnd.NormFloat64())
	}
	want := append([]float32{}, x...)
	for i := range len(pos) * heads {
		head, p := want[i*d:(i+1)*d], pos[i/heads]
		for j, f := range r.InvFreq {
			z := complex(float64(head[j]), float64(head[j+3])) * cmplx.Exp(complex(0, float64(p)*float64(f)))
			head[j], head[j+3] = float32(real(z)), float32(imag(z))
		}
	}
	cos, sin := r.At(pos)
	got := make([]float32, len(x))
	model.RotateRows(got, x, len(pos), heads, d, cos, sin, false)
	modeltest.Near(t, "turned", got, want, 1e-6)
	model.RotateRows(got, got, len(pos), heads, d, cos, sin, true)
	modeltest.Near(t, "turned back", got, x, 1e-6)
}

func TestRotaryRange(t *testing.T) {
	r := &model.Rotary{InvFreq: []float32{1, 0.1}, Scale: 2}
	for _, span := range [][2]int{{0, 1}, {3, 10}, {0, 7}, {9, 300}, {20000, 20003}, {16383, 16385}} {
		var pos []int
		for p := span[0]; p < span[1]; p++ {
			pos = append(pos, p)
		}
		cos, sin := r.Range(span[0], span[1])
		wantCos, wantSin := r.At(pos)
		modeltest.Near(t, "cos", cos, wantCos, 0)
		modeltest.Near(t, "sin", sin, wantSin, 0)
	}
	if cos, _ := r.At([]int{1}); math.Abs(float64(cos[0])-2*math.Cos(1)) > 1e-6 {
		t.Errorf("cos %g", cos[0])
	}
}

func TestRotaryLimit(t *testing.T) {
	dir := testfiles.Base(t, "phi3")
	ck, err := hf.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ck.Close() }()
	for kind, want := range map[string]int{"default": 0, "linear": 0, "dynamic": 128, "llama3": 0, "yarn": 0, "longrope": 128} {
		c, err := hf.LoadConfig(dir)
		if err != nil {
			t.Fatal(err)
		}
		c.RopeLocal.Type, c.RopeLocal.LowFreqFactor, c.RopeLocal.HighFreqFactor = kind, 1, 4
		b, err := model.NewBase(c, ck)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.Layers[0].Rotary.Limit; got != want {
			t.Errorf("%s: limit %d, want %d", kind, got, want)
		}
	}
}

// TestLongRopeIsRefusedBeyondItsLength reads Phi-3's golden, whose frequencies
// change beyond 128 tokens, and Ministral 3's, whose queries grow there, up to there and
// beyond: compact positions of a small block get there never, all others are refused.
func TestLongRopeIsRefusedBeyondItsLength(t *testing.T) {
	for _, name := range []string{"phi3", "ministral3"} {
		t.Run(name, func(t *testing.T) { testRefusedBeyond128(t, name) })
	}
}

func testRefusedBeyond128(t *testing.T, family string) {
	b := openFamily(t, testfiles.Base(t, family), func(w model.Tensors) model.Tensors { return w })
	compact := model.Spec{Sink: 4, Window: 32, Segment: 32, Positions: model.PositionsCompact, Memory: model.MemoryNone}
	absolute := compact
	absolute.Positions = model.PositionsAbsolute
	for name, tc := range map[string]struct {
		spec model.Spec
		fits int
	}{
		"compact": {compact, 1000}, "absolute": {absolute, 128}, "full attention": {model.FullAttention(16), 128},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := model.New(b, tc.spec, nil)
			if err != nil {
				t.Fatal(err)
			}
			st := m.NewStream(model.StreamOptions{NoRouting: true})
			if err := st.Feed(t.Context(), make([]int32, tc.fits), 0, nil); err != nil {
				t.Fatal(err)
			}
			if tc.fits == 1000 {
				return
			}
			err = st.Feed(t.Context(), make([]int32, 1), 0, nil)
			if want := "position 128 is out of reach: the base's rotary embedding has other frequencies, or its queries another scale, for sequences of more than 128 tokens"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		})
	}
}
