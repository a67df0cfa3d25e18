package eval

import (
	"github.com/dustin/go-humanize"

	"eisft/model"
	"eisft/model/schedule"
)

// Budget is the most that a policy keeps from one segment to the next, over all layers: what
// policies are compared at. Zero stands for no bound.
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
