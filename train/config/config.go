// Package config reads the YAML file of `eisft train --config FILE`: which base
// model, which EdgeInfinite block, which data, the training stages in order and
// how the result is evaluated. configs/s-sft.yaml explains every key.
package config

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"eisft/data"
	"eisft/eval"
	"eisft/internal/atomicfile"
	"eisft/internal/enum"
	"eisft/internal/head"
	"eisft/internal/relpath"
	"eisft/internal/strictyaml"
	"eisft/model"
	"eisft/model/tokenizer"
)

// Config is a training configuration with every default filled in. Its paths
// are absolute, except for Output.
type Config struct {
	// Name is the run's name and its folder's under Output; the file's name
	// without its extension if not given.
	Name  string `yaml:"name"`
	Seed  int64  `yaml:"seed"`
	Model Model  `yaml:"model"`
	Block Block  `yaml:"block"`
	Data  Data   `yaml:"data"`
	// Stages are run in order, each on the parameters that the one before left.
	Stages     Stages      `yaml:"stages"`
	Validation Validation  `yaml:"validation"`
	Eval       eval.Config `yaml:"eval"` // before the first stage and after the last one
	Checkpoint Checkpoint  `yaml:"checkpoint"`
	// TensorBoard writes event files beside the metrics.
	TensorBoard bool `yaml:"tensorboard,omitempty"`
	// Output is the folder of all runs, relative to the working directory.
	Output string `yaml:"output"`
}

// Model is the frozen base.
type Model struct {
	Path  string      `yaml:"path"` // a Hugging Face model folder or a GGUF file
	DType model.DType `yaml:"dtype"`
	// Ignore are keys of the model's configuration that are taken to be absent: see hf.LoadConfig.
	Ignore []string `yaml:"ignore,omitempty"`
	// Adapter is a folder with an adapter of the base, whose parameters training begins with;
	// "": those of an untrained block.
	Adapter string `yaml:"adapter,omitempty"`
	// Quantized is a quantized model of the base, in the place of whose weights those that
	// its codes stand for are frozen; without a folder there is none.
	Quantized Quantized `yaml:"quantized,omitzero"`
	// Cache is where distillation keeps what the frozen base makes of a sample, at most
	// CacheBytes, until the sample comes again.
	Cache      BaseCache `yaml:"cache,omitempty"`
	CacheBytes int64     `yaml:"cache_bytes,omitempty"`
}

// BaseCache is where what the frozen base makes of samples is kept.
type BaseCache string

// The places to keep it.
const (
	CacheNone   BaseCache = "none"   // nowhere: the base reads a sample each time
	CacheMemory BaseCache = "memory" // of each process
	CacheDisk   BaseCache = "disk"   // in the run's folder, until the stage ends
)

var baseCaches = []BaseCache{CacheNone, CacheMemory, CacheDisk}

// Quantized is a folder that `eisft quantize` wrote, as training uses it.
type Quantized struct {
	Folder string `yaml:"folder"`
	// SHA256 is that of the folder's encodings, which hold those of its other files; ""
	// until a run has been started.
	SHA256 string `yaml:"sha256,omitempty"`
	// WeightsOnly leaves activations in float; else they are rounded, and gradients go
	// straight through.
	WeightsOnly bool `yaml:"weights_only,omitempty"`
}

// String is for messages: "runs/a/quant/w4a16, activations rounded".
func (q Quantized) String() string {
	if q.WeightsOnly {
		return q.Folder + ", activations in float"
	}
	return q.Folder + ", activations rounded"
}

// Block is the EdgeInfinite block: a preset and what differs from it.
type Block struct {
	Preset     string `yaml:"preset"`
	model.Spec `yaml:",inline"`
	// Cache is how the run is read by default where it generates, chats or is evaluated; it is
	// trained in float32.
	Cache model.CacheType `yaml:"cache,omitempty"`
}

