package inspect

import (
	"context"
	"fmt"
	"os"

	"eisft/data"
	"eisft/quant"
	"eisft/train/config"
)

// inspectConfig describes the configuration of a training run, or says that it is a recipe.
func inspectConfig(_ context.Context, r *Report, path string, _ Options) error {
	r.Kind = "configuration"
	c, err := config.Load(path)
	if err != nil {
		if recipe, not := quant.LoadRecipe(path); not == nil {
			r.Kind = "quantization recipe"
			r.fact("name", recipe.Name)
			r.fact("scheme", recipe.Scheme)
			return nil
		}
		r.problem(err)
		return nil
	}
	r.fact("name", c.Name)
	r.fact("seed", c.Seed)
	r.fact("base", c.Model.Path)
	r.fact("block", blockText(c.Block.Spec))
	r.fact("data", c.Data.Train.String())
	if !c.Eval.Nothing() {
		r.fact("evaluated on", c.Eval.Name())
	}
	r.trainedBeside(c.Model.Quantized)
	t := Table{Title: "stages", Columns: []string{"stage", "kind", "steps"}}
	for i, s := range c.Stages {
		t.row(i+1, string(s.Kind()), Count(s.NumSteps()))
	}
	r.table(t)
	type file struct{ key, path string }
	files := []file{{"model.path", c.Model.Path}}
	add := func(key string, list data.Files) {
		for _, f := range list {
			files = append(files, file{key, f.Path})
		}
	}
	add("validation.data", c.Validation.Data)
	add("eval.data", c.Eval.Data)
	add("data.train", c.Data.Train)
	for _, f := range files {
		paths, err := data.Expand(f.path)
		if err == nil {
			_, err = os.Stat(paths[0])
		}
		if err != nil {
			r.problem(fmt.Errorf("%s: %w", f.key, err))
		}
	}
	return nil
}
