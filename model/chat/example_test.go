package chat_test

import (
	"context"
	"fmt"

	"eisft/model"
	"eisft/model/chat"
	"eisft/model/tokenizer"
)

// A conversation of two turns with the demo base and an untrained block.
func Example() {
	const folder = "../demo"
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
	session, err := chat.New(m, model.StreamOptions{}, tk, template)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, question := range []string{
		"Read the conversation, then follow the instruction.\n\nMark: To open the attic, type 6528.\nNathan: The budget for the Indigo project is 87,200 dollars.\nMark: No, not yet.\n\nQuestion: What is the budget for the Indigo project?",
		"Question: What is the door code for the attic?",
	} {
		answer, err := session.Ask(context.Background(), question, chat.AnswerOptions{MaxNewTokens: 16})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(answer)
	}
	// Output:
	// 87,200 dollars
	// 6528
}
