package model_test

import (
	"context"
	"fmt"

	"eisft/model"
)

// A text of any length is read in constant memory, and then continued.
func Example() {
	base, err := model.LoadBase("demo")
	if err != nil {
		fmt.Println(err)
		return
	}
	block, err := model.Preset("eisft")
	if err != nil {
		fmt.Println(err)
		return
	}
	m, err := model.New(base, block, nil) // nil: an untrained block; see LoadAdapter
	if err != nil {
		fmt.Println(err)
		return
	}
	ids := make([]int32, 5000)
	for i := range ids {
		ids[i] = int32(4 + i%1000)
	}
	stream := m.NewStream(model.StreamOptions{})
	next, err := stream.Read(context.Background(), ids, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, err := stream.Generate(context.Background(), next, model.GenerateOptions{MaxNewTokens: 4})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("read and written:", stream.Seen(), "written:", len(answer))
	fmt.Println("kept exactly:", stream.State.Parts(0).Stored(), "of at most", block.Capacity())
	// Output:
	// read and written: 5004 written: 4
	// kept exactly: 660 of at most 776
}
