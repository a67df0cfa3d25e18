package host_test

import (
	"context"
	"fmt"

	"eisft/export/host"
	"eisft/model"
)

// An exported folder reads a prompt and answers, in ONNX Runtime. It has no fixed output:
// it needs a folder that eisft export wrote.
func Example() {
	m, err := host.Open("runs/latest/export/512x2048", host.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = m.Close() }()
	stream, err := m.NewStream()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = stream.Close() }()
	prompt := []int32{1, 202, 2539, 309, 264, 1038, 34, 3, 202, 2, 202}
	next, err := stream.Read(context.Background(), prompt, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, err := stream.Generate(context.Background(), next, model.GenerateOptions{MaxNewTokens: 16, Stop: []int32{3}})
	fmt.Println(answer, err)
}
