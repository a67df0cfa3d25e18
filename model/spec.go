package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"eisft/internal/enum"
	"eisft/internal/errtext"
	"eisft/model/schedule"
)

// Spec describes an EdgeInfinite block: the sizes of its state and the
// switches of its formulas. Sizes are in tokens. It is what an adapter is
// saved with, what the training graph is built from and what an exported
// graph is made for.
type Spec struct {
	// Sink is S, the first tokens of the sequence that are kept for ever.
	Sink int `yaml:"sink" json:"sink"`
	// Window is W, the last tokens that are kept exactly.
	Window int `yaml:"window" json:"window"`
	// Segment is L, how many tokens are read before the state is updated.
	Segment int `yaml:"segment" json:"segment"`
	// Slots is R, how many older tokens each KV head keeps by retention score.
	Slots int `yaml:"slots" json:"slots"`
	// SlotLayers are the layers that have slots, in ascending order; nil: all. Few
	// layers of a language model look tokens up far back (retrieval heads, Wu et al.,
	// arXiv 2404.15574); the others see sinks, window and memory alone.
	SlotLayers []int `yaml:"slot_layers,omitempty" json:"slot_layers,omitempty"`
	// Retention is the form of the score that chooses the tokens of the slots.
	Retention Retention `yaml:"retention,omitzero" json:"retention,omitzero"`
	// Positions says which rotary positions visible keys get.
	Positions Positions `yaml:"positions" json:"positions"`
	// Memory is the update rule of the compressive memory, or none.
	Memory Update `yaml:"memory" json:"memory"`
	// Feature is the feature map of the compressive memory.
	Feature Feature `yaml:"feature" json:"feature"`
	// FeatureDim is f, the columns of the hedgehog map; 0 is the head size.
	FeatureDim int `yaml:"feature_dim" json:"feature_dim"`
	// Gate is how the memory's read enters the attention.
	Gate Gate `yaml:"gate" json:"gate"`
	// Map adds a learned linear map of the memory's read.
	Map bool `yaml:"map" json:"map"`
	// WriteGate weighs what is written to the memory (only without slots).
	WriteGate bool `yaml:"write_gate" json:"write_gate"`
}

// Positions is the rule that gives visible keys their rotary positions.
type Positions string

// Update is the update rule of the compressive memory (docs/method.md, section 4).
type Update string

// The values of a Spec's switches.
const (
	PositionsCompact  Positions = "compact"  // 0, 1, 2, … over what is visible
	PositionsAbsolute Positions = "absolute" // the token's index in the sequence

	MemoryNone   Update = "none"
	MemoryLinear Update = "linear" // Infini-attention, eq. 4
	MemoryDelta  Update = "delta"  // Infini-attention, eq. 5
)

// Corrects says whether what the memory already answers to a key is taken off the value
// before that is written.
func (u Update) Corrects() bool { return u == MemoryDelta }

// presets are the published blocks, with the sizes that measured best on the
// demo base. The bodies of the EdgeInfinite papers leave gate and feature map
// open: "edgeinfinite" is our reading of them.
var presets = enum.NewTable[string, Spec]("preset").
	With("edgeinfinite", Spec{Sink: 8, Window: 256, Segment: 256, Positions: PositionsCompact, Memory: MemoryLinear, Feature: FeatureELU, Gate: GateVector, Map: true}).
	With("eisft", Spec{Sink: 8, Window: 256, Segment: 256, Slots: 256, Positions: PositionsCompact, Memory: MemoryLinear, Feature: FeatureHedgehog, Gate: GateSlot}).
	With("infini", Spec{Sink: 0, Window: 0, Segment: 256, Positions: PositionsCompact, Memory: MemoryLinear, Feature: FeatureELU, Gate: GateScalar})

// PresetNames lists the presets.
func PresetNames() []string { return presets.Names() }

// Preset returns the block published under a name: "infini"
// (arXiv 2404.07143), "edgeinfinite" (arXiv 2503.22196, our reading) or
// "eisft" (slots beside a hedgehog memory, the default).
func Preset(name string) (Spec, error) { return presets.Find(name) }

// HasMemory says whether the block has a compressive memory.
func (s Spec) HasMemory() bool { return s.Memory != "" && s.Memory != MemoryNone }

// HasScore says whether a score is kept with every token: the retention score
// or the write gate's logit.
func (s Spec) HasScore() bool { return s.Slots > 0 || s.WriteGate }

// At returns the block of one layer: s with slots or without, as SlotLayers says.
func (s Spec) At(layer int) Spec {
	if s.SlotLayers != nil && !slices.Contains(s.SlotLayers, layer) {
		s.Slots = 0
	}
	s.SlotLayers = nil
	return s
}

// Alone returns the block of a base that has one layer, which is as that layer is in s.
func (s Spec) Alone(layer int) Spec {
	if s.SlotLayers != nil {
		only := []int{}
		if slices.Contains(s.SlotLayers, layer) {
			only = append(only, 0)
		}
		s.SlotLayers = only
	}
	return s
}

// UnmarshalJSON refuses keys that a block does not have: whatever they ask for, it would not be
// computed.
func (s *Spec) UnmarshalJSON(text []byte) error {
	type plain Spec
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode((*plain)(s))
	if err == nil {
		return nil
	}
	if key, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
		return fmt.Errorf("block has the key %s, which this version of eisft does not know; a later version wrote it, or the file was edited: take that version, or the file as it was", key)
	}
	return errtext.JSON("block", err)
}

