package inspect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"eisft/model"
	"eisft/model/hf"
	"eisft/model/tokenizer"
)

// inspectModel describes a model folder or a .gguf file.
func inspectModel(_ context.Context, r *Report, path string, _ Options) error {
	r.Kind = "model"
	c, err := hf.LoadConfig(path)
	r.problem(err)
	if c != nil {
		r.config(c)
	}
	r.weights(c, path)
	r.tokenizer(c, path)
	return nil
}

func (r *Report) config(c *hf.Config) {
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

func ropeText(rope hf.Rope) string {
	text := fmt.Sprintf("%s, theta %s", rope.Type, strconv.FormatFloat(rope.Theta, 'f', -1, 64))
	if rope.Factor != 0 {
		text += fmt.Sprintf(", factor %g", rope.Factor)
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
		if c != nil || len(r.Problems) == 0 || r.Problems[0] != err.Error() { // a .gguf file is both
			r.problem(err)
		}
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
