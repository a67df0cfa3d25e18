package train_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"eisft/train"
	"eisft/train/config"
	"eisft/train/runs"
)

// One step of distillation on the demo base, and the run that it leaves.
func ExampleTrain() {
	dir, err := os.MkdirTemp("", "train")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	c, err := config.Parse([]byte(`
model: {path: ../model/demo}
data: {train: ../data/demo/train.parquet}
stages: [{kind: distill, steps: 1, batch: 1}]
output: `+dir+"\n"), "one-step.yaml")
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := train.Train(context.Background(), c, train.Options{}); err != nil {
		fmt.Println(err)
		return
	}
	run, err := runs.Open(filepath.Join(dir, runs.Latest))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(filepath.Base(run.Dir), "has", run.Model.Params.Count(), "trained parameters")
	// Output:
	// one-step has 202800 trained parameters
}
