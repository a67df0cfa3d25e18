package eval

import (
	"fmt"

	"eisft/internal/enum"
	"eisft/model"
)

// Policy is a way for the base model to read a long input.
type Policy string

// The policies. Each is a file of this package and an entry in the table of policies.
const (
	PolicyFull         Policy = "full"
	PolicyWindow       Policy = "window"
	PolicyRandom       Policy = "random"
	PolicyH2O          Policy = "h2o"
	PolicySnapKV       Policy = "snapkv"
	PolicyPyramidKV    Policy = "pyramidkv"
	PolicyTOVA         Policy = "tova"
	PolicyKeyDiff      Policy = "keydiff"
	PolicyExpected     Policy = "expected"
	PolicyInfini       Policy = "infini"
	PolicyEdgeInfinite Policy = "edgeinfinite"
	PolicySlots        Policy = "slots"
	PolicyEISFT        Policy = "eisft"
)

var policies = enum.NewTable[Policy, policy]("policy").
	With(PolicyFull, full).
	With(PolicyWindow, window).
	With(PolicyRandom, random).
	With(PolicyH2O, h2o).
	With(PolicySnapKV, snapKV).
	With(PolicyPyramidKV, pyramidKV).
	With(PolicyTOVA, tova).
	With(PolicyKeyDiff, keyDiff).
	With(PolicyExpected, expected).
	With(PolicyInfini, infini).
	With(PolicyEdgeInfinite, edgeInfinite).
	With(PolicySlots, slotsAlone).
	With(PolicyEISFT, eisft)

// policy is what the table of policies knows of one. What full, slots and eisft keep follows from
// the block; all others keep as many tokens as the block's bytes hold, over all layers.
type policy struct {
	title string // what people are told about it
	// trained says whether it reads with what was trained, so that training changes
	// what it recalls.
	trained bool
	// seeded returns the model that draws what it draws by a seed; nil if nothing is random.
	seeded func(m *model.Model, seed int) *model.Model
	// model returns the model that reads as the policy says, from one with a block. It has so many
	// slots to spend over all layers, in its own way, beside the block's sinks and windows.
	model func(m *model.Model, slots int) (*model.Model, error)
}

// Policies lists all policies.
func Policies() []Policy { return policies.Names() }

// DefaultPolicies are those that a configuration starts from: the block, and what it is
// between.
func DefaultPolicies() []Policy { return []Policy{PolicyFull, PolicyWindow, PolicyEISFT} }

// Title is what people are told about the policy; its name, if it is not known.
func (p Policy) Title() string {
	if title := known(p).title; title != "" {
		return title
	}
	return string(p)
}

// Trained says whether training changes what is recalled under the policy.
func (p Policy) Trained() bool { return known(p).trained }

// known is what there is to know of a policy.
func known(p Policy) policy {
	if p == PolicyGraph {
		return graphs
	}
	return policies.Get(p)
}

// Bounded says whether the policy keeps a budget of tokens; full attention keeps all.
func (p Policy) Bounded() bool { return p != PolicyFull }

// Random says whether something is drawn under the policy, so that seeds differ.
func (p Policy) Random() bool { return policies.Get(p).seeded != nil }

// seeded is the model of the policy that draws by a seed.
func (p Policy) seeded(m *model.Model, seed int) *model.Model {
	if draw := policies.Get(p).seeded; draw != nil {
		return draw(m, seed)
	}
	return m
}

// WithPolicy returns the model that reads as a policy says, from one with a block. It keeps what
// the block's bytes hold, or less by what does not divide (see [BudgetOf]): what a block has in
// its memory and scores is worth tokens to a policy without them.
func WithPolicy(m *model.Model, p Policy) (*model.Model, error) {
	found, err := policies.Find(p)
	if err != nil {
		return nil, err
	}
	out, err := found.model(m, slotsOf(m))
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", p, err)
	}
	if !p.Bounded() {
		return out, nil
	}
	if out, err = found.model(m, slotsFor(m, out)); err != nil {
		return nil, fmt.Errorf("policy %s, at the block's bytes: %w", p, err)
	}
	return out, nil
}
