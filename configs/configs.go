// Package configs holds the configurations that come with the program.
package configs

import _ "embed"

// Template is a training configuration in which every key stands and is explained.
//
//go:embed s-sft.yaml
var Template string
