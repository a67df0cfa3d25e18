package eval

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/dustin/go-humanize"

	"eisft/model"
	"eisft/model/schedule"
)

// Budget is the most that a policy keeps from one segment to the next, over all layers. Policies
// are compared at the same bytes. Zero stands for no bound.
type Budget struct {
	// Tokens are those in sinks, window and slots; each KV head of a layer keeps so many.
	Tokens int `json:"budget_tokens,omitzero"`
	// Bytes are those of the tokens' keys, values and scores, of memories, and of what else a
	// rule knows of the text, in float32.
	Bytes int64 `json:"budget_bytes,omitzero"`
}

// BudgetOf returns that of a model that reads as a policy says, from one with a block
// (see [WithPolicy]). Every reading holds the segment in progress beside it, which is not
// counted; where segments are longer than the block's, that is a way to spend the budget.
func BudgetOf(block, reads *model.Model) Budget {
	var b Budget
	d := reads.Base.Dims
	for i, s := range reads.Plan().Layers {
		if s.Window >= schedule.Unbounded {
			return Budget{}
		}
		tokens, of := s.Capacity()-block.Spec.Segment, reads.Spec.At(i)
		floats := tokens * 2 * d.KVHeads * d.HeadDim
		if of.HasScore() {
			floats += tokens * d.KVHeads
		}
		if of.HasMemory() {
			floats += model.Memory{Spec: of, Dims: d}.Size()
		}
		if e := reads.Eviction; e != nil && e.QueryMoments {
			floats += d.MomentsSize()
		}
		b.Tokens += tokens
		b.Bytes += 4 * int64(floats)
	}
	return b
}

// slotsFor returns how many slots over all layers make a policy's bytes those of the block, given
// the model that reads as the policy says with as many slots as the block has. A policy whose
// statistics alone take more keeps a slot in each layer.
func slotsFor(block, reads *model.Model) int {
	d, has, layers := reads.Base.Dims, BudgetOf(block, reads), len(reads.Base.Layers)
	token := 2 * d.KVHeads * d.HeadDim
	if reads.Spec.HasScore() {
		token += d.KVHeads
	}
	more := math.Floor(float64(BudgetOf(block, block).Bytes-has.Bytes) / float64(4*token))
	return max(has.Tokens+int(more)-layers*(block.Spec.Sink+block.Spec.Window), min(slotsOf(block), layers))
}

// WithBudget returns the block with as many slots, the same number in each layer that has
// some, as sinks, window and slots have tokens in the budget: what does not divide is left
// out. 0 is the block's own budget. It fails for one that leaves no slot.
func WithBudget(m *model.Model, tokens int) (*model.Model, error) {
	if tokens == 0 {
		return m, nil
	}
	layers, taken := len(m.SlotLayers()), len(m.Base.Layers)*(m.Spec.Sink+m.Spec.Window)
	if layers == 0 {
		return nil, errors.New("the block has no slots, and a budget says how many it has: evaluate a run whose block has some")
	}
	if tokens < taken+layers {
		return nil, fmt.Errorf("a budget of %s tokens leaves no slot: sinks and windows take %s over all layers, and %d layers have slots; give %s or more",
			humanize.Comma(int64(tokens)), humanize.Comma(int64(taken)), layers, humanize.Comma(int64(taken+layers)))
	}
	return m.WithSlots((tokens - taken) / layers)
}

// Reading is a policy at a budget.
type Reading struct {
	Policy Policy `json:"policy"`
	// Asked is the budget in tokens that was asked for; 0: the block's.
	Asked int `json:"asked_budget,omitempty"`
}

// Title says under which policy, and at which budget if one was asked for.
func (r Reading) Title() string {
	if r.Asked > 0 {
		return fmt.Sprintf("%s, %s tokens", r.Policy, humanize.Comma(int64(r.Asked)))
	}
	return string(r.Policy)
}

// against is the place of the reading that this one is compared with: the policy's at the same
// budget, or its first one where either has none.
func (r Reading) against(p Policy, list []Reading) int {
	return slices.IndexFunc(list, func(s Reading) bool {
		return s.Policy == p && (s.Asked == r.Asked || !p.Bounded() || !r.Policy.Bounded())
	})
}

// model returns the block at the reading's budget.
func (r Reading) model(m *model.Model) (*model.Model, error) {
	block, err := WithBudget(m, r.Asked)
	if err != nil {
		return nil, fmt.Errorf("budget: %w", err)
	}
	return block, nil
}

// reads returns the model that the reading reads with: the policy's, at the budget.
func (r Reading) reads(m *model.Model) (*model.Model, error) {
	block, err := r.model(m)
	if err != nil {
		return nil, err
	}
	if r.Policy == PolicyGraph {
		return block, nil
	}
	return WithPolicy(block, r.Policy)
}

// texts are the tokens and bytes as a table has them, empty where there is no bound.
func (b Budget) texts() []string {
	if b == (Budget{}) {
		return []string{"", ""}
	}
	return []string{humanize.Comma(int64(b.Tokens)), humanize.Bytes(uint64(b.Bytes))}
}

// slotsOf returns the number of slots of a block over all layers.
func slotsOf(m *model.Model) int { return len(m.SlotLayers()) * m.Spec.Slots }

// evenly divides slots among layers; some have one more where it does not come out
// even.
func evenly(slots, layers int) []int {
	out := make([]int, layers)
	for i := range out {
		out[i] = slots*(i+1)/layers - slots*i/layers
	}
	return out
}
