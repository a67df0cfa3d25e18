package config

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"eisft/eval"
	"eisft/model"
)

func defaults(file string) *Config {
	base := filepath.Base(file)
	return &Config{
		Name:       strings.TrimSuffix(base, filepath.Ext(base)),
		Model:      Model{DType: model.DTypeAuto},
		Block:      Block{Preset: "eisft"},
		Data:       Data{MaxTokens: 2048},
		Eval:       eval.Config{Samples: 100, MaxNewTokens: 32, Policies: slices.Clone(eval.Policies)},
		Checkpoint: Checkpoint{Every: 50},
		Output:     "runs",
	}
}

// stageDefaults are the small recipes of the reference that reach what the long
// ones do (method, section 6): 100 samples for S-SFT, 120 for distillation.
var stageDefaults = map[Kind]Stage{
	KindSSFT:    {Steps: 100, Batch: 1, Slots: SlotsSoft, Keep: 0.15, KeepWeight: 10, Betas: [2]float64{0.9, 0.98}, Warmup: 20, MinLR: 0.05, Clip: 1},
	KindPrune:   {Steps: 1, Samples: 8, Gain: 0.99},
	KindDistill: {Steps: 60, Batch: 2, Tokens: 768, Keep: 0.2, KeepWeight: 10, Betas: [2]float64{0.9, 0.98}, Warmup: 30, MinLR: 0.05, Clip: 1},
}

// lrDefaults: gates and the retention score need about ten times the rate of
// the matrices, or they do not move (method, section 5).
var lrDefaults = map[Kind]Rates{
	KindSSFT: {
		model.GroupRetention: 1e-2, model.GroupGate: 1e-2,
		model.GroupFeature: 2e-3, model.GroupMap: 2e-3, model.GroupWrite: 2e-3,
	},
	KindDistill: {
		model.GroupRetention: 1e-2, model.GroupGate: 1e-2,
		model.GroupFeature: 3e-3, model.GroupMap: 3e-3, model.GroupWrite: 3e-3,
	},
}

// decode fills s from the stage's node over the defaults of its kind and block.
func (s *Stage) decode(n ast.Node, block model.Spec) error {
	filled := stageDefaults[s.Kind]
	if s.Kind != KindPrune {
		filled.Trainable = groups(block)
	}
	if err := yaml.NodeToValue(n, &filled); err != nil {
		return err
	}
	if len(filled.Trainable) == 0 { // written and read again it is the same
		filled.Trainable = nil
	}
	lr, decay := Rates{}, Rates{}
	for _, g := range filled.Trainable {
		lr[g], decay[g] = lrDefaults[s.Kind][g], 0
	}
	maps.Copy(lr, filled.LR)
	maps.Copy(decay, filled.WeightDecay)
	filled.LR, filled.WeightDecay = lr, decay
	*s = filled
	return nil
}

// groups returns the parameter groups that a block has.
func groups(block model.Spec) []model.Group {
	var out []model.Group
	block.SlotLayers = nil // one layer stands for all
	for _, p := range model.NewParams(block, model.Dims{Heads: 1, KVHeads: 1, HeadDim: 1, Hidden: 1}, 1).List() {
		if !slices.Contains(out, p.Group) {
			out = append(out, p.Group)
		}
	}
	return out
}
