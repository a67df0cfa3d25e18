package model

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"eisft/internal/atomicfile"
	"eisft/internal/errtext"
	"eisft/internal/filehash"
	"eisft/internal/head"
	"eisft/internal/relpath"
	"eisft/model/hf"
)

// The files of an adapter in its folder.
const (
	AdapterWeights = "adapter.safetensors"
	AdapterConfig  = "adapter_config.json"
)

// Adapter describes a trained module: the block and the base it belongs to.
type Adapter struct {
	Format string `json:"format"` // AdapterFormat
	Block  Spec   `json:"block"`
	Base   string `json:"base"`          // path of the base, relative to the adapter's folder or absolute
	BaseID string `json:"base_identity"` // Base.Identity
	// Ignore are the keys of the base's configuration that were taken to be absent: see
	// [hf.LoadConfig].
	Ignore   []string `json:"base_ignored,omitempty"`
	Trained  int      `json:"parameters"` // number of trained scalars
	BaseSize int      `json:"base_parameters"`
	// Weights is the sha256 of AdapterWeights, "" in files of earlier versions.
	Weights string `json:"weights_sha256,omitempty"`
	// Before is the description of the adapter that was saved before into the same folder:
	// its weights are still there if saving was cut off between the two files.
	Before *Adapter `json:"before,omitempty"`
}

// AdapterFormat names the version of the adapter's files.
const AdapterFormat = "eisft-adapter-1"

// Parameters returns the number of the base's scalars.
func (b *Base) Parameters() int {
	n := b.Embed.In * b.Embed.Out
	for _, m := range b.Norms() {
		n += m.Parameters()
	}
	if b.Head != b.Embed {
		n += b.Head.In * b.Head.Out
	}
	for _, l := range b.Layers {
		for _, m := range l.Maps() {
			n += m.In*m.Out + len(m.Bias)
		}
		for _, m := range l.Norms() {
			n += m.Parameters()
		}
	}
	return n
}

// SaveAdapter writes the model's trained parameters and their description into
// a folder. basePath is where the base was read from.
func (m *Model) SaveAdapter(dir, basePath string) error {
	base, err := relpath.From(dir, basePath)
	if err != nil {
		return err
	}
	return Adapter{
		Block: m.Spec, Base: base, BaseID: m.Base.Identity(), Ignore: m.Base.Config.Ignored, Trained: m.Params.Count(), BaseSize: m.Base.Parameters(),
	}.write(dir, m.Params.Entries(""))
}

// write writes an adapter of some tensors into a folder. Whenever it is cut off, the folder
// holds either the adapter that was there before or the new one: the description is
// written first, and names the weights that it belongs to, and the one before.
func (a Adapter) write(dir string, entries []hf.Entry) error {
	a.Format, a.Before = AdapterFormat, nil
	metadata := map[string]string{"format": AdapterFormat}
	sum := sha256.New()
	if err := hf.Encode(sum, entries, metadata); err != nil {
		return err
	}
	a.Weights = hex.EncodeToString(sum.Sum(nil))
	if before, err := ReadAdapter(dir); err == nil && before.Weights != a.Weights { // else there is none that could be used
		before.Before = nil
		if before.Weights, err = filehash.Compute(filepath.Join(dir, AdapterWeights)); err == nil {
			a.Before = before
		}
	}
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFile(filepath.Join(dir, AdapterConfig), append(text, '\n')); err != nil {
		return err
	}
	return hf.WriteFile(filepath.Join(dir, AdapterWeights), entries, metadata)
}

// ReadAdapter reads the description of the adapter in a folder: of those in AdapterConfig
// the one that belongs to the weights that are there.
func ReadAdapter(dir string) (*Adapter, error) {
	path := filepath.Join(dir, AdapterConfig)
	text, err := head.Read(path, head.Description)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("adapter: %w: name a folder that holds one; that of a run has one from its first checkpoint on", err)
	}
	if err != nil {
		return nil, fmt.Errorf("adapter: %w", err)
	}
	a := &Adapter{}
	if err := json.Unmarshal(text, a); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("%s: not valid JSON: %w", path, err)
		}
		return nil, fmt.Errorf("%s: %w", path, errtext.JSON("", err))
	}
	if key := repeatedKey(text); key != "" {
		return nil, fmt.Errorf("%s: %s stands there twice; leave one of them out", path, key)
	}
	if found := hf.Describe(dir); a.Format == "" && found != "" {
		return nil, fmt.Errorf("%s: want an adapter that eisft has trained, found %s", dir, found)
	}
	if a, err = a.ofWeights(filepath.Join(dir, AdapterWeights)); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if a.Format != AdapterFormat {
		return nil, fmt.Errorf("%s: format is %q; this version of eisft reads %q", path, a.Format, AdapterFormat)
	}
	if err := a.Block.Validate(); err != nil {
		return nil, fmt.Errorf("%s: block.%w", path, err)
	}
	return a, nil
}

// ofWeights returns a, or the description before it, whichever the file belongs to.
func (a *Adapter) ofWeights(path string) (*Adapter, error) {
	if a.Weights == "" {
		return a, nil
	}
	sum, err := filehash.Compute(path)
	switch {
	case errors.Is(err, fs.ErrNotExist): // whoever reads the weights says so
		return a, nil
	case err != nil:
		return nil, err
	case sum == a.Weights:
		return a, nil
	case a.Before != nil && sum == a.Before.Weights:
		return a.Before, nil
	}
	return nil, fmt.Errorf("weights_sha256 is %s, but %s has %s; the file is damaged, or that of another adapter", a.Weights, AdapterWeights, sum)
}

// LoadAdapter joins a base with the adapter in a folder. It fails if the
// adapter was trained for another base.
func LoadAdapter(b *Base, dir string) (*Model, error) {
	a, err := ReadAdapter(dir)
	if err != nil {
		return nil, err
	}
	if err := b.CheckIdentity(a.BaseID); err != nil {
		return nil, fmt.Errorf("%s: the adapter was trained for the base %s: %w; give the base it was trained for", dir, a.Base, err)
	}
	n := b.Parameters()
	apart := n // of a base that is quantized, training counts a head apart that is the table of embeddings
	if b.Head == b.Embed {
		apart += b.Embed.In * b.Embed.Out
	}
	if a.BaseSize != 0 && a.BaseSize != n && a.BaseSize != apart {
		return nil, fmt.Errorf("%s: base_parameters is %d, but the base has %d; the file was edited, or is damaged", filepath.Join(dir, AdapterConfig), a.BaseSize, n)
	}
	m, err := New(b, a.Block, nil)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, AdapterWeights)
	f, err := hf.OpenFile(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if err := m.Params.ReadFrom(f, ""); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if have := m.Params.Count(); have != a.Trained {
		return nil, fmt.Errorf("%s: parameters is %d, but %s holds %d; the files belong to different adapters", filepath.Join(dir, AdapterConfig), a.Trained, AdapterWeights, have)
	}
	return m, nil
}
