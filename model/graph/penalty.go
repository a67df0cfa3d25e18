package graph

import (
	"eisft/model"
	"eisft/model/kernels"
	"eisft/model/schedule"
)

// Penalty is what soft slots pay for keeping much (docs/method.md, section 5).
type Penalty struct {
	// Keep is the share of tokens that may be kept for nothing: a mean of what is kept above
	// it costs KeepWeight·(mean - Keep).
	Keep, KeepWeight float64
	// Capacity is the number of tokens that a KV head may keep for nothing at the end of each
	// segment, 0: as many as its layer has slots. What it keeps beyond them, as a share of
	// them and as a mean over segments and heads, costs CapacityWeight times that (TRIM-KV,
	// arXiv 2512.03324, its capacity loss, there at every token).
	Capacity       int
	CapacityWeight float64
}

// scored are the scores ρ [n,K] of tokens in a layer, in the order of the text, with the
// tokens' indices in the sequence [n,K].
type scored struct {
	layer  int
	score  []float32
	tokens []int32
}

// kept returns what the j-th of the scores counts as kept by when the sequence has so many
// tokens: σ(ρ), with decay σ(ρ)^age.
func (s *stateGrads) kept(l scored, j, read int) float64 {
	if !s.model.Spec.Decays() {
		return float64(kernels.Sigmoid1(l.score[j]))
	}
	kept, _, _ := model.Kept(l.score[j], read-int(l.tokens[j]))
	return float64(kept)
}

// noteKept notes the mean of what is kept over all of the scores, and over those of each KV head.
func (s *stateGrads) noteKept(stats *model.LayerStats, l scored, read int) {
	kv := s.model.Base.Dims.KVHeads
	sum, heads := 0.0, make([]float64, kv)
	for j := range l.score {
		kept := s.kept(l, j, read)
		sum += kept
		heads[j%kv] += kept
	}
	stats.Kept, stats.KeptHeads = sum/float64(len(l.score)), make([]float32, kv)
	for g, of := range heads {
		stats.KeptHeads[g] = float32(of * float64(kv) / float64(len(l.score)))
	}
}

// addKept adds weight times the derivative of what the j-th of the scores is kept by.
func (s *stateGrads) addKept(l scored, j, read int, weight float32) {
	kv := s.model.Base.Dims.KVHeads
	at := int(l.tokens[j])*kv + j%kv
	if s.model.Spec.Decays() {
		_, slope, _ := model.Kept(l.score[j], read-int(l.tokens[j]))
		s.dScore[l.layer][at] += weight * slope
		return
	}
	w := kernels.Sigmoid1(l.score[j])
	s.dScore[l.layer][at] += weight * w * (1 - w)
}

// capacityPenalty adds weight times the gradient of the excess over the capacity and returns
// the excess. plan is the text's, of which so many tokens are committed in the end.
func (s *stateGrads) capacityPenalty(l scored, plan schedule.Plan, committed int, p Penalty, weight float64) float64 {
	kv, segment := s.model.Base.Dims.KVHeads, plan.Segment()
	capacity := float64(p.Capacity)
	if p.Capacity == 0 {
		capacity = float64(plan.Layers[l.layer].Slots)
	}
	excess, times := 0.0, 0
	type over struct{ head, read, from, to int }
	var list []over
	for read := segment; read <= committed; read += segment {
		parts := plan.Parts(l.layer, read, read)
		if parts.Left == 0 {
			continue
		}
		times++
		first := parts.Sinks - int(l.tokens[0])
		for g := range kv {
			sum := 0.0
			for t := first; t < first+parts.Left; t++ {
				sum += s.kept(l, t*kv+g, read)
			}
			if sum > capacity {
				excess += sum/capacity - 1
				list = append(list, over{g, read, first, first + parts.Left})
			}
		}
	}
	if times == 0 {
		return 0
	}
	share := weight / (capacity * float64(times*kv))
	for _, o := range list {
		for t := o.from; t < o.to && share != 0; t++ {
			s.addKept(l, t*kv+o.head, o.read, float32(share))
		}
	}
	return excess / float64(times*kv)
}
