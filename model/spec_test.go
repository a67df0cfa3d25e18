package model_test

import (
	"testing"

	"eisft/model"
	"eisft/model/modeltest"
)

// TestZeroSpec: a Spec of which only sizes are known has no memory and no gate.
func TestZeroSpec(t *testing.T) {
	s := model.Spec{Sink: 1, Window: 2, Segment: 3}
	if s.HasMemory() || s.HasScore() || s.GateIsColumn() || s.FeatureSize(8) != 0 {
		t.Errorf("sizes alone: memory %t, score %t, column %t, features %d; want none", s.HasMemory(), s.HasScore(), s.GateIsColumn(), s.FeatureSize(8))
	}
	p := model.NewParams(s, model.Dims{Heads: 2, KVHeads: 1, HeadDim: 8, Hidden: 16}, 2)
	if n := p.Count(); n != 0 {
		t.Errorf("sizes alone: %d parameters, want 0", n)
	}
}

func TestSpecWords(t *testing.T) {
	if err := modeltest.DefaultBlock(t).Validate(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(s *model.Spec){
		`memory is ""; it must be one of none, linear, delta`:                                       func(s *model.Spec) { s.Memory = "" },
		`memory is "Linear"; did you mean "linear"? It must be one of none, linear, delta`:          func(s *model.Spec) { s.Memory = "Linear" },
		`positions is ""; it must be one of compact, absolute`:                                      func(s *model.Spec) { s.Positions = "" },
		`gate is "slots"; did you mean "slot"? It must be one of scalar, vector, query, slot, mass`: func(s *model.Spec) { s.Gate = "slots" },
		`feature is "hedghog"; did you mean "hedgehog"? It must be one of elu, hedgehog`:            func(s *model.Spec) { s.Feature = "hedghog" },
		`retention.form is "mpl"; it must be one of linear, mlp`:                                    func(s *model.Spec) { s.Retention.Form = "mpl" },
		`retention.hidden is 0; an mlp must have 1 to 16384 hidden units`:                           func(s *model.Spec) { s.Retention.Form = model.RetentionMLP },
		`retention.hidden is 3, but the form is linear and has no hidden units; set retention.form: mlp or leave hidden out`: func(s *model.Spec) {
			s.Retention.Hidden = 3
		},
		`retention is linear with decay, but there are no slots that it could choose tokens for; set slots above 0 or leave retention out`: func(s *model.Spec) {
			s.Slots, s.Retention.Decay = 0, true
		},
		`map and write_gate belong to the memory, but memory is none; switch them off or set memory: linear`: func(s *model.Spec) { s.Memory, s.Map = model.MemoryNone, true },
	} {
		s := modeltest.DefaultBlock(t)
		change(&s)
		if err := s.Validate(); err == nil || err.Error() != want {
			t.Errorf("error %v\nwant  %s", err, want)
		}
	}
	want := `preset is "eist"; did you mean "eisft"? It must be one of edgeinfinite, eisft, infini`
	if _, err := model.Preset("eist"); err == nil || err.Error() != want {
		t.Errorf("error %v\nwant  %s", err, want)
	}
}
