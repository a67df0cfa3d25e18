package model

import (
	"math"
	"slices"
	"testing"
)

// TestSamplerFrequencies draws often and compares frequencies with the
// distribution that temperature and top-p leave.
func TestSamplerFrequencies(t *testing.T) {
	probabilities := []float64{0.1, 0.4, 0.05, 0.3, 0.15}
	for _, tc := range []struct {
		name              string
		temperature, topP float64
		want              []float64
	}{
		{"as it is", 1, 1, probabilities},
		{"nucleus", 1, 0.6, []float64{0, 4. / 7, 0, 3. / 7, 0}},
		{"nucleus of one", 1, 0.01, []float64{0, 1, 0, 0, 0}},
		{"cold", 0.5, 1, []float64{1. / 28.5, 16. / 28.5, 0.25 / 28.5, 9. / 28.5, 2.25 / 28.5}}, // squares
		{"frozen", 1e-300, 1, []float64{0, 1, 0, 0, 0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := NewSampler(tc.temperature, tc.topP, 1)
			if err != nil {
				t.Fatal(err)
			}
			const draws = 20000
			counts := make([]float64, len(probabilities))
			for range draws {
				counts[s.choose(logitsOf(probabilities))]++
			}
			for i, want := range tc.want {
				if got := counts[i] / draws; math.Abs(got-want) > 0.015 || want == 0 && got != 0 {
					t.Errorf("token %d: frequency %.3f, want %.3f", i, got, want)
				}
			}
		})
	}
}

func logitsOf(probabilities []float64) []float32 {
	out := make([]float32, len(probabilities))
	for i, p := range probabilities {
		out[i] = float32(math.Log(p)) + 100
	}
	return out
}

func TestSamplerSeed(t *testing.T) {
	draw := func(seed uint64) []int32 {
		s, err := NewSampler(1, 0.9, seed)
		if err != nil {
			t.Fatal(err)
		}
		out := make([]int32, 50)
		for i := range out {
			out[i] = s.choose(logitsOf([]float64{0.2, 0.2, 0.2, 0.2, 0.2}))
		}
		return out
	}
	if a, b := draw(1), draw(1); !slices.Equal(a, b) {
		t.Errorf("one seed drew %v and %v", a, b)
	}
	if a, b := draw(1), draw(2); slices.Equal(a, b) {
		t.Errorf("two seeds drew the same %v", a)
	}
}

func TestNewSamplerRefuses(t *testing.T) {
	nan := math.NaN()
	for _, tc := range []struct {
		temperature, topP float64
		want              string
	}{
		{-1, 1, "temperature is -1; it must be 0 (always the likeliest token) or more"},
		{nan, 1, "temperature is NaN; it must be 0 (always the likeliest token) or more"},
		{1, 0, "top-p is 0; it must be more than 0 and at most 1"},
		{0, 1.5, "top-p is 1.5; it must be more than 0 and at most 1"},
		{1, nan, "top-p is NaN; it must be more than 0 and at most 1"},
	} {
		if _, err := NewSampler(tc.temperature, tc.topP, 0); err == nil || err.Error() != tc.want {
			t.Errorf("NewSampler(%v, %v): %v, want %s", tc.temperature, tc.topP, err, tc.want)
		}
	}
	if s, err := NewSampler(0, 1, 0); s != nil || err != nil {
		t.Errorf("temperature 0 gave %v, %v; want the greedy nil", s, err)
	}
}