// Equal says whether two blocks are the same.
func (s Spec) Equal(t Spec) bool { return s.Difference(t) == "" }

// Difference names the first field in which s differs from t, "slots 256, but 128", or
// returns "" if there is none.
func (s Spec) Difference(t Spec) string {
	s.Retention, t.Retention = s.Retention.canonical(), t.Retention.canonical()
	a, b := reflect.ValueOf(s), reflect.ValueOf(t)
	for i := range a.NumField() {
		if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
			return fmt.Sprintf("%s %s, but %s", name, shownField(a.Field(i)), shownField(b.Field(i)))
		}
	}
	return ""
}

// shownField is a field's value for a message.
func shownField(v reflect.Value) string {
	if v.Kind() == reflect.Slice && v.IsNil() {
		return "all" // SlotLayers
	}
	return fmt.Sprint(v)
}

// ScoreSign is the sign of the score in the weight of what is written to the
// memory: ω = 1-σ(ρ) = σ(-ρ) with slots, σ of the write gate's logit without.
func (s Spec) ScoreSign() float32 {
	if s.Slots > 0 {
		return -1
	}
	return 1
}

// GateIsColumn says whether the memory enters as a column of the softmax.
func (s Spec) GateIsColumn() bool { return gates.Get(s.Gate).column }

// GateByMass says whether that logit holds the logarithm of the memory's mass.
func (s Spec) GateByMass() bool { return s.HasMemory() && gates.Get(s.Gate).byMass }

// FeatureSize returns F, the size of φ(x) for a head of size d; 0 without a feature map.
func (s Spec) FeatureSize(d int) int {
	return FeatureMap{Feature: s.Feature, D: d, Cols: s.featureCols(d)}.Size()
}

func (s Spec) featureCols(d int) int {
	if s.FeatureDim > 0 {
		return s.FeatureDim
	}
	return d
}

// Sizes are those of the block's state.
func (s Spec) Sizes() schedule.Sizes {
	return schedule.Sizes{Sink: s.Sink, Slots: s.Slots, Window: s.Window, Segment: s.Segment}
}

// Plan is the schedule of the block in a base with so many layers: slots as at
// inference, and no prompt held back.
func (s Spec) Plan(layers int) schedule.Plan {
	p := schedule.Plan{Absolute: s.Positions == PositionsAbsolute}
	for i := range layers {
		p.Layers = append(p.Layers, s.At(i).Sizes())
	}
	return p
}

// Capacity returns C = S+R+W+L, the most keys that a query can see beside the
// memory: the number of cache places of an exported graph.
func (s Spec) Capacity() int { return s.Sizes().Capacity() }

// maxFeatureDim bounds f, and with it what a damaged adapter could make us
// allocate; heads have some hundred dimensions.
const maxFeatureDim = 4096

// maxSpecTokens bounds sink, window, segment and slots, so that no sum of them overflows.
const maxSpecTokens = schedule.Unbounded

// Validate reports the first field that holds a value the block cannot have.
// The message begins with the field's name as it stands in a config.
func (s Spec) Validate() error {
	for _, f := range []struct {
		name            string
		value, min, max int
	}{
		{"sink", s.Sink, 0, maxSpecTokens},
		{"window", s.Window, 0, maxSpecTokens},
		{"segment", s.Segment, 1, maxSpecTokens},
		{"slots", s.Slots, 0, maxSpecTokens},
		{"feature_dim", s.FeatureDim, 0, maxFeatureDim},
	} {
		if f.value < f.min {
			return fmt.Errorf("%s is %d; it must be at least %d", f.name, f.value, f.min)
		}
		if f.value > f.max {
			return fmt.Errorf("%s is %d; it must be at most %d", f.name, f.value, f.max)
		}
	}
	if err := s.validateSlotLayers(); err != nil {
		return err
	}
	if err := s.Retention.validate(s.Slots); err != nil {
		return err
	}
	if err := enum.Check("positions", s.Positions, PositionsCompact, PositionsAbsolute); err != nil {
		return err
	}
	if err := enum.Check("memory", s.Memory, MemoryNone, MemoryLinear, MemoryDelta); err != nil {
		return err
	}
	if !s.HasMemory() {
		if s.Map || s.WriteGate {
			return fmt.Errorf("map and write_gate belong to the memory, but memory is none; switch them off or set memory: linear")
		}
		return nil
	}
	if _, err := features.Find(s.Feature); err != nil {
		return err
	}
	if _, err := gates.Find(s.Gate); err != nil {
		return err
	}
	if s.WriteGate && s.Slots > 0 {
		return fmt.Errorf("write_gate is for a block without slots: with slots the retention score already weighs what is written; set slots: 0 or write_gate: false")
	}
	return nil
}

func (s Spec) validateSlotLayers() error {
	switch l := s.SlotLayers; {
	case l == nil:
		return nil
	case s.Slots == 0:
		return fmt.Errorf("slot_layers is %v, but there are no slots; set slots above 0 or leave slot_layers out", l)
	case len(l) == 0:
		return fmt.Errorf("slot_layers is empty; name at least one layer, leave it out for all of them, or set slots: 0")
	case l[0] < 0 || !slices.IsSorted(l) || len(slices.Compact(slices.Clone(l))) < len(l):
		return fmt.Errorf("slot_layers is %v; it must list layers from 0 up, each once, in ascending order", l)
	}
	return nil
}
