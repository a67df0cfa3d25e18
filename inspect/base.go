package inspect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"

	"eisft/data"
	"eisft/model"
	"eisft/model/hf"
	"eisft/model/tokenizer"
)

// inspectModel describes a model folder or a .gguf file.
func inspectModel(_ context.Context, r *Report, path string, _ Options) error {
	r.Kind = "model"
	c, err := hf.LoadConfig(path)
	r.problem(err)
	var keys []hf.Key
	if c != nil {
		r.config(c)
		keys = c.Keys
	} else if refused := (*hf.KeysError)(nil); errors.As(err, &refused) {
		keys = refused.Keys
	}
	r.weights(c, path)
	r.tokenizer(c, path)
	_, err = data.ReadBasePrompts(path)
	r.problem(err)
	r.keys(keys)
	return nil
}

// keys lists what became of each key of a model's configuration.
func (r *Report) keys(keys []hf.Key) {
	table := Table{Title: "configuration", Columns: []string{"key", "value", "use", "why"}}
	for _, use := range []hf.Use{hf.KeyRefused, hf.KeyUnknown, hf.KeyIgnored, hf.KeyUsed} {
		for _, k := range keys {
			if k.Use == use {
				var why any
				if k.Reason != "" {
					why = k.Reason
				}
				table.row(k.Name, k.Value, string(k.Use), why)
			}
		}
	}
	r.table(table)
}

func (r *Report) config(c *hf.Config) {
	for _, w := range c.Warnings() {
		r.note("%s", w)
	}
	r.fact("architecture", c.Architecture)
	r.fact("layers", c.NumHiddenLayers)
	r.fact("hidden size", c.HiddenSize)
	r.fact("heads", c.NumAttentionHeads)
	r.fact("kv heads", c.NumKeyValueHeads)
	r.fact("head size", c.HeadDim)
	r.fact("feed-forward size", c.IntermediateSize)
	r.fact("activation", c.HiddenAct)
	r.fact("vocabulary", Count(c.VocabSize))
	r.fact("tied embeddings", c.TieWordEmbeddings)
	r.fact("context", Count(c.MaxPositionEmbeddings))
	r.fact("rope", ropeText(c.Rope))
	r.variant(c)
	if c.SlidingWindow > 0 {
		sliding := 0
		for _, t := range c.LayerTypes {
			if t == hf.SlidingAttention {
				sliding++
			}
		}
		r.fact("sliding window", fmt.Sprintf("%d tokens in %d of %d layers", c.SlidingWindow, sliding, c.NumHiddenLayers))
	}
}

// variant tells what only some families have.
func (r *Report) variant(c *hf.Config) {
	if n := len(slices.DeleteFunc(slices.Clone(c.NoRope), func(not bool) bool { return !not })); n > 0 {
		r.fact("without rotary embedding", fmt.Sprintf("%d of %d layers", n, c.NumHiddenLayers))
	}
	for _, f := range []struct {
		name  string
		value float64
	}{
		{"residual scale", c.ResidualScale},
		{"logits divided by", c.LogitScale},
		{"logits capped at", c.FinalLogitSoftcap},
		{"attention capped at", c.AttentionSoftcap},
	} {
		if f.value != 0 {
			r.fact(f.name, f.value)
		}
	}
	if c.ScaledQueriesFrom != 0 {
		r.fact("positions below", c.ScaledQueriesFrom)
	}
}

func ropeText(rope hf.Rope) string {
	text := fmt.Sprintf("%s, theta %s", rope.Type, strconv.FormatFloat(rope.Theta, 'f', -1, 64))
	if rope.Factor != 0 {
		text += fmt.Sprintf(", factor %g", rope.Factor)
	}
	if rope.Alpha != 0 {
		text += fmt.Sprintf(", alpha %g", rope.Alpha)
	}
	if rope.Power != 0 {
		text += fmt.Sprintf(", power %g", rope.Power)
	}
	if rope.OriginalMaxPositionEmbeddings != 0 {
		text += fmt.Sprintf(" over %d positions", rope.OriginalMaxPositionEmbeddings)
	}
	return text
}

// weights describes a checkpoint and holds it to the configuration; c is nil
// if that could not be read.
func (r *Report) weights(c *hf.Config, path string) {
	ck, err := hf.Open(path)
	if err != nil {
		r.problem(err)
		return
	}
	defer func() { _ = ck.Close() }()
	size := 0
	for _, name := range ck.Names() {
		if t, err := ck.Tensor(name); err == nil {
			size += len(t.Data)
		}
	}
	r.fact("weights", Bytes(size))
	r.tensors(ck)
	for _, w := range ck.Warnings() {
		r.note("%s", w)
	}
	if c != nil {
		r.fits(c, ck)
	}
}

// maxHeadDim bounds the heads whose block is counted: no model has larger
// ones, and the block's matrices grow with the square of them.
const maxHeadDim = 1 << 10

// fits holds a checkpoint to the tensors of its architecture and counts what
// the default block would train.
func (r *Report) fits(c *hf.Config, ck *hf.Checkpoint) {
	base, err := model.NewBase(c, ck)
	if err != nil {
		r.problem(err)
		return
	}
	for _, w := range base.Warnings {
		r.note("%s", w)
	}
	r.fact("base identity", base.Identity())
	if spec, err := model.Preset(defaultBlock); err == nil && c.HeadDim <= maxHeadDim {
		trained := model.NewParams(spec, base.Dims, len(base.Layers)).Count()
		r.fact("default block", defaultBlock)
		r.fact("trainable parameters", Count(trained))
		r.fact("trainable share", Share(float64(trained)/float64(base.Parameters())))
	}
}

// defaultBlock is the preset that a configuration has unless it names another.
const defaultBlock = "eisft"

// tokenizer describes a model's tokenizer and chat template; c is nil if the
// configuration could not be read.
func (r *Report) tokenizer(c *hf.Config, path string) {
	tk, err := tokenizer.Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		r.note("there is no tokenizer.json beside the weights: texts cannot be read, neither for training nor for generating")
		return
	}
	if err != nil {
		r.problem(err)
		return
	}
	n := tk.VocabSize()
	r.fact("tokenizer", fmt.Sprintf("%s tokens, BOS %q, EOS %q", Count(n), tk.BOS(), tk.EOS()))
	if c != nil {
		w, err := tk.Limit(c.VocabSize)
		if err != nil {
			r.problem(fmt.Errorf("%s: %w", path, err))
		}
		if w != "" {
			r.note("%s", w)
		}
	}
	_, err = tokenizer.LoadTemplate(path)
	r.fact("chat template", err == nil)
	if !errors.Is(err, tokenizer.ErrNoTemplate) {
		r.problem(err)
	}
}
