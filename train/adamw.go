package train

import (
	"fmt"
	"math"
	"slices"

	"eisft/internal/adamw"
	"eisft/model"
	"eisft/model/hf"
	"eisft/train/config"
)

// adamW is AdamW with a learning rate and a weight decay for each parameter group.
type adamW struct {
	params *model.Params
	m, v   *model.Params // running means of the gradient and its square
	step   int           // steps taken; the bias correction depends on it
}

func newAdamW(p *model.Params) *adamW {
	return &adamW{params: p, m: p.Zero(), v: p.Zero()}
}

// update takes one step: trainable groups move, at rate scale·lr[group].
func (a *adamW) update(grads *model.Params, o config.Optimizer, scale float64) {
	a.step++
	ps, gs, ms, vs := a.params.List(), grads.List(), a.m.List(), a.v.List()
	for i, p := range ps {
		if !slices.Contains(o.Trainable, p.Group) {
			continue
		}
		step := adamw.Step{Number: a.step, LR: scale * o.LR[p.Group], Decay: o.WeightDecay[p.Group], Betas: o.Betas}
		step.Update(p.Data, gs[i].Data, ms[i].Data, vs[i].Data)
	}
}

// The prefixes of the optimizer's tensors in a checkpoint.
const (
	prefixParams = "params."
	prefixM      = "adam.m."
	prefixV      = "adam.v."
)

func (a *adamW) entries() []hf.Entry {
	return slices.Concat(a.params.Entries(prefixParams), a.m.Entries(prefixM), a.v.Entries(prefixV))
}

func (a *adamW) readFrom(f *hf.File) error {
	for prefix, p := range map[string]*model.Params{prefixParams: a.params, prefixM: a.m, prefixV: a.v} {
		if err := p.ReadFrom(f, prefix); err != nil {
			return err
		}
	}
	return nil
}

// clip scales the gradients of the trainable groups so that their global norm
// is at most limit (0: not), and returns the norm they had.
func clip(grads *model.Params, trainable []model.Group, limit float64) (float64, error) {
	sum := 0.0
	for _, p := range grads.List() {
		if slices.Contains(trainable, p.Group) {
			for _, g := range p.Data {
				sum += float64(g) * float64(g)
			}
		}
	}
	norm := math.Sqrt(sum)
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		return norm, fmt.Errorf("the gradient is %v: training has diverged; lower the learning rates (lr) or raise warmup", norm)
	}
	if limit <= 0 || norm <= limit {
		return norm, nil
	}
	for _, p := range grads.List() {
		for j := range p.Data {
			p.Data[j] *= float32(limit / norm)
		}
	}
	return norm, nil
}

// rateAt is the share of the learning rate at a step: a linear warm-up, then a
// cosine down to MinLR.
func rateAt(o config.Optimizer, step int) float64 {
	warm := math.Min(1, float64(step+1)/float64(max(o.Warmup, 1)))
	done := float64(step) / float64(max(o.Steps, 1))
	return warm * (o.MinLR + (1-o.MinLR)*(1+math.Cos(math.Pi*done))/2)
}
