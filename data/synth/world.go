// Package synth makes conversations with facts, action items and decisions in them,
// and questions about these: training and evaluation samples of any length whose right
// answers are known. What is said comes from world.json.
package synth

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
)

//go:embed world.json
var worldJSON []byte

// world is the vocabulary of the conversations. Templates have slots in braces: the
// name of a list, or name, name2, n4, money, date, time, num (see vocabulary.value).
type world struct {
	Lists map[string][]string `json:"lists"`
	Facts []struct {
		ID     string   `json:"id"`
		Key    []string `json:"key"` // the slots that tell two facts of a kind apart
		Say    []string `json:"say"`
		Ask    []string `json:"ask"`
		Answer string   `json:"answer"`
	} `json:"facts"`
	Actions   announcement `json:"actions"`
	Decisions announcement `json:"decisions"`
	Filler    []string     `json:"filler"`
	Prompt    struct {
		Header    string `json:"header"`
		QA        string `json:"qa"`
		Actions   string `json:"actions"`
		Decisions string `json:"decisions"`
	} `json:"prompt"`
}

// announcement is what is said, and how a summary puts it.
type announcement struct {
	Say  []string `json:"say"`
	Item string   `json:"item"`
}

// load parses the embedded world once.
var load = sync.OnceValue(func() *world {
	w := new(world)
	if err := json.Unmarshal(worldJSON, w); err != nil {
		panic(fmt.Sprintf("synth: the embedded world.json: %v", err)) // not input: part of the program
	}
	return w
})

// Prompts are the prompt templates (data.Options.Prompts) of LongBench files of such
// conversations, by their dataset column: conversation_qa and conversation_actions.
func Prompts() map[string]string {
	return map[string]string{
		"conversation_qa":      UserMessage("{context}", question("{input}")),
		"conversation_actions": UserMessage("{context}", "{input}"),
	}
}

// UserMessage puts an instruction after a conversation, as in the demo's training.
func UserMessage(conversation, instruction string) string {
	return load().Prompt.Header + "\n\n" + conversation + "\n\n" + instruction
}

func question(q string) string {
	return strings.ReplaceAll(load().Prompt.QA, "{question}", q)
}
