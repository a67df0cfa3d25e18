package eval

import (
	"slices"
	"strings"
	"testing"

	"eisft/model"
)

// slotModel is the demo base beside a small block whose slots decide something.
func slotModel(t *testing.T, m *model.Model, change func(*model.Spec)) *model.Model {
	t.Helper()
	spec, err := model.Preset("eisft")
	if err != nil {
		t.Fatal(err)
	}
	spec.Sink, spec.Window, spec.Segment, spec.Slots = 2, 16, 16, 8
	if change != nil {
		change(&spec)
	}
	small, err := model.New(m.Base, spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range small.Params.List() {
		for i := range p.Data {
			p.Data[i] += float32(i%7-3) / 40
		}
	}
	return small
}

// TestLossesOfSlots: side by side, each choice of layers with slots has the losses that it has
// alone, bit by bit, in fewer readings: where the first answer is long behind the window and
// where the first prompt is held.
func TestLossesOfSlots(t *testing.T) {
	m, tk, tpl := openDemo(t)
	long := strings.Replace(conversation, `"content":"`, `"content":"`+strings.Repeat("The garage code is 4711. ", 4), 1)
	for name, tc := range map[string]struct {
		rows   string
		change func(*model.Spec)
		most   float64 // readings
	}{
		"long":      {long, func(s *model.Spec) { s.SlotLayers = []int{0, 3, 5, 7} }, 3.6},
		"held":      {conversation, func(s *model.Spec) { s.SlotLayers, s.Window = []int{2, 6, 7}, 48 }, 3},
		"no memory": {long, func(s *model.Spec) { s.Memory, s.Feature, s.Gate, s.SlotLayers = model.MemoryNone, "", "", []int{6, 7} }, 1.7},
		"absolute":  {long, func(s *model.Spec) { s.Positions, s.SlotLayers = model.PositionsAbsolute, []int{1, 4} }, 3},
	} {
		t.Run(name, func(t *testing.T) {
			m := slotModel(t, m, tc.change)
			samples, err := loadRows(t, tk, tpl, tc.rows, 0)
			if err != nil {
				t.Fatal(err)
			}
			all := m.SlotLayers()
			choices := [][]int{all, nil, all[1:]}
			for _, l := range all[1:] {
				choices = append(choices, slices.DeleteFunc(slices.Clone(all), func(x int) bool { return x == l }))
			}
			read := 0
			got, err := LossesOfSlots(t.Context(), m, samples, model.StreamOptions{}, choices, func() { read++ })
			if err != nil {
				t.Fatal(err)
			}
			if read != len(choices)*len(samples) {
				t.Errorf("read %d times, want %d", read, len(choices)*len(samples))
			}
			seen := map[float64]bool{}
			for i, c := range choices {
				alone, err := m.KeepSlots(c)
				if err != nil {
					t.Fatal(err)
				}
				want, err := TurnLosses(t.Context(), alone, samples, model.StreamOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got.Losses[i], want) {
					t.Errorf("slots in %v: losses %v, want %v", c, got.Losses[i], want)
				}
				seen[want[len(want)-1].NLL] = true
			}
			if len(seen) < len(choices)-1 {
				t.Errorf("%d of %d choices differ: the test sees too little", len(seen), len(choices))
			}
			tokens := 0
			for _, s := range samples {
				tokens += s.Turns[len(s.Turns)-1].End - 1
			}
			if readings := float64(got.Rows) / float64(tokens*len(m.Base.Layers)); readings > tc.most || readings < 1 {
				t.Errorf("%.2f readings of %d choices, want at most %v", readings, len(choices), tc.most)
			}
		})
	}
}
