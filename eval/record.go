package eval

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
)

// Record is what came of one conversation or plain text under a policy: a line of a file of records.
type Record struct {
	Reading
	Budget
	Seed int `json:"seed"`
	Row  int `json:"row"` // of the data file, from 0
	Speed
	Answers []Answer `json:"answers,omitempty"` // to all its questions
	// Text is what came of a plain text, which has no questions.
	Text *TextRecord `json:"text,omitempty"`
}

// recordKey tells the records of an evaluation apart.
type recordKey struct {
	Reading
	seed, row int
}

func (r *Record) key() recordKey { return recordKey{r.Reading, r.Seed, r.Row} }

// keeps fails if the record was made by a reading that kept something else.
func (r *Record) keeps(b Budget) error {
	if r.Budget == b {
		return nil
	}
	return fmt.Errorf("the record of row %d under policy %s was made with %d tokens in %d bytes, and the policy keeps %d in %d: evaluate into another folder with --out, or move this one away",
		r.Row, r.Title(), r.Tokens, r.Bytes, b.Tokens, b.Bytes)
}

// PromptSHA256 is the SHA-256 of token ids, each as four bytes, the lowest first: questions
// that were asked with the same hash were asked in the same words after the same text.
func PromptSHA256(ids []int32) string {
	h := sha256.New()
	_ = binary.Write(h, binary.LittleEndian, ids) // a hash never fails
	return hex.EncodeToString(h.Sum(nil))
}

// ParseRecords reads a file of records, JSON lines. A last line without its end is what a
// process that was killed has left of a record: it is no record, and whole says how many
// bytes the lines before it take. Any other line that is not a record is an error that names
// it.
func ParseRecords(text []byte) (records []Record, whole int, err error) {
	seen := map[recordKey]int{}
	for n := 1; ; n++ {
		end := bytes.IndexByte(text[whole:], '\n')
		if end < 0 {
			return records, whole, nil
		}
		r, err := parseRecord(text[whole : whole+end])
		if err != nil {
			return records, whole, fmt.Errorf("line %d: %w", n, err)
		}
		if first, again := seen[r.key()]; again {
			return records, whole, fmt.Errorf("line %d: row %d under policy %s and seed %d, which line %d has already", n, r.Row, r.Title(), r.Seed, first)
		}
		seen[r.key()] = n
		records, whole = append(records, r), whole+end+1
	}
}

func parseRecord(line []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(line, &r); err != nil {
		return r, fmt.Errorf("not a record: %w", err)
	}
	switch {
	case r.Policy == "":
		return r, fmt.Errorf("no policy")
	case r.Seed < 0 || r.Row < 0:
		return r, fmt.Errorf("row %d under seed %d; both count from 0", r.Row, r.Seed)
	case r.Asked < 0:
		return r, fmt.Errorf("a budget of %d tokens", r.Asked)
	case len(r.Answers) == 0 && r.Text == nil:
		return r, fmt.Errorf("no answers")
	case !finite(r.ReadSeconds) || !finite(r.WriteSeconds) || r.ReadSeconds < 0 || r.WriteSeconds < 0 || r.ReadTokens < 0 || r.WrittenTokens < 0:
		return r, fmt.Errorf("tokens and seconds are %+v; they cannot be less than 0", r.Speed)
	}
	if r.Text != nil {
		if err := r.Text.check(); err != nil {
			return r, fmt.Errorf("text: %w", err)
		}
	}
	for i, a := range r.Answers {
		switch sum, err := hex.DecodeString(a.PromptSHA256); {
		case a.Turn != i:
			return r, fmt.Errorf("answer %d is to turn %d", i, a.Turn)
		case err != nil || len(sum) != sha256.Size:
			return r, fmt.Errorf("answer %d: prompt_sha256 is %q, want 64 hexadecimal digits", i, a.PromptSHA256)
		case a.Tokens < 1 || a.Prompt < 0 || a.Distance < -1:
			return r, fmt.Errorf("answer %d: %d tokens after a prompt of %d, the fact %d back", i, a.Tokens, a.Prompt, a.Distance)
		case math.Abs(a.NLL) > mostNLL*float64(a.Tokens):
			return r, fmt.Errorf("answer %d: a loss of %g nats over %d tokens", i, a.NLL, a.Tokens)
		}
	}
	return r, nil
}

// mostNLL is more than a token can cost in float32: the perplexity of more is no number.
const mostNLL = 700

func finite(x float64) bool { return x-x == 0 }
