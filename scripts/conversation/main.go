// Conversation prints a generated conversation of about so many tokens, with a
// question about it: input for measurements.
//
//	go run ./scripts/conversation -tokens 32768 > input.txt
package main

import (
	"flag"
	"log"
	"os"

	"eisft/data/synth"
	"eisft/model/tokenizer"
)

func main() {
	log.SetFlags(0)
	tokens := flag.Int("tokens", 2048, "length in `TOKENS`")
	seed := flag.Uint64("seed", 1, "the same `NUMBER` makes the same conversation")
	base := flag.String("tokenizer", "model/demo", "folder with the `TOKENIZER` that counts")
	flag.Parse()
	if err := run(*base, *seed, *tokens); err != nil {
		log.Fatalf("conversation: %v", err)
	}
}

func run(base string, seed uint64, tokens int) error {
	tk, err := tokenizer.Load(base)
	if err != nil {
		return err
	}
	samples, err := synth.QA(seed, tokens, 1, tk)
	if err != nil {
		return err
	}
	_, err = os.Stdout.WriteString(samples[0].Messages[0].Content)
	return err
}
