package model_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"eisft/model"
	"eisft/model/modeltest"
)

// generate reads a prompt and writes what follows.
func generate(t *testing.T, st *model.Stream, prompt []int32, o model.GenerateOptions) []int32 {
	t.Helper()
	next, err := st.Read(t.Context(), prompt, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := st.Generate(t.Context(), next, o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestGenerateDemoGolden compares a greedy answer with the reference's, which
// ends with the stop token.
func TestGenerateDemoGolden(t *testing.T) {
	_, ids := openGolden(t, "demo/golden.safetensors")
	st := openFull(t, "demo").NewStream(model.StreamOptions{})
	want := ids("greedy")
	answer, stop := want[:len(want)-1], want[len(want)-1:]
	var called []int32
	got := generate(t, st, ids("input_ids"), model.GenerateOptions{
		MaxNewTokens: 50, Stop: []int32{0, stop[0]},
		Token: func(id int32) error { called = append(called, id); return nil },
	})
	if !slices.Equal(got, answer) || !slices.Equal(called, answer) {
		t.Errorf("generated %v and called with %v, want %v", got, called, answer)
	}
	if want := len(ids("input_ids")) + len(answer); st.Seen() != want {
		t.Errorf("the stream has read %d tokens, want %d: the prompt and what was returned", st.Seen(), want)
	}
}

func TestGenerateEnds(t *testing.T) {
	e := modeltest.OpenEdge(t, "retain-memory")
	all := generate(t, e.Model.NewStream(model.StreamOptions{}), e.IDs, model.GenerateOptions{MaxNewTokens: 40})
	if len(all) != 40 {
		t.Fatalf("%d tokens, want all 40", len(all))
	}
	stop := all[7]
	first := slices.Index(all, stop)
	failed := errors.New("the reader has gone")
	for name, tc := range map[string]struct {
		options model.GenerateOptions
		want    int
		err     error
	}{
		"at once":   {model.GenerateOptions{}, 0, nil},
		"limit":     {model.GenerateOptions{MaxNewTokens: 5}, 5, nil},
		"stop":      {model.GenerateOptions{MaxNewTokens: 40, Stop: []int32{-1, stop}}, first, nil},
		"callback":  {model.GenerateOptions{MaxNewTokens: 40, Token: func(int32) error { return failed }}, 1, failed},
		"cancelled": {model.GenerateOptions{MaxNewTokens: 40}, 3, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			st, ctx := e.Model.NewStream(model.StreamOptions{}), t.Context()
			if errors.Is(tc.err, context.Canceled) {
				c, cancel := context.WithCancel(ctx)
				n := 0
				ctx, tc.options.Token = c, func(int32) error {
					if n++; n == tc.want {
						cancel()
					}
					return nil
				}
			}
			next, err := st.Read(t.Context(), e.IDs, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := st.Generate(ctx, next, tc.options)
			if !slices.Equal(got, all[:tc.want]) || !errors.Is(err, tc.err) {
				t.Errorf("generated %v, %v; want %v, %v", got, err, all[:tc.want], tc.err)
			}
			if n, most := st.State.Parts(0).Stored(), e.Model.Spec.Capacity(); n > most {
				t.Errorf("%d tokens are stored, at most %d may be", n, most)
			}
		})
	}
}

func TestReadNothing(t *testing.T) {
	e := modeltest.OpenEdge(t, "retain-memory")
	if _, err := e.Model.NewStream(model.StreamOptions{}).Read(t.Context(), nil, nil); err == nil {
		t.Error("reading no tokens gave no error")
	}
}

func TestReadProgress(t *testing.T) {
	e := modeltest.OpenEdge(t, "retain-memory")
	var done []int
	if _, err := e.Model.NewStream(model.StreamOptions{}).Read(t.Context(), e.IDs[:40], func(n int) { done = append(done, n) }); err != nil {
		t.Fatal(err)
	}
	if want := []int{16, 32, 40}; !slices.Equal(done, want) {
		t.Errorf("progress %v, want %v", done, want)
	}
}

func TestGenerateFromBrokenLogits(t *testing.T) {
	e := modeltest.OpenEdge(t, "retain-memory")
	warm, err := model.NewSampler(1, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*model.Sampler{nil, warm} {
		next := make([]float32, 64)
		for i := range next {
			next[i] = float32(math.NaN())
		}
		_, err := e.Model.NewStream(model.StreamOptions{}).Generate(t.Context(), next, model.GenerateOptions{MaxNewTokens: 1, Sampler: s})
		if err == nil {
			t.Error("logits that are not numbers gave no error")
		}
	}
}
