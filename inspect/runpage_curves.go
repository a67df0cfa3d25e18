package inspect

import (
	"fmt"
	"maps"
	"slices"

	"eisft/internal/plot"
	"eisft/model"
	"eisft/train/config"
	"eisft/train/runs"
)

// lossText says what the loss of a kind of stage is.
var lossText = map[config.Kind]string{
	config.KindSSFT:    "Cross-entropy of the answers, in nats a token.",
	config.KindDistill: "How far the block's attention is from the base's own: the relative error of its output, or the divergence of its logits in nats a token.",
}

// stageSteps are the steps of a stage that has several.
func (r *pageRun) stageSteps(stage int) (steps []runs.Metrics) {
	for _, m := range r.steps {
		if m.Stage == stage {
			steps = append(steps, m)
		}
	}
	return steps
}

// curve takes a figure of steps; those that do not have it are left out.
func curve(name string, steps []runs.Metrics, figure func(i int, m runs.Metrics) (x, y float64, ok bool)) plot.Curve {
	c := plot.Curve{Name: name}
	for i, m := range steps {
		if x, y, ok := figure(i, m); ok {
			c.X, c.Y = append(c.X, x), append(c.Y, y)
		}
	}
	return c
}

// optimized says whether a step is one of an optimizer.
func optimized(m runs.Metrics) bool { return m.Pruned == nil && m.Kind != string(config.KindPrune) }

// add appends a plot, if there is one.
func add(list *[]*plot.Plot, p *plot.Plot) {
	if p != nil {
		*list = append(*list, p)
	}
}

// curves draws losses stage by stage, and rates and cost over all steps.
func (p *runPage) curves() {
	p.losses()
	var speed, rates, seconds, memory []plot.Curve
	for _, r := range p.Runs {
		step := func(y func(m runs.Metrics) float64, is func(m runs.Metrics) bool) func(i int, m runs.Metrics) (float64, float64, bool) {
			return func(i int, m runs.Metrics) (float64, float64, bool) { return float64(i + 1), y(m), is(m) }
		}
		timed := func(m runs.Metrics) bool { return m.Seconds > 0 && optimized(m) }
		name := func(what string) string { return p.of(r, what) }
		speed = append(speed, curve(name("tokens/s"), r.steps, step(func(m runs.Metrics) float64 { return float64(m.Tokens) / m.Seconds }, timed)))
		seconds = append(seconds, curve(name("seconds"), r.steps, step(func(m runs.Metrics) float64 { return m.Seconds }, timed)))
		memory = append(memory, curve(name("MB"), r.steps, step(func(m runs.Metrics) float64 { return float64(m.Memory) / 1e6 }, func(m runs.Metrics) bool { return m.Memory > 0 })))
		for _, group := range r.trained() {
			rates = append(rates, curve(name(string(group)), r.steps, func(i int, m runs.Metrics) (float64, float64, bool) {
				lr, ok := r.rate(m, group)
				return float64(i + 1), lr, ok
			}))
		}
	}
	const all = " Steps are counted over all stages."
	add(&p.Rates, plot.Curves("Tokens a second", "Tokens that a step read, by the time it took."+all, "step", "tokens/s", speed))
	add(&p.Rates, plot.Curves("Learning rates", "Of each group of parameters that a stage trains."+all, "step", "", nonEmpty(rates)))
	add(&p.Cost, plot.Curves("Seconds a step", "On the machine that the run was trained on, with whatever else ran there."+all, "step", "s", seconds))
	add(&p.Cost, plot.Curves("Memory", "The most that was resident until a step, in MB."+all, "step", "MB", nonEmpty(memory)))
}

// losses draws those of each stage and, where they were not clipped away, gradients.
func (p *runPage) losses() {
	stages := 0
	for _, r := range p.Runs {
		stages = max(stages, r.steps[len(r.steps)-1].Stage+1)
	}
	for s := range stages {
		byKind := map[string][]plot.Curve{}
		for _, r := range p.Runs {
			steps := r.stageSteps(s)
			if len(steps) == 0 || !optimized(steps[0]) {
				continue
			}
			kind := steps[0].Kind
			byKind[kind] = append(byKind[kind], curve(p.of(r, "loss"), steps, func(_ int, m runs.Metrics) (float64, float64, bool) {
				return float64(m.Step), m.Loss, true
			}))
			held := plot.Curve{Name: p.of(r, "loss on held-out rows")}
			for _, m := range steps {
				if m.Before != nil {
					held.X, held.Y = append(held.X, 0), append(held.Y, m.Before.Loss)
				}
				if m.Validation != nil {
					held.X, held.Y = append(held.X, float64(m.Step)), append(held.Y, m.Validation.Loss)
				}
			}
			byKind[kind] = append(byKind[kind], nonEmpty([]plot.Curve{held})...)
		}
		for _, kind := range slices.Sorted(maps.Keys(byKind)) {
			add(&p.Losses, plot.Curves(fmt.Sprintf("Stage %d: %s", s+1, kind), lossText[config.Kind(kind)], "step", "", byKind[kind]))
		}
	}
}

// trained are the groups of parameters that any stage trains, in order.
func (r *pageRun) trained() (groups []model.Group) {
	for _, s := range r.Config.Stages {
		o, _ := config.OptimizerOf(s)
		groups = append(groups, o.Trainable...)
	}
	slices.Sort(groups)
	return slices.Compact(groups)
}

// rate is the learning rate of a group at a step.
func (r *pageRun) rate(m runs.Metrics, group model.Group) (float64, bool) {
	if m.Stage >= len(r.Config.Stages) {
		return 0, false
	}
	o, _ := config.OptimizerOf(r.Config.Stages[m.Stage])
	return o.LR[group] * m.Rate, slices.Contains(o.Trainable, group)
}

// nonEmpty are the curves that have points.
func nonEmpty(list []plot.Curve) []plot.Curve {
	return slices.DeleteFunc(list, func(c plot.Curve) bool { return len(c.Y) == 0 })
}

// pruning has a table for each run that lost slots.
func (p *runPage) pruning() {
	for _, r := range p.Runs {
		for _, m := range r.steps {
			f := m.Pruned
			if f == nil || len(f.Without) != len(f.Layers) {
				continue
			}
			t := Table{
				Title:   p.of(r, fmt.Sprintf("slots stay in layers %s: loss %.3f; with all slots %.3f, without any %.3f", indices(f.Kept), f.Loss, f.All, f.None)),
				Columns: []string{"layer", "loss without its slots", "keeps them"},
			}
			for i, layer := range f.Layers {
				t.row(layer, Score(f.Without[i]), slices.Contains(f.Kept, layer))
			}
			p.Pruning = append(p.Pruning, t)
		}
	}
}
