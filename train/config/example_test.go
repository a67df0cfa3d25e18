package config_test

import (
	"fmt"

	"eisft/train/config"
)

// A configuration with two mistakes: the error names both, with line and key.
func ExampleParse() {
	_, err := config.Parse([]byte(`model: {path: ../model/demo}
data: {train: train.parquet, max_token: 4096}
block: {window: many}
stages: [{kind: s-sft}]
`), "configs/mine.yaml")
	fmt.Println(err)
	// Output:
	// configs/mine.yaml:2: data.max_token is not a known key; did you mean "max_tokens"?
	// configs/mine.yaml:3: block.window must be a whole number, not "many"
}
