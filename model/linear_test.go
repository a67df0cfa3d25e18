package model

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"eisft/model/hf"
	"eisft/model/kernels"
)

// TestLinearKeptOrNot compares maps whose weights are kept in float32 with
// such that are converted block by block, in both directions.
func TestLinearKeptOrNot(t *testing.T) {
	const in, out = 1040, 2100 // more than two blocks, the last one smaller
	r := rand.New(rand.NewPCG(1, 2))
	numbers := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		return x
	}
	data := make([]byte, 2*in*out)
	kernels.F32ToF16(data, numbers(in*out))
	bias := numbers(out)
	open := func(keep bool) *Linear {
		return &Linear{Name: "w", In: in, Out: out, Bias: bias, copies: &weightCopies{keep, keep}, tensor: hf.Tensor{Name: "w", DType: hf.DTypeF16, Shape: []int{out, in}, Data: data}}
	}
	kept, converted := open(true), open(false)
	for _, rows := range []int{1, 2, 33} {
		x, up := numbers(rows*in), numbers(rows*out)
		results := map[*Linear][2][]float32{}
		for _, l := range []*Linear{kept, converted} {
			y, dx := make([]float32, rows*out), make([]float32, rows*in)
			l.Apply(y, x)
			l.Backward(dx, up)
			results[l] = [2][]float32{y, dx}
		}
		for i, what := range []string{"forward", "backward"} {
			got, want := results[converted][i], results[kept][i]
			compareFloats(t, fmt.Sprintf("%s of %d rows", what, rows), got, want)
			if kernels.Packs() && !slices.Equal(got, want) {
				t.Errorf("%s of %d rows has other bits where weights are converted", what, rows)
			}
		}
	}
	compareFloats(t, "weight", converted.Weight(), kept.Weight())
}

// TestHold: float32 copies are made of all weights or of none.
func TestHold(t *testing.T) {
	for dtype, want := range map[DType]bool{DTypeFloat32: true, DTypeStored: false} {
		b, err := LoadBase("demo")
		if err != nil {
			t.Fatal(err)
		}
		b.Hold(dtype)
		maps := []*Linear{b.Embed}
		for _, l := range b.Layers[7].Maps() {
			maps = append(maps, l)
		}
		for _, l := range maps {
			if got := l.copiesForward(); got != want {
				t.Errorf("%s: a float32 copy of %s is %v, want %v", dtype, l.Name, got, want)
			}
		}
	}
}

// TestLinearOfOneRow compares the product with bfloat16 weights as they are
// stored, which a single row takes, with that of two rows.
func TestLinearOfOneRow(t *testing.T) {
	const in, out = 24, 7
	data, w, x := make([]byte, 2*in*out), make([]float32, in*out), make([]float32, 2*in)
	for i := range w {
		w[i] = float32(i%13) - 6
	}
	for i := range x {
		x[i] = float32(i%5) / 2
	}
	kernels.F32ToBF16(data, w)
	l := &Linear{In: in, Out: out, Bias: w[:out], copies: &weightCopies{}, tensor: hf.Tensor{DType: hf.DTypeBF16, Shape: []int{out, in}, Data: data}}
	both, first := make([]float32, 2*out), make([]float32, out)
	l.Apply(both, x)
	l.Apply(first, x[:in])
	compareFloats(t, "first row", first, both[:out])
}

func compareFloats(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if d := got[i] - want[i]; d > 1e-3 || d < -1e-3 || d != d {
			t.Fatalf("%s: value %d is %g, want %g", what, i, got[i], want[i])
		}
	}
}
