package config

import (
	"fmt"
	"maps"
	"slices"

	"eisft/internal/enum"
	"eisft/internal/strictyaml"
	"eisft/model"
)

// Optimizer says how a stage that takes optimizer steps takes them, by AdamW.
type Optimizer struct {
	Steps int `yaml:"steps"`
	Batch int `yaml:"batch"` // samples whose gradients a step accumulates
	// Trainable are the parameter groups that are trained; by default all that
	// the block has.
	Trainable   []model.Group `yaml:"trainable"`
	LR          Rates         `yaml:"lr"`
	WeightDecay Rates         `yaml:"weight_decay"`
	Betas       [2]float64    `yaml:"betas"`
	Warmup      int           `yaml:"warmup"` // steps to reach the learning rate
	MinLR       float64       `yaml:"min_lr"` // share of the learning rate left at the end
	Clip        float64       `yaml:"clip"`   // greatest global gradient norm; 0: not clipped
}

// Rates holds one number for each trainable group.
type Rates map[model.Group]float64

// OptimizerOf is the optimizer of a stage that has one.
func OptimizerOf(s Stage) (o Optimizer, ok bool) {
	switch s := s.(type) {
	case SSFT:
		return s.Optimizer, true
	case Distill:
		return s.Optimizer, true
	}
	return o, false
}

// NumSteps is Steps.
func (o Optimizer) NumSteps() int { return o.Steps }

// over returns o with what depends on the block's parameters: which are trained, each at
// its default rate where o has none.
func (o Optimizer) over(block model.Spec, rates Rates) Optimizer {
	if o.Trainable == nil {
		o.Trainable = groups(block)
	}
	lr, decay := Rates{}, Rates{}
	for _, g := range o.Trainable {
		lr[g], decay[g] = rates[g], 0
	}
	maps.Copy(lr, o.LR)
	maps.Copy(decay, o.WeightDecay)
	o.LR, o.WeightDecay = lr, decay
	return o
}

// maxBatch bounds the samples of a step, whose places are made before they are read.
const maxBatch = 1 << 16

func (o Optimizer) check(d *document, path string, block model.Spec) {
	d.AtLeast(path+".steps", o.Steps, 1)
	d.Within(path+".batch", o.Batch, 1, maxBatch)
	d.AtLeast(path+".warmup", o.Warmup, 0)
	d.Between(path+".min_lr", o.MinLR, 0, 1)
	d.NotNegative(path+".clip", o.Clip)
	for i, b := range o.Betas {
		if b < 0 || b >= 1 {
			d.Problem(fmt.Sprintf("%s.betas[%d]", path, i), "is %v; it must be at least 0 and below 1", b)
		}
	}
	has := groups(block)
	known := block.Validate() == nil // if not, that is reported where the block stands
	if known && len(o.Trainable) == 0 && len(has) > 0 {
		d.Problem(path+".trainable", "is empty; name at least one group that the block has: %s", enum.List(has))
	}
	for i, g := range o.Trainable {
		at := fmt.Sprintf("%s.trainable[%d]", path, i)
		if strictyaml.OneOf(d.Document, at, g, model.Groups) && known && !slices.Contains(has, g) {
			d.Problem(at, "is %q, but the block has only %s", g, enum.List(has))
		}
	}
	for _, g := range model.Groups {
		d.NotNegative(path+".lr."+string(g), o.LR[g])
		if o.LR[g] > mostRate {
			d.Problem(path+".lr."+string(g), "is %v; it must be at most %v: AdamW moves each parameter by about so much at every step", o.LR[g], mostRate)
		}
		d.NotNegative(path+".weight_decay."+string(g), o.WeightDecay[g])
	}
}

// mostRate is far beyond learning rates with which anything has been trained.
const mostRate = 10.0

// KeepPenalty is what the retention score pays for keeping much while it is trained
// with soft slots (docs/method.md, section 5).
type KeepPenalty struct {
	Keep       float64 `yaml:"keep"`        // share of the tokens that may be kept without a penalty
	KeepWeight float64 `yaml:"keep_weight"` // the penalty's weight
	// Capacity is how many tokens a KV head may keep at the end of a segment without a
	// penalty; 0: as many as it has slots.
	Capacity       int     `yaml:"capacity,omitempty"`
	CapacityWeight float64 `yaml:"capacity_weight,omitempty"` // that penalty's weight; 0: there is none
}

func (k KeepPenalty) check(d *document, path string) {
	d.Between(path+".keep", k.Keep, 0, 1)
	d.NotNegative(path+".keep_weight", k.KeepWeight)
	d.Within(path+".capacity", k.Capacity, 0, maxBlockTokens)
	d.NotNegative(path+".capacity_weight", k.CapacityWeight)
}
