package eval_test

import (
	"context"
	"fmt"

	"eisft/data"
	"eisft/eval"
	"eisft/model"
	"eisft/model/tokenizer"
)

// The first question of the demo's test file, answered with full attention.
func Example() {
	const folder = "../model/demo"
	base, err := model.LoadBase(folder)
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
	tk, err := tokenizer.Load(folder)
	if err != nil {
		fmt.Println(err)
		return
	}
	template, err := tokenizer.LoadTemplate(folder)
	if err != nil {
		fmt.Println(err)
		return
	}
	source, err := data.Open("../data/demo/test.parquet", data.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = source.Close() }()
	samples, err := eval.Load(source, data.NewEncoder(tk, template, 0), 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	result, err := eval.Run(context.Background(), m, eval.PolicyFull, tk, samples, eval.Options{MaxNewTokens: 16})
	if err != nil {
		fmt.Println(err)
		return
	}
	answer := result.Answers[0]
	fmt.Printf("%q, accepted %q, %d tokens back\n", answer.Text, answer.Accepted, answer.Distance)
	// Output:
	// "8,200 dollars", accepted ["8,200 dollars"], 980 tokens back
}
