package check_test

import (
	"fmt"
	"os"
	"path/filepath"

	"eisft/export/check"
	"eisft/export/ir"
)

// A graph is written and held to what a vendor takes.
func ExamplePath() {
	dir, err := os.MkdirTemp("", "check")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	g := ir.NewGraph("gate", ir.Options{})
	g.Output("y", g.Sigmoid(g.Input("x", ir.Float32, 1, 8)))
	path := filepath.Join(dir, "gate.onnx")
	if err := g.WriteFile(path); err != nil {
		fmt.Println(err)
		return
	}
	findings, err := check.Path(path, check.QNN)
	fmt.Println(len(findings), "findings", err)
	// Output: 0 findings <nil>
}
