package config

import "eisft/model"

// Distill is a stage of kind distill: attention transfer, which fits each layer's block
// to the base's own full attention and needs no answers (LoLCATs, arXiv 2410.10254).
type Distill struct {
	Tokens      int `yaml:"tokens"` // of a sample that are read: its last ones
	KeepPenalty `yaml:",inline"`
	Optimizer   `yaml:",inline"`
}

// defaultDistill is the small recipe of the reference that reaches what the long one
// does with 120 samples (method, section 6).
var defaultDistill = Distill{
	Tokens:      768,
	KeepPenalty: KeepPenalty{Keep: 0.2, KeepWeight: 10},
	Optimizer:   Optimizer{Steps: 60, Batch: 2, Betas: [2]float64{0.9, 0.98}, Warmup: 30, MinLR: 0.05, Clip: 1},
}

// ratesDistill differ between groups as those of S-SFT do.
var ratesDistill = Rates{
	model.GroupRetention: 1e-2, model.GroupGate: 1e-2,
	model.GroupFeature: 3e-3, model.GroupMap: 3e-3, model.GroupWrite: 3e-3,
}

// Kind is KindDistill.
func (Distill) Kind() Kind { return KindDistill }

func (s Distill) filled(block model.Spec) Stage {
	s.Optimizer = s.over(block, ratesDistill)
	return s
}

func (s Distill) validate(d *document, path string, block model.Spec) {
	d.leavesWindow(path+".tokens", s.Tokens, block)
	s.KeepPenalty.check(d, path)
	s.Optimizer.check(d, path, block)
}
