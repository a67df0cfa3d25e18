package eval

import (
	"crypto/sha256"
	"encoding/hex"

	"eisft/data"
	"eisft/model/schedule"
)

// About is what a table of results divides answers by, beside how far back the fact lies.
type About struct {
	Dataset string `json:"dataset,omitempty"`
	// Context is the SHA-256 of the text that the row's question is about, where the row has
	// it apart: questions about the same one are not independent.
	Context string `json:"context_sha256,omitempty"`
	// Length is the row's column, in words (LongBench) or tokens (eisft data synth).
	Length int `json:"length,omitempty"`
	// Metric is the one that the answer's task is scored by.
	Metric Metric `json:"metric,omitempty"`
	// CutTokens is how many were taken out of the middle of the prompt.
	CutTokens int `json:"cut_tokens,omitempty"`
}

func aboutRow(row data.Sample) About {
	a := About{Dataset: row.Dataset, Length: row.Length}
	if row.Context != "" {
		sum := sha256.Sum256([]byte(row.Context))
		a.Context = hex.EncodeToString(sum[:])
	}
	return a
}

// conversation tells apart what is drawn for intervals: the texts that questions are about,
// or rows where it is not known whether two have the same.
func (a Answer) conversation() string {
	if a.Context != "" {
		return a.Context
	}
	return a.Where
}

// commitsSince is how often a segment was committed after a token was read that stands so
// many tokens before the end of a text, until the end. A token that has left the window has
// been a candidate for the slots at each of the later ones. -1 where it is not known which
// token that is.
func commitsSince(p schedule.Plan, tokens, distance int) int {
	if distance < 0 {
		return -1
	}
	s, n := schedule.New(p), 0
	for s.Begin(tokens); s.Seen() < tokens; s.Advance(s.Next()) {
		for s.Due() {
			s.Commit()
			if s.Seen() > tokens-distance {
				n++
			}
		}
	}
	return n
}
