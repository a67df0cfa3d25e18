package export_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"eisft/export"
	"eisft/export/check"
	"eisft/export/lower"
	"eisft/export/manifest"
	"eisft/model"
)

// Float graphs of one shape are written, read back and held to the rules.
func Example() {
	base, err := model.LoadBase("../model/demo")
	if err != nil {
		fmt.Println(err)
		return
	}
	block, err := model.Preset("eisft")
	if err != nil {
		fmt.Println(err)
		return
	}
	m, err := model.New(base, block, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	dir, err := os.MkdirTemp("", "export")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	dir = filepath.Join(dir, "phone")
	_, _, err = export.Export(context.Background(), m, dir, export.Options{
		Sizes: []export.Size{{Tokens: 64, Cache: 512}}, Inputs: lower.InputEmbeds, Logits: lower.LogitsLast,
		Name: "demo", NoVerify: true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	folder, err := manifest.Read(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(folder.GraphFiles())
	findings, err := check.Path(dir, check.NoTarget)
	fmt.Println(len(findings), "findings", err)
	// Output:
	// [64t512c.onnx 1t512c.onnx commit-64t.onnx]
	// 0 findings <nil>
}