// Data is what is trained on.
type Data struct {
	Train        data.Files `yaml:"train"`
	data.Options `yaml:",inline"`
	MaxTokens    int           `yaml:"max_tokens"` // of a sample
	Long         data.Long     `yaml:"long"`       // what becomes of longer ones
	Samples      int           `yaml:"samples"`    // use only the first so many of each entry; 0: all
	OnBadRow     data.OnBadRow `yaml:"on_bad_row"` // what becomes of rows that cannot be trained on
	// TemplateOptions are what the chat template knows beside the messages, wherever it is
	// used: enable_thinking, …
	TemplateOptions TemplateOptions `yaml:"template_options,omitempty"`
}

// Set is what is read of the files, before rows are held out.
func (d Data) Set() data.Set { return data.Set{Files: d.Train, Options: d.Options, Samples: d.Samples} }

// OpenData opens the rows to train on, and those that validation.share holds out (nil: none
// are). To close either closes the files of both.
func (c *Config) OpenData(ctx context.Context) (train, heldOut *data.Source, err error) {
	all, err := c.Data.Set().Open()
	if err != nil || c.Validation.Share == 0 {
		return all, nil, err
	}
	if train, heldOut, err = all.Split(ctx, c.Validation.Share); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("validation.share: %w", err), all.Close())
	}
	return train, heldOut, nil
}

// TemplateOptions are variables of a chat template by name, of any type that JSON has.
type TemplateOptions map[string]any

// Fields returns the options in the order of their names.
func (o TemplateOptions) Fields() ([]tokenizer.Field, error) {
	var fields []tokenizer.Field
	for _, name := range slices.Sorted(maps.Keys(o)) {
		value, err := json.Marshal(o[name])
		if err != nil {
			return nil, fmt.Errorf("data.template_options.%s: %w", name, err)
		}
		fields = append(fields, tokenizer.Field{Name: name, Value: value})
	}
	return fields, nil
}

// Validation says how stages that take optimizer steps are held to rows that they are not
// trained on: by the loss that they train, without gradients.
type Validation struct {
	Data data.Files `yaml:"data,omitempty"` // read as those of Data.Train; none: there are none
	// Share of the rows of Data.Train that is held out, by a hash of their text, in place of a file.
	Share    data.Share `yaml:"share,omitempty"`
	Every    int        `yaml:"every"`    // steps; 0: only at the end of a stage
	Samples  int        `yaml:"samples"`  // the first so many rows of each entry; 0: all
	Patience int        `yaml:"patience"` // so many losses in a row that are no better end a stage; 0: none do
	UseBest  bool       `yaml:"use_best"` // a stage leaves the parameters of its best loss, not its last ones
}

// Prunes says whether a stage takes slots away.
func (c *Config) Prunes() bool {
	return slices.ContainsFunc(c.Stages, func(s Stage) bool { return s.Kind() == KindPrune })
}

// Checkpoint says when training is saved on its way.
type Checkpoint struct {
	Every int `yaml:"every"` // steps; 0: only at the end of a stage and when stopped
	// Keep is how many adapters of the last checkpoints stay, each in a folder of its own.
	Keep int `yaml:"keep,omitempty"`
}

// Load reads the configuration in a file. Relative paths in it are relative to
// the file's folder, except for output. The error names every problem on a line
// of its own: file:line, key path, what was found and what is wanted.
//
// Settings are put over the file, one after the other, and checked as if they stood there.
// Paths that they give are relative to the working directory.
func Load(path string, settings ...strictyaml.Setting) (*Config, error) {
	c, _, err := load(path, settings)
	return c, err
}

func load(path string, settings []strictyaml.Setting) (*Config, *document, error) {
	text, err := head.ReadText(path, strictyaml.MaxSize)
	if err != nil {
		return nil, nil, err
	}
	d := newDocument(path)
	c, err := d.read(text, settings)
	return c, d, err
}

// Parse reads a configuration from text; path is where it stands.
func Parse(text []byte, path string, settings ...strictyaml.Setting) (*Config, error) {
	return newDocument(path).read(text, settings)
}

