package config

import (
	"path/filepath"
	"strings"

	"eisft/data"
	"eisft/eval"
	"eisft/model"
)

func defaults(file string) *Config {
	base := filepath.Base(file)
	return &Config{
		Name:       strings.TrimSuffix(base, filepath.Ext(base)),
		Model:      Model{DType: model.DTypeAuto},
		Block:      Block{Preset: "eisft"},
		Data:       Data{MaxTokens: 2048, OnBadRow: data.BadRowFail},
		Validation: Validation{Every: 25, Samples: 32},
		Eval:       eval.Config{Before: true, Samples: 100, MaxNewTokens: 32, Policies: eval.DefaultPolicies()},
		Checkpoint: Checkpoint{Every: 50},
		Output:     "runs",
	}
}
