package config

import (
	"fmt"
	"strings"
	"unicode"

	"eisft/data"
	"eisft/eval"
	"eisft/internal/strictyaml"
	"eisft/model"
)

// validate reports values that no run can have. It is the place for what the
// types do not say; the block's own rules stand in [model.Spec.Validate].
func (d *document) validate(c *Config) {
	d.validateName(c.Name)
	d.Required("model.path", c.Model.Path)
	strictyaml.OneOf(d.Document, "model.dtype", c.Model.DType, model.DTypes())
	if q := c.Model.Quantized; q != (Quantized{}) && q.Folder == "" {
		d.Problem("model.quantized.folder", "is missing; name a folder that eisft quantize wrote, or leave quantized out")
	}
	strictyaml.OneOf(d.Document, "model.cache", c.Model.Cache, baseCaches)
	if c.Model.CacheBytes < 1 {
		d.Problem("model.cache_bytes", "is %d; it must be at least 1, or leave model.cache out to keep nothing", c.Model.CacheBytes)
	}
	if len(c.Data.Train) == 0 {
		d.Required("data.train", "")
	}
	c.Data.Train.Check(d.Document, "data.train", true)
	d.format("data.format", c.Data.Format)
	d.Required("output", c.Output)
	d.validateBlock(c.Block.Spec, len(c.Stages) > 0)
	if c.Block.Cache != "" {
		strictyaml.OneOf(d.Document, "block.cache", c.Block.Cache, model.CacheTypes())
	}
	d.leavesWindow("data.max_tokens", c.Data.MaxTokens, c.Block.Spec)
	d.AtLeast("data.samples", c.Data.Samples, 0)
	strictyaml.OneOf(d.Document, "data.on_bad_row", c.Data.OnBadRow, data.OnBadRows())
	strictyaml.OneOf(d.Document, "data.long", c.Data.Long, data.Longs())
	for _, own := range []string{"messages", "add_generation_prompt"} {
		if _, ok := c.Data.TemplateOptions[own]; ok {
			d.Problem("data.template_options."+own, "is no option: it is the sample's")
		}
	}
	d.AtLeast("validation.every", c.Validation.Every, 0)
	d.AtLeast("validation.samples", c.Validation.Samples, 0)
	d.AtLeast("validation.patience", c.Validation.Patience, 0)
	if len(c.Validation.Data) > 0 && c.Validation.Share > 0 {
		d.Problem("validation", "has data and share, of which one can say which rows are held out; leave one out")
	}
	if len(c.Validation.Data) == 0 && c.Validation.Share == 0 && (c.Validation.Patience > 0 || c.Validation.UseBest) {
		d.Problem("validation", "asks for losses on held-out rows, but there are none; name a file of them as validation.data, or a part of the rows as validation.share")
	}
	c.Validation.Data.Check(d.Document, "validation.data", false)
	d.validateEval(c.Eval, c.Block.Spec)
	d.AtLeast("checkpoint.every", c.Checkpoint.Every, 0)
	d.AtLeast("checkpoint.keep", c.Checkpoint.Keep, 0)
	if len(c.Stages) == 0 {
		d.Problem("stages", "is missing; list at least one stage, such as - kind: s-sft")
	}
	for i, s := range c.Stages {
		s.validate(d, fmt.Sprintf("stages[%d]", i), c)
	}
}

// Latest is the link beside the runs that points to the newest trained one.
const Latest = "latest"

// validateName reports a name that a run's folder cannot have.
func (d *document) validateName(name string) {
	switch {
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, `/\`) || strings.ContainsFunc(name, unicode.IsControl):
		d.Problem("name", "is %q; it must be the name of a folder, since the run is written to one", name)
	case strings.HasPrefix(name, "."):
		d.Problem("name", "is %q; it must not begin with a dot, since folders of runs are not hidden", name)
	case strings.EqualFold(name, Latest): // some file systems know no case
		d.Problem("name", "is %q, which is what the link to the newest run is called; give the run another name", name)
	}
}

// validateBlock reports what the block itself finds wrong. Its message begins
// with the field's name, which becomes a key path if the file has that key.
func (d *document) validateBlock(block model.Spec, trained bool) {
	for _, f := range []struct {
		key    string
		tokens int
	}{{"sink", block.Sink}, {"window", block.Window}, {"segment", block.Segment}, {"slots", block.Slots}} {
		if f.tokens > maxBlockTokens { // a block without bounds is for the policy full
			d.Problem("block."+f.key, "is %d; it must be at most %d", f.tokens, maxBlockTokens)
			return
		}
	}
	err := block.Validate()
	if err == nil {
		if trained && len(groups(block)) == 0 {
			d.Problem("block", "has nothing to train: slots are 0 and memory is none")
		}
		return
	}
	field, rest, _ := strings.Cut(err.Error(), " ")
	if path := "block." + field; d.Has(path) {
		d.Problem(path, "%s", rest)
		return
	}
	d.Problem("block", "cannot be built: %v", err)
}

// leavesWindow reports a length in tokens at which the base model alone sees
// everything, so that the block is never used.
func (d *document) leavesWindow(path string, tokens int, block model.Spec) {
	if block.Validate() != nil { // said elsewhere
		return
	}
	d.AtMost(path, tokens, strictyaml.MaxCount)
	if all := block.Sizes().Short(); tokens <= all {
		d.Problem(path, "is %d; it must be more than sink + window + segment = %d, or no token ever leaves the window", tokens, all)
	}
}

func (d *document) validateEval(e eval.Config, block model.Spec) {
	if e.MaxTokens != 0 {
		d.leavesWindow("eval.max_tokens", e.MaxTokens, block)
	}
	e.Data.Check(d.Document, "eval.data", false)
	d.format("eval.format", e.Format)
	d.AtLeast("eval.samples", e.Samples, 0)
	d.AtLeast("eval.max_new_tokens", e.MaxNewTokens, 1)
	for i, p := range e.Policies {
		strictyaml.OneOf(d.Document, fmt.Sprintf("eval.policies[%d]", i), p, eval.Policies())
	}
}

// format reports a form of rows that there is not; "" is that which their columns say.
func (d *document) format(path string, f data.Format) {
	if f != "" {
		strictyaml.OneOf(d.Document, path, f, data.Formats())
	}
}

// maxBlockTokens is more than any base was trained for, and more than fits a phone.
const maxBlockTokens = 1 << 20
