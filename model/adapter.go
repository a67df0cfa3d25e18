package model

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"eisft/internal/atomicfile"
	"eisft/model/hf"
)

// The files of an adapter in its folder.
const (
	AdapterWeights = "adapter.safetensors"
	AdapterConfig  = "adapter_config.json"
)

// Adapter describes a trained module: the block and the base it belongs to.
type Adapter struct {
	Format   string `json:"format"` // AdapterFormat
	Block    Spec   `json:"block"`
	Base     string `json:"base"`          // path of the base, relative to the adapter's folder
	BaseID   string `json:"base_identity"` // Base.Identity
	Trained  int    `json:"parameters"`    // number of trained scalars
	BaseSize int    `json:"base_parameters"`
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
	rel, err := relative(dir, basePath)
	if err != nil {
		return err
	}
	a := Adapter{Format: AdapterFormat, Block: m.Spec, Base: rel, BaseID: m.Base.Identity(), Trained: m.Params.Count(), BaseSize: m.Base.Parameters()}
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	if err := hf.WriteFile(filepath.Join(dir, AdapterWeights), m.Params.Entries(""), map[string]string{"format": AdapterFormat}); err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(dir, AdapterConfig), append(text, '\n'))
}

// relative returns path as seen from dir.
func relative(dir, path string) (string, error) {
	from, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	to, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.Rel(from, to)
}

// ReadAdapter reads the description of the adapter in a folder.
func ReadAdapter(dir string) (*Adapter, error) {
	path := filepath.Join(dir, AdapterConfig)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("adapter: %w", err)
	}
	a := &Adapter{}
	if err := json.Unmarshal(text, a); err != nil {
		return nil, fmt.Errorf("%s: not valid JSON: %w", path, err)
	}
	if a.Format != AdapterFormat {
		return nil, fmt.Errorf("%s: format is %q; this version of eisft reads %q", path, a.Format, AdapterFormat)
	}
	if err := a.Block.Validate(); err != nil {
		return nil, fmt.Errorf("%s: block.%w", path, err)
	}
	return a, nil
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
	return m, nil
}
