package data_test

import (
	"fmt"

	"eisft/data"
	"eisft/model/tokenizer"
)

// A row of a file becomes tokens, and the tokens of the answer are marked: these are
// what training learns.
func Example() {
	source, err := data.Open("demo/test.parquet", data.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = source.Close() }()
	tk, err := tokenizer.Load("../model/demo")
	if err != nil {
		fmt.Println(err)
		return
	}
	template, err := tokenizer.LoadTemplate("../model/demo")
	if err != nil {
		fmt.Println(err)
		return
	}
	sample, err := source.At(0)
	if err != nil {
		fmt.Println(err)
		return
	}
	encoded, err := data.NewEncoder(tk, template, 0).Encode(sample)
	if err != nil {
		fmt.Println(err)
		return
	}
	turn := encoded.Turns[0]
	fmt.Println(source.Len(), "rows of the form", source.Format())
	fmt.Println(len(encoded.IDs), "tokens in", encoded.Where)
	fmt.Printf("learned: %q\n", tk.Decode(encoded.IDs[turn.Start:turn.End], false))
	// Output:
	// 157 rows of the form longbench
	// 1856 tokens in demo/test.parquet:row 1
	// learned: "8,200 dollars<|end|>"
}
