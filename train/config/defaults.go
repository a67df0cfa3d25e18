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
		Data:       Data{MaxTokens: 2048, Long: data.LongKeepStart, OnBadRow: data.BadRowFail},
		Eval:       eval.Config{Samples: 100, MaxNewTokens: 32, Policies: eval.DefaultPolicies()},
		Checkpoint: Checkpoint{Every: 50},
		Output:     "runs",
	}
}
