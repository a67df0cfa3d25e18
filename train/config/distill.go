package config

import (
	"fmt"

	"eisft/internal/strictyaml"
	"eisft/model"
	"eisft/model/schedule"
)

// Distill is a stage of kind distill, which fits the block to the base with full attention
// and needs no answers.
type Distill struct {
	Target      Target `yaml:"target"`
	Tokens      int    `yaml:"tokens"` // of a sample that are read: its last ones
	KeepPenalty `yaml:",inline"`
	Optimizer   `yaml:",inline"`
}

// Target is what of the base a distillation fits the block to.
type Target string

// The targets.
const (
	TargetAttention Target = "attention" // the output of each layer's attention (LoLCATs, arXiv 2410.10254)
	TargetLogits    Target = "logits"    // what comes next, through all layers (TRIM-KV, arXiv 2512.03324)
)

// defaultDistill is the small recipe of the reference that reaches what the long one
// does with 120 samples (docs/method.md, section 6).
var defaultDistill = Distill{
	Target:      TargetAttention,
	Tokens:      768,
	KeepPenalty: KeepPenalty{Keep: 0.2, KeepWeight: 10},
	Optimizer:   Optimizer{Steps: 60, Batch: 2, Betas: [2]float64{0.9, 0.98}, Warmup: 30, MinLR: 0.05, Clip: 1},
}

// ratesDistill differ between groups as those of S-SFT do.
var ratesDistill = Rates{
	model.GroupRetention: 1e-2, model.GroupGate: 1e-2,
	model.GroupFeature: 3e-3, model.GroupMap: 3e-3, model.GroupWrite: 3e-3,
}

// From is the first token that is read of a sample of n.
func (s Distill) From(n int) int { return max(0, n-s.Tokens) }

// Kind is KindDistill.
func (Distill) Kind() Kind { return KindDistill }

func (s Distill) filled(block model.Spec) Stage {
	s.Optimizer = s.over(block, ratesDistill)
	return s
}

func (s Distill) validate(d *document, path string, c *Config) {
	strictyaml.OneOf(d.Document, path+".target", s.Target, []Target{TargetAttention, TargetLogits})
	block := c.Block.Spec
	least := shortestText(block)
	why := fmt.Sprintf("attention transfer compares whole segments of %d behind the first %d, and tokens have to have left the window", block.Segment, schedule.FirstTransferred)
	if s.Tokens < least {
		d.Problem(path+".tokens", "is %d; it must be at least %d: %s", s.Tokens, least, why)
	}
	d.AtMost(path+".tokens", s.Tokens, strictyaml.MaxCount)
	if c.Data.MaxTokens < least {
		d.Problem("data.max_tokens", "is %d; for %s it must be at least %d: %s", c.Data.MaxTokens, path, least, why)
	}
	s.KeepPenalty.check(d, path)
	s.Optimizer.check(d, path, block)
}

// shortestText is the length, in whole segments, of the shortest text that attention
// transfer compares and of which a token leaves the window.
func shortestText(block model.Spec) int {
	short := block.Sizes().Short()
	return max(block.Sizes().TransferTokens(), short-short%max(block.Segment, 1)+block.Segment)
}
