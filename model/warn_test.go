package model_test

import (
	"strings"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model"
)

func TestWarnings(t *testing.T) {
	spec := model.Spec{Sink: 2, Window: 5, Segment: 4, Slots: 6, Positions: model.PositionsCompact, Memory: model.MemoryNone}
	absolute := spec
	absolute.Positions = model.PositionsAbsolute
	for name, c := range map[string]struct {
		spec    model.Spec
		context int
		want    string // "" for none
	}{
		"fits":             {spec, 17, ""},
		"beyond":           {spec, 16, "the block shows 17 tokens at once (sink 2 + slots 6 + window 5 + segment 4), but the base was trained on texts of 16"},
		"absolute":         {absolute, 16, ""},
		"full attention":   {model.FullAttention(8), 16, ""},
		"sliding":          {model.Spec{Window: 8, Segment: 4, Positions: model.PositionsCompact, Memory: model.MemoryNone}, 17, "2 of 3 layers of the base see a window of 11 tokens, fewer than the 12 that the block shows at once"},
		"sliding and fits": {model.Spec{Window: 7, Segment: 4, Positions: model.PositionsCompact, Memory: model.MemoryNone}, 17, ""},
	} {
		family := "phi3"
		if strings.HasPrefix(name, "sliding") {
			family = "gemma3"
		}
		b := openFamily(t, testfiles.Base(t, family), func(w model.Tensors) model.Tensors { return w })
		config := *b.Config
		config.MaxPositionEmbeddings = c.context
		b.Config = &config
		if family == "phi3" {
			for _, l := range b.Layers {
				l.SlidingWindow = 0
			}
		}
		m, err := model.New(b, c.spec, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(m.Warnings(), "; ")
		if c.want == "" && got != "" || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
