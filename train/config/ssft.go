package config

import (
	"eisft/internal/strictyaml"
	"eisft/model"
)

// SSFT is a stage of kind s-sft: cross-entropy on the tokens of answers, the context
// streamed through the frozen base (EdgeInfinite-Instruct, arXiv 2508.00370).
type SSFT struct {
	Choice      Choice `yaml:"choice"`
	KeepPenalty `yaml:",inline"`
	Optimizer   `yaml:",inline"`
}

// Choice is how slots are chosen while S-SFT trains.
type Choice string

// The choices.
const (
	ChoiceSoft Choice = "soft" // all that left the window stays visible, weighed by its score
	ChoiceHard Choice = "hard" // the best R as at inference, straight-through gradient
)

var choices = []Choice{ChoiceSoft, ChoiceHard}

// defaultSSFT is the small recipe of the reference that reaches what the long one does
// with 100 samples (docs/method.md, section 6).
var defaultSSFT = SSFT{
	Choice:      ChoiceSoft,
	KeepPenalty: KeepPenalty{Keep: 0.15, KeepWeight: 10},
	Optimizer:   Optimizer{Steps: 100, Batch: 1, Betas: [2]float64{0.9, 0.98}, Warmup: 20, MinLR: 0.05, Clip: 1},
}

// ratesSSFT: gates and the retention score need about ten times the rate of the
// matrices, or they do not move (docs/method.md, section 5).
var ratesSSFT = Rates{
	model.GroupRetention: 1e-2, model.GroupGate: 1e-2,
	model.GroupFeature: 2e-3, model.GroupMap: 2e-3, model.GroupWrite: 2e-3,
}

// Kind is KindSSFT.
func (SSFT) Kind() Kind { return KindSSFT }

func (s SSFT) filled(block model.Spec) Stage {
	s.Optimizer = s.over(block, ratesSSFT)
	return s
}

func (s SSFT) validate(d *document, path string, c *Config) {
	strictyaml.OneOf(d.Document, path+".choice", s.Choice, choices)
	s.KeepPenalty.check(d, path)
	s.Optimizer.check(d, path, c.Block.Spec)
}
