package train

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"eisft/eval"
	"eisft/model"
	"eisft/train/config"
	"eisft/train/runs"
)

// TestSameConfig names every key that differs, with its value in the run and now.
func TestSameConfig(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(c *config.Config)
		want   string // between "configuration: " and "; resume"
	}{
		{"nothing", func(*config.Config) {}, ""},
		{"one rate", func(c *config.Config) {
			s := c.Stages[1].(config.SSFT)
			s.LR = maps.Clone(s.LR)
			s.LR[model.GroupRetention] = 0.5
			c.Stages[1] = s
		}, "stages[1].lr.retention was 0.01 and is 0.5"},
		{"two keys", func(c *config.Config) { c.Seed, c.Block.Window = 7, 32 }, "block.window was 16 and is 32, seed was 0 and is 7"},
		{"a text", func(c *config.Config) { c.Data.Prompt = "a b" }, `data.prompt was not set and is "a b"`},
		{"a key that comes and goes", func(c *config.Config) { c.Block.SlotLayers = []int{1} }, "block.slot_layers was not set and is [1]"},
		{"a list", func(c *config.Config) { c.Eval.Policies = []eval.Policy{eval.PolicyFull} }, `eval.policies[1] was "window" and is not set, eval.policies[2] was "edgeinfinite" and is not set`},
		{"a stage less", func(c *config.Config) { c.Stages = c.Stages[:1] }, `stages[1] was {`},
	} {
		then := tinyConfig(t, "["+distillStage+", "+sftStage+"]")
		path := filepath.Join(t.TempDir(), runs.ConfigFile)
		if err := then.Write(path); err != nil {
			t.Fatal(err)
		}
		now := *then
		now.Stages = append([]config.Stage(nil), then.Stages...)
		c.change(&now)
		err := sameConfig(&now, path)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v, want no error", c.name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), path+": the run was started with another configuration: "+c.want) {
			t.Errorf("%s: %v\nwant %s", c.name, err, c.want)
		}
	}
}
