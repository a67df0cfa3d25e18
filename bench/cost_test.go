package bench

import (
	"runtime"
	"strings"
	"testing"

	"eisft/model"
	"eisft/model/kernels"
	"eisft/model/modeltest"
)

// TestCosts: a bounded state stays as it is while one that is not grows with the tokens, by
// keys, values and turned keys of 8 layers with K = 2 and d = 64.
func TestCosts(t *testing.T) {
	s := modeltest.DefaultBlock(t)
	s.Window, s.Segment, s.Slots = 16, 32, 16
	bounded := modeltest.Open(t, "../model/demo", s)
	full, err := model.New(bounded.Base, model.FullAttention(32), nil)
	if err != nil {
		t.Fatal(err)
	}
	costs, err := Costs(t.Context(), []Policy{{"eisft", bounded}, {"full", full}}, []int{96, 192}, Options{Runs: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(costs) != 4 {
		t.Fatalf("%d costs, want 4", len(costs))
	}
	for i, c := range costs {
		if c.Policy != []string{"eisft", "eisft", "full", "full"}[i] || c.Tokens != []int{96, 192}[i%2] ||
			c.FirstToken <= 0 || c.ReadPerSecond <= 0 || c.WrittenPerSecond <= 0 {
			t.Errorf("cost %d: %+v", i, c)
		}
		if cores := float64(kernels.Threads()); runtime.GOOS == "linux" && (c.FirstTokenCPU <= 0 || c.FirstTokenCPU > 2*cores*c.FirstToken+0.1 || c.WrittenCPU <= 0) {
			t.Errorf("cost %d: %g and %g CPU seconds in %g seconds until the first token", i, c.FirstTokenCPU, c.WrittenCPU, c.FirstToken)
		}
	}
	const token = 8 * 2 * 4 * (3*64 + 1)                                                        // its index beside
	kept := int64(40*(token+8*2*4) + 8*4*model.Memory{Spec: s, Dims: bounded.Base.Dims}.Size()) // with scores
	if a, b := costs[0].State, costs[1].State; a != kept || b != kept {
		t.Errorf("bounded state: %d bytes after 96 tokens, %d after 192, want %d", a, b, kept)
	}
	if a, b := costs[2].State, costs[3].State; a != 96*token || b != 192*token {
		t.Errorf("state of full attention: %d and %d bytes, want %d and %d", a, b, 96*token, 192*token)
	}
	var text strings.Builder
	if err := WriteCosts(&text, costs); err != nil {
		t.Fatal(err)
	}
	if got := text.String(); strings.Count(got, "\n") != 5 || !strings.Contains(got, "written tokens/s") {
		t.Errorf("table:\n%s", got)
	}
}

func TestCostsErrors(t *testing.T) {
	p := []Policy{{"eisft", demo(t)}}
	if _, err := Costs(t.Context(), p, []int{8}, Options{}); err == nil || err.Error() != "runs is 0; it must be at least 1" {
		t.Errorf("error %v", err)
	}
	if _, err := Costs(t.Context(), p, []int{0}, Options{Runs: 1}); err == nil || err.Error() != "tokens is 0; it must be at least 1" {
		t.Errorf("error %v", err)
	}
}
