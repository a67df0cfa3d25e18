package train

import (
	"fmt"
	"math"
	"slices"

	"eisft/model"
	"eisft/model/hf"
	"eisft/train/config"
)

// adamEpsilon is added to the root of the second moment, as in PyTorch.
const adamEpsilon = 1e-8

// adamW is AdamW (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2) with a
// learning rate and a weight decay for each parameter group.
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
	b1, b2 := o.Betas[0], o.Betas[1]
	c1, c2 := 1-math.Pow(b1, float64(a.step)), 1-math.Pow(b2, float64(a.step))
	ps, gs, ms, vs := a.params.List(), grads.List(), a.m.List(), a.v.List()
	for i, p := range ps {
		if !slices.Contains(o.Trainable, p.Group) {
			continue
		}
		lr, decay := scale*o.LR[p.Group], o.WeightDecay[p.Group]
		for j := range p.Data {
			g := float64(gs[i].Data[j])
			m := b1*float64(ms[i].Data[j]) + (1-b1)*g
			v := b2*float64(vs[i].Data[j]) + (1-b2)*g*g
			ms[i].Data[j], vs[i].Data[j] = float32(m), float32(v)
			x := float64(p.Data[j])
			x -= lr * decay * x
			p.Data[j] = float32(x - lr*(m/c1)/(math.Sqrt(v/c2)+adamEpsilon))
		}
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
