package data

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"eisft/model/tokenizer"
)

// Share is a part of a whole from 0 to 1, which YAML has as "5%" or 0.05.
type Share float64

// ParseShare reads 5% or 0.05.
func ParseShare(text string) (Share, error) {
	number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if percent {
		v /= 100
	}
	if err != nil || math.IsNaN(v) || v < 0 || v >= 1 {
		return 0, fmt.Errorf("%q; want a share of the rows below 100%%, such as 5%% or 0.05", text)
	}
	return Share(v), nil
}

// String is the share in percent.
func (s Share) String() string { return strconv.FormatFloat(float64(s)*100, 'g', 6, 64) + "%" }

// MarshalYAML writes it as a number, of which nothing is rounded off.
func (s Share) MarshalYAML() (any, error) { return float64(s), nil }

// UnmarshalYAML reads either form.
func (s *Share) UnmarshalYAML(decode func(any) error) error {
	var v any
	err := decode(&v)
	if err == nil {
		*s, err = ParseShare(fmt.Sprint(v))
	}
	return err
}

// Split divides the rows in two: those to train on, and about the given share that is held
// out to evaluate on. Which side a row is on depends on what it is about alone: the context of
// a question, the messages before the first answer, or the text. So no text is on both
// sides, rows that are added or moved change the side of no other, and neither seed nor order matter.
// A row that cannot be read is to train on, where it is said.
//
// Both sides share the files of s: whichever is closed closes them.
func (s *Source) Split(ctx context.Context, share Share) (train, held *Source, err error) {
	sides, err := s.Sides(ctx, share)
	if err != nil {
		return nil, nil, err
	}
	return s.Divide(sides)
}

// Sides are the numbers of rows to train on, and of those that are held out.
type Sides [2][]int

// Divide divides the rows as [Source.Sides] has said, of this source or of the same files elsewhere.
func (s *Source) Divide(sides Sides) (train, held *Source, err error) {
	if n := len(sides[0]) + len(sides[1]); n != s.Len() {
		return nil, nil, fmt.Errorf("%s: %d rows were divided, and there are %d", s.name, n, s.Len())
	}
	return s.view(sides[0]), s.view(sides[1]), nil
}

// Sides finds out on which side of a split each row is, see [Source.Split].
func (s *Source) Sides(ctx context.Context, share Share) (rows Sides, err error) {
	var unread []error
	for i := range s.Len() {
		if err := ctx.Err(); err != nil {
			return rows, err
		}
		side := 0
		switch sample, err := s.At(i); {
		case err != nil:
			unread = append(unread, err)
		case fraction(sample) < float64(share):
			side = 1
		}
		rows[side] = append(rows[side], i)
	}
	if len(unread) > 0 && len(rows[1]) == 0 {
		return rows, fmt.Errorf("%s: nothing can be held out: %d of %d rows cannot be read, the first of them: %w", s.name, len(unread), s.Len(), unread[0])
	}
	for side, name := range []string{"to train on", "to evaluate on"} {
		if len(rows[side]) == 0 {
			return rows, fmt.Errorf("%s: a share of %s held out of %d rows leaves none %s; a row's side follows from a hash of its text: raise or lower the share, or have more texts", s.name, share, s.Len(), name)
		}
	}
	return rows, nil
}

// Without are the rows that are about none of the texts of another source, as [Source.Split]
// tells them apart. A row that cannot be read is about none.
func (s *Source) Without(ctx context.Context, other *Source) (*Source, error) {
	texts := map[[sha256.Size]byte]bool{}
	for i := range other.Len() {
		if sample, err := other.At(i); err == nil {
			texts[about(sample)] = true
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	var rows []int
	for i := range s.Len() {
		if sample, err := s.At(i); err != nil || !texts[about(sample)] {
			rows = append(rows, i)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return s.view(rows), nil
}

// fraction is a number from 0 to 1 that follows from what a sample is about.
func fraction(s Sample) float64 {
	sum := about(s)
	return float64(binary.BigEndian.Uint64(sum[:])>>11) / (1 << 53)
}

// about is the hash of what a sample is about: the context of a question, the messages before
// the first answer, or the text.
func about(s Sample) [sha256.Size]byte {
	of := learned{Text: s.Text}
	switch answer := slices.IndexFunc(s.Messages, func(m tokenizer.Message) bool { return m.Role == "assistant" }); {
	case s.Context != "":
		of.Text = s.Context
	case answer >= 0:
		of = learned{Messages: s.Messages[:answer]}
	}
	text, err := json.Marshal(of)
	if err != nil { // of a field that is no JSON, which a row cannot have
		text = nil
	}
	return sha256.Sum256(text)
}