// read returns the configuration that a text and settings over it say.
func (d *document) read(text []byte, settings []strictyaml.Setting) (*Config, error) {
	root, err := d.Parse(text)
	if err != nil {
		return nil, err
	}
	for _, setting := range settings {
		if root, err = d.Set(root, setting); err != nil {
			return nil, err
		}
	}
	d.Check(root, reflect.TypeFor[Config](), "")
	if err := d.Err(); err != nil {
		return nil, err
	}
	c, err := d.decode(root)
	if err != nil {
		return nil, err
	}
	if d.validate(c); d.Err() != nil {
		return nil, d.Err()
	}
	return c, d.settle(c)
}

// settle makes paths absolute, and says which rows are held out.
func (d *document) settle(c *Config) error {
	dir, err := filepath.Abs(filepath.Dir(d.File))
	if err != nil {
		return err
	}
	here, err := filepath.Abs("")
	if err != nil {
		return err
	}
	if err := c.rebase(func(key, path string) (string, error) {
		if d.Given(key) {
			return relpath.Of(here, path), nil
		}
		return relpath.Of(dir, path), nil
	}); err != nil {
		return err
	}
	if len(c.Eval.Data) == 0 && c.Validation.Share > 0 {
		c.Eval.HeldOut = &eval.HeldOut{Set: c.Data.Set(), Share: c.Validation.Share}
	}
	return nil
}

// decode fills a Config from a checked tree, over the defaults that the block's
// preset and the stages' kinds bring with them.
func (d *document) decode(root ast.Node) (*Config, error) {
	var head struct {
		Block struct{ Preset string }
	}
	if err := yaml.NodeToValue(root, &head); err != nil {
		return nil, d.SyntaxError(err)
	}
	c := defaults(d.File)
	if head.Block.Preset != "" {
		c.Block.Preset = head.Block.Preset
	}
	spec, err := model.Preset(c.Block.Preset)
	if err != nil {
		d.Problem("block.preset", "%s", enum.Mismatch(c.Block.Preset, model.PresetNames()))
		return nil, d.Err()
	}
	c.Block.Spec = spec
	if err := yaml.NodeToValue(root, c); err != nil {
		return nil, d.SyntaxError(err)
	}
	for i, s := range c.Stages {
		c.Stages[i] = s.filled(c.Block.Spec)
	}
	return c, nil
}

// rebase puts abs(key, path) in place of each path that is relative to the file.
func (c *Config) rebase(abs func(key, path string) (string, error)) (err error) {
	for key, p := range map[string]*string{"model.path": &c.Model.Path, "model.adapter": &c.Model.Adapter, "model.quantized.folder": &c.Model.Quantized.Folder} {
		if *p == "" {
			continue
		}
		if *p, err = abs(key, *p); err != nil {
			return err
		}
	}
	for key, f := range map[string]*data.Files{"data.train": &c.Data.Train, "validation.data": &c.Validation.Data, "eval.data": &c.Eval.Data} {
		if *f, err = f.Rebased(key, abs); err != nil {
			return err
		}
	}
	return nil
}

// Write saves c as YAML that [Load] reads again to the same value. Paths are
// written relative to the file, so that they survive a move of both, or absolute where
// links on the way to the file would lead them astray.
func (c *Config) Write(path string) error {
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return err
	}
	text, err := c.Text(dir)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return atomicfile.WriteFile(path, text)
}

// Text returns c as the text of a file in a folder, "" for the working directory.
func (c *Config) Text(dir string) ([]byte, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	out := *c
	if err := out.rebase(func(_, path string) (string, error) { return relpath.From(dir, path) }); err != nil {
		return nil, err
	}
	var text bytes.Buffer
	text.WriteString("# Every default is filled in; eisft train --config reads this file, too.\n")
	err = yaml.NewEncoder(&text, yaml.IndentSequence(true)).Encode(out)
	return text.Bytes(), err
}

// Find returns the file that a command line names, see [strictyaml.Find].
func Find(name string) (string, error) { return strictyaml.Find("configs", name) }
