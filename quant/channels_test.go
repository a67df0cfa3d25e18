package quant

import (
	"errors"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model"
	"eisft/model/modeltest"
)

// TestChannels compares with what a tap keeps of everything.
func TestChannels(t *testing.T) {
	m := openTrained(t, testfiles.Base(t, "qwen2"), blocks(t)["eisft"])
	a, b := modeltest.Tokens(m, 150), modeltest.Tokens(m, 200)[40:]
	seen, err := CollectChannels(t.Context(), m, texts(a, b, make([]int32, 3)))
	if err != nil {
		t.Fatal(err)
	}
	if seen.Samples != 2 || seen.Tokens != len(a)+len(b) {
		t.Errorf("%d samples and %d tokens", seen.Samples, seen.Tokens)
	}
	all, lock := map[string][]float32{}, sync.Mutex{}
	for _, ids := range [][]int32{a, b} {
		compute(t, m, newTaps(m, false, false, func(point string, x []float32) {
			lock.Lock()
			defer lock.Unlock()
			all[point] = append(all[point], slices.Clone(x)...)
		}).wrap, ids, false)
	}
	if want := 4*len(m.Base.Layers) + 1; len(seen.points) != want {
		t.Errorf("%d points, want %d", len(seen.points), want)
	}
	for point, ch := range seen.points {
		width := len(ch.Max)
		want := statistics(all[point], width)
		if apart(ch.Max, want.Max) != 0 || apart(ch.Mean, want.Mean) > 1e-5 {
			t.Errorf("%s: maximum or mean differ by %g and %g", point, apart(ch.Max, want.Max), apart(ch.Mean, want.Mean))
		}
		if n := len(ch.Rows) / width; n != sampleSize(width) {
			t.Errorf("%s: %d rows, want %d", point, n, sampleSize(width))
		}
		for row := range slices.Chunk(ch.Rows, width) {
			found := false
			for r := range slices.Chunk(all[point], width) {
				found = found || slices.Equal(r, row)
			}
			if !found {
				t.Fatalf("%s: a row was kept that no token had", point)
			}
		}
	}
}

// TestChannelsFollowNothingButSamples: not the number of cores either.
func TestChannelsFollowNothingButSamples(t *testing.T) {
	m := openTrained(t, testfiles.Base(t, "llama"), blocks(t)["eisft"])
	m.Spec.Segment, m.Spec.Window = 200, 200
	collect := func() *Channels {
		seen, err := CollectChannels(t.Context(), m, texts(modeltest.Tokens(m, 400), modeltest.Tokens(m, 300)))
		if err != nil {
			t.Fatal(err)
		}
		return seen
	}
	want := collect()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if !reflect.DeepEqual(collect(), want) {
		t.Error("one core gives other statistics")
	}
}

// TestChannelsAfter: what follows of the statistics of a transformed model is what is seen
// of it.
func TestChannelsAfter(t *testing.T) {
	for _, family := range []string{"qwen2", "stablelm"} {
		m := openTrained(t, testfiles.Base(t, family), blocks(t)["eisft"])
		ids := modeltest.Tokens(m, 200)
		seen, err := CollectChannels(t.Context(), m, texts(ids))
		if err != nil {
			t.Fatal(err)
		}
		for name, r := range recipes {
			tm, f, err := Transform(t.Context(), m, &r, seen)
			if err != nil {
				t.Fatal(err)
			}
			want, err := CollectChannels(t.Context(), tm, texts(ids))
			if err != nil {
				t.Fatal(err)
			}
			got, base := seen, m
			for i := range f.Steps {
				got = got.after(base.Base, &f.Steps[i])
				if base, err = f.Steps[i].apply(base); err != nil {
					t.Fatal(err)
				}
			}
			for point, w := range want.points {
				if d := apart(got.points[point].Rows, w.Rows); d > 1e-4 {
					t.Errorf("%s, %s, %s: rows differ by %.2g", family, name, point, d)
				}
				if d := apart(got.points[point].Mean, w.Mean); d > 0.2 {
					t.Errorf("%s, %s, %s: means differ by %.2g", family, name, point, d)
				}
			}
		}
	}
}

func TestChannelsErrors(t *testing.T) {
	m := openTrained(t, testfiles.Base(t, "llama"), blocks(t)["eisft"])
	if _, err := CollectChannels(t.Context(), m, texts(make([]int32, 3))); !errors.Is(err, ErrShort) {
		t.Errorf("short samples: %v", err)
	}
	if _, err := CollectChannels(t.Context(), m, texts()); err == nil || !strings.Contains(err.Error(), "no rows") {
		t.Errorf("no samples: %v", err)
	}
	m.Base.Norm = &model.Norm{Name: "model.norm", Weight: slices.Clone(m.Base.Norm.Weight), Eps: m.Base.Norm.Eps}
	m.Base.Norm.Weight[2] = float32(math.NaN())
	_, err := CollectChannels(t.Context(), m, texts(modeltest.Tokens(m, 50)))
	if want := "activation lm_head:in holds NaN, infinity or numbers beyond 8e6: tensor model.norm.weight holds NaN at index 2"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}
}
