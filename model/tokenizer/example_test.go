package tokenizer_test

import (
	"fmt"
	"strings"

	"eisft/model/tokenizer"
)

// A conversation is rendered as the model was trained to read it, and becomes token ids.
func Example() {
	tk, err := tokenizer.Load("../demo")
	if err != nil {
		fmt.Println(err)
		return
	}
	template, err := tokenizer.LoadTemplate("../demo")
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := template.Render([]tokenizer.Message{{Role: "user", Content: "What is the code?"}}, tokenizer.RenderOptions{GenerationPrompt: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	ids := tk.Encode(text, false)
	fmt.Printf("%q\n", text)
	fmt.Println(ids)
	fmt.Println(strings.TrimSpace(tk.Decode(ids, true)))
	// Output:
	// "<|user|>\nWhat is the code?<|end|>\n<|assistant|>\n"
	// [1 202 2539 309 264 1038 34 3 202 2 202]
	// What is the code?
}
