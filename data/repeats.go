package data

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"

	"eisft/model/tokenizer"
)

// Repeats counts rows that say again what an earlier one says.
type Repeats struct {
	Rows int // that are as an earlier one in all that is learned from
	// Prompts are rows whose messages before the first answer are those of an earlier row,
	// Rows among them. Plain texts have none.
	Prompts int
}

// Repeats compares the rows. Rows that cannot be read are passed over.
func (s *Source) Repeats(ctx context.Context) (Repeats, error) {
	var r Repeats
	rows, prompts := seen{}, seen{}
	for i := range s.Len() {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		sample, err := s.At(i)
		if err != nil {
			continue
		}
		if rows.again(learnedOf(sample)) {
			r.Rows++
		}
		answer := slices.IndexFunc(sample.Messages, func(m tokenizer.Message) bool { return m.Role == "assistant" })
		if answer >= 0 && prompts.again(learned{Messages: sample.Messages[:answer], Variables: sample.Variables}) {
			r.Prompts++
		}
	}
	return r, nil
}

// seen are the SHA-256 of what there was.
type seen map[[sha256.Size]byte]bool

// again says whether there was the same before.
func (s seen) again(c learned) bool {
	text, err := json.Marshal(c)
	if err != nil { // of a field that is no JSON, which a row cannot have
		return false
	}
	sum := sha256.Sum256(text)
	before := s[sum]
	s[sum] = true
	return before
}
