package runs

import (
	"path/filepath"

	"eisft/eval"
	"eisft/internal/atomicfile"
)

// Folders are those that commands write into, as paths from a run's folder: where it lies itself,
// and those of what is made of it. A command that was killed leaves a hidden file or folder there.
var Folders = []string{"..", ".", QuantDir, ExportDir, eval.EvaluationsDir}

// QuantDir and ExportDir are where a run's quantized models and its exports lie, each in a folder of
// its own.
const (
	QuantDir  = "quant"
	ExportDir = "export"
)

// Sweep removes what killed commands have left of a run, whatever they were to write.
func Sweep(dir string) {
	for _, name := range Folders {
		atomicfile.Sweep(filepath.Join(dir, name))
	}
}
