package quant_test

import (
	"context"
	"fmt"

	"eisft/data"
	"eisft/model"
	"eisft/quant"
)

// A model is calibrated on one sample, quantized, and computes as its graphs will.
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
	ids := make([]int32, 600)
	for i := range ids {
		ids[i] = int32(4 + i)
	}
	samples := func(yield func(data.Encoded, error) bool) {
		yield(data.Encoded{Where: "here", IDs: ids, Turns: []data.Turn{{Start: 590, End: 600}}}, nil)
	}
	seen, err := quant.Calibrate(context.Background(), m, samples)
	if err != nil {
		fmt.Println(err)
		return
	}
	scheme, err := quant.ParseScheme("w8a16")
	if err != nil {
		fmt.Println(err)
		return
	}
	quantized, err := quant.Quantize(m, scheme, quant.RangeMinMax, seen)
	if err != nil {
		fmt.Println(err)
		return
	}
	faked, rounding, err := quant.Apply(m, quantized)
	if err != nil {
		fmt.Println(err)
		return
	}
	stream := faked.NewStream(model.StreamOptions{Wrap: rounding})
	if _, err := stream.Read(context.Background(), ids[:8], nil); err != nil {
		fmt.Println(err)
		return
	}
	for _, w := range seen.Warnings {
		fmt.Println(w)
	}
	fmt.Println(len(quantized.Weights), "matrices and", len(quantized.Points), "tensors between them")
	// Output:
	// calibrated on 1 sample: what other texts reach beyond it is clipped; take 4 or more (--samples)
	// the samples filled at most 248 of 256 slots; calibrate with longer samples to see what the slots hold in use
	// 57 matrices and 174 tensors between them
}
