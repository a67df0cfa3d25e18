package hf

import (
	"maps"
	"slices"
	"strings"
)

// What the tests of package hf_test need of this package and of its tests.
var (
	GGMLTypes        = ggmlTypes
	ParseGGUF        = parseGGUF
	ParseSafetensors = parseSafetensors
	SafetensorsFile  = file
	WantError        = wantError
	Write            = write
	CloseFile        = closeFile
)

// CheckTensor makes sure that a tensor's data fit its shape.
func CheckTensor(t Tensor) error {
	_, err := t.check()
	return err
}

// ConfigOf reads the configuration of a parsed GGUF file.
func ConfigOf(metadata map[string]any, tensors map[string]Tensor) (*Config, error) {
	return (&GGUF{Metadata: metadata, tensors: tensors}).config(nil)
}

// CheckpointOf gives a parsed GGUF file's weights under Hugging Face's names.
func CheckpointOf(metadata map[string]any, tensors map[string]Tensor) (*Checkpoint, error) {
	c := &Checkpoint{tensors: map[string]stored{}}
	return c, c.addGGUF(&GGUF{Metadata: metadata, tensors: tensors})
}

// GGUFArchitectures lists the supported architectures as messages do.
func GGUFArchitectures() string {
	return strings.Join(slices.Sorted(maps.Keys(ggufArchitectures)), ", ")
}
