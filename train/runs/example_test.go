package runs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"eisft/train/config"
	"eisft/train/runs"
)

// A configuration's base with its block as training finds it, and a run that is not
// there.
func Example() {
	dir, err := os.MkdirTemp("", "runs")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	c, err := config.Load("../../configs/s-sft.yaml")
	if err != nil {
		fmt.Println(err)
		return
	}
	run, err := runs.OpenUntrained(c)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(run.Model.Params.Count(), "parameters to train beside", run.Model.Base.Config.Architecture)
	_, err = runs.Open(filepath.Join(dir, runs.Latest))
	fmt.Println(strings.Replace(err.Error(), filepath.Join(dir, runs.Latest), "LATEST", 1))
	// Output:
	// 202800 parameters to train beside LlamaForCausalLM
	// there is no run LATEST; train one with eisft train --config FILE, or name its folder with --run
}
