package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"eisft/eval"
	"eisft/model"
)

var (
	kinds = []Kind{KindSSFT, KindDistill, KindPrune}
	slots = []Slots{SlotsSoft, SlotsHard}
)

// validate reports values that no run can have. It is the place for what the
// types do not say; the block's own rules stand in [model.Spec.Validate].
func (d *document) validate(c *Config) {
	if c.Name == "" || c.Name == "." || c.Name == ".." || c.Name != filepath.Base(c.Name) {
		d.problem("name", "is %q; it must be the name of a folder, since the run is written to one", c.Name)
	}
	d.required("model.path", c.Model.Path)
	oneOf(d, "model.dtype", c.Model.DType, model.DTypes())
	d.required("data.train", c.Data.Train)
	d.required("output", c.Output)
	d.validateBlock(c.Block.Spec, len(c.Stages) > 0)
	d.leavesWindow("data.max_tokens", c.Data.MaxTokens, c.Block.Spec)
	d.atLeast("data.samples", c.Data.Samples, 0)
	d.validateEval(c.Eval)
	d.atLeast("checkpoint.every", c.Checkpoint.Every, 0)
	if len(c.Stages) == 0 {
		d.problem("stages", "is missing; list at least one stage, such as - kind: s-sft")
	}
	for i, s := range c.Stages {
		d.validateStage(fmt.Sprintf("stages[%d]", i), s, c.Block.Spec)
	}
}

// validateBlock reports what the block itself finds wrong. Its message begins
// with the field's name, which becomes a key path if the file has that key.
func (d *document) validateBlock(block model.Spec, trained bool) {
	err := block.Validate()
	if err == nil {
		if trained && len(groups(block)) == 0 {
			d.problem("block", "has nothing to train: slots are 0 and memory is none")
		}
		return
	}
	field, rest, _ := strings.Cut(err.Error(), " ")
	if path := "block." + field; d.lines[path] > 0 {
		d.problem(path, "%s", rest)
		return
	}
	d.problem("block", "cannot be built: %v", err)
}

// leavesWindow reports a length in tokens at which the base model alone sees
// everything, so that the block is never used.
func (d *document) leavesWindow(path string, tokens int, block model.Spec) {
	if all := block.Sink + block.Window + block.Segment; tokens <= all {
		d.problem(path, "is %d; it must be more than sink + window + segment = %d, or no token ever leaves the window", tokens, all)
	}
}

func (d *document) validateEval(e eval.Config) {
	d.atLeast("eval.samples", e.Samples, 0)
	d.atLeast("eval.max_new_tokens", e.MaxNewTokens, 1)
	for i, p := range e.Policies {
		oneOf(d, fmt.Sprintf("eval.policies[%d]", i), p, eval.Policies)
	}
}

func (d *document) validateStage(path string, s Stage, block model.Spec) {
	if s.Kind == "" {
		d.problem(path+".kind", "is missing; it must be one of %s", list(kinds))
		return
	}
	if !oneOf(d, path+".kind", s.Kind, kinds) {
		return
	}
	d.notHere(path, "slots", s.Slots != "" && s.Kind != KindSSFT, KindSSFT)
	d.notHere(path, "tokens", s.Tokens != 0 && s.Kind != KindDistill, KindDistill)
	switch s.Kind {
	case KindPrune:
		d.validatePrune(path, s, block)
		return
	case KindDistill:
		d.leavesWindow(path+".tokens", s.Tokens, block)
	default:
		oneOf(d, path+".slots", s.Slots, slots)
	}
	d.notHere(path, "samples", s.Samples != 0, KindPrune)
	d.notHere(path, "gain", s.Gain != 0, KindPrune)
	d.atLeast(path+".steps", s.Steps, 1)
	d.atLeast(path+".batch", s.Batch, 1)
	d.between(path+".keep", s.Keep, 0, 1)
	d.atLeast(path+".warmup", s.Warmup, 0)
	d.between(path+".min_lr", s.MinLR, 0, 1)
	d.notNegative(path+".keep_weight", s.KeepWeight)
	d.notNegative(path+".clip", s.Clip)
	for i, b := range s.Betas {
		if b < 0 || b >= 1 {
			d.problem(fmt.Sprintf("%s.betas[%d]", path, i), "is %v; it must be at least 0 and below 1", b)
		}
	}
	d.validateGroups(path, s, groups(block))
}

// validatePrune checks a stage that takes no optimizer steps.
func (d *document) validatePrune(path string, s Stage, block model.Spec) {
	if block.Slots == 0 {
		d.problem(path+".kind", "is %s, but the block has no slots to take away; remove the stage", s.Kind)
	}
	d.atLeast(path+".samples", s.Samples, 1)
	if s.Gain <= 0 || s.Gain > 1 {
		d.problem(path+".gain", "is %v; it must be above 0 and at most 1", s.Gain)
	}
	for _, key := range []struct {
		name string
		set  bool
	}{
		{"steps", s.Steps != 1},
		{"batch", s.Batch != 0},
		{"keep", s.Keep != 0},
		{"keep_weight", s.KeepWeight != 0},
		{"trainable", len(s.Trainable) > 0},
		{"lr", len(s.LR) > 0},
		{"weight_decay", len(s.WeightDecay) > 0},
		{"betas", s.Betas != [2]float64{}},
		{"warmup", s.Warmup != 0},
		{"min_lr", s.MinLR != 0},
		{"clip", s.Clip != 0},
	} {
		if key.set {
			d.problem(join(path, key.name), "belongs to stages that train; remove it")
		}
	}
}

func (d *document) validateGroups(path string, s Stage, has []model.Group) {
	if len(s.Trainable) == 0 && len(has) > 0 {
		d.problem(path+".trainable", "is empty; name at least one group that the block has: %s", list(has))
	}
	for i, g := range s.Trainable {
		at := fmt.Sprintf("%s.trainable[%d]", path, i)
		if oneOf(d, at, g, model.Groups) && !slices.Contains(has, g) {
			d.problem(at, "is %q, but the block has only %s", g, list(has))
		}
	}
	for _, g := range model.Groups {
		d.notNegative(path+".lr."+string(g), s.LR[g])
		d.notNegative(path+".weight_decay."+string(g), s.WeightDecay[g])
	}
}

// notHere reports a key that has a meaning in another kind of stage only.
func (d *document) notHere(path, key string, set bool, kind Kind) {
	if set {
		d.problem(join(path, key), "belongs to stages of kind %s; remove it", kind)
	}
}

func (d *document) required(path, value string) {
	if value == "" {
		d.problem(path, "is missing, but it is required")
	}
}

func (d *document) atLeast(path string, v, least int) {
	if v < least {
		d.problem(path, "is %d; it must be at least %d", v, least)
	}
}

func (d *document) between(path string, v, lo, hi float64) {
	if v < lo || v > hi {
		d.problem(path, "is %v; it must be from %v to %v", v, lo, hi)
	}
}

func (d *document) notNegative(path string, v float64) {
	if v < 0 {
		d.problem(path, "is %v; it must not be negative", v)
	}
}

// oneOf reports a word that is not one of the allowed ones.
func oneOf[T ~string](d *document, path string, v T, allowed []T) bool {
	if slices.Contains(allowed, v) {
		return true
	}
	d.problem(path, "is %q; it must be one of %s", v, list(allowed))
	return false
}

func list[T ~string](values []T) string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return strings.Join(out, ", ")
}
