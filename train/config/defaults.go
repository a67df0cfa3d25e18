package config

import (
	"path/filepath"
	"strings"

	"eisft/data"
	"eisft/eval"
	"eisft/internal/relpath"
	"eisft/model"
)

func defaults(file string) *Config {
	base := filepath.Base(file)
	return &Config{
		Name:       strings.TrimSuffix(base, filepath.Ext(base)),
		Model:      Model{DType: model.DTypeAuto, Cache: CacheNone, CacheBytes: 4e9},
		Block:      Block{Preset: "eisft"},
		Data:       Data{MaxTokens: 2048, Long: data.LongKeepStart, OnBadRow: data.BadRowFail},
		Validation: Validation{Every: 25, Samples: 32},
		Eval:       eval.Config{Before: true, Samples: 100, MaxNewTokens: 32, Policies: eval.DefaultPolicies()},
		Checkpoint: Checkpoint{Every: 50},
		Output:     "runs",
	}
}

// OfAdapter returns the configuration of an adapter that lies in a folder without one: its
// block, the base that it names, and the defaults.
func OfAdapter(dir string, a *model.Adapter) *Config {
	c := defaults("")
	c.Name = filepath.Base(dir)
	c.Model.Path, c.Model.Ignore = relpath.Of(dir, a.Base), a.Ignore
	c.Block.Spec = a.Block
	return c
}
