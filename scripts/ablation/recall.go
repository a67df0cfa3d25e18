package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"eisft/data"
	"eisft/data/synth"
	"eisft/eval"
	"eisft/model"
	"eisft/model/kernels"
	"eisft/model/tokenizer"
)

// tests are questions by the length of their conversations in tokens. Those of
// a group are about one conversation, which is read once.
type tests map[int][][]eval.Sample

// tokensPerQuestion spreads the questions about a generated conversation: each
// length gets the same number of questions in all.
const tokensPerQuestion = 64

// interviews generates conversations of about `tokens` tokens in all for each length.
func interviews(tk *tokenizer.Tokenizer, e *data.Encoder, lengths []int, tokens int) (tests, error) {
	out := tests{}
	for _, length := range lengths {
		for i := range max(1, tokens/length) {
			rows, err := synth.Interview(uint64(length+i), length, length/tokensPerQuestion, tk)
			if err != nil {
				return nil, err
			}
			var group []eval.Sample
			for _, row := range rows {
				s, err := encode(e, row)
				if err != nil {
					return nil, err
				}
				group = append(group, s)
			}
			out[length] = append(out[length], group)
		}
	}
	return out, nil
}

// fromFile takes the questions of a file whose length is nearest to one of
// lengths and within a quarter of it, at most n for each (0: all).
func fromFile(path string, e *data.Encoder, lengths []int, n int) (tests, error) {
	source, err := data.Open(path, data.Options{Prompts: synth.Prompts()})
	if err != nil {
		return nil, err
	}
	defer func() { _ = source.Close() }()
	out := tests{}
	for i := range source.Len() {
		row, err := source.At(i)
		if err != nil {
			return nil, err
		}
		s, err := encode(e, row)
		if err != nil {
			return nil, err
		}
		length := slices.MinFunc(lengths, func(a, b int) int { return distance(a, s) - distance(b, s) })
		full := n > 0 && len(out[length]) == n
		if s.Turns[0].Distance >= 0 && distance(length, s) <= length/4 && !full {
			out[length] = append(out[length], []eval.Sample{s})
		}
	}
	return out, nil
}

func distance(length int, s eval.Sample) int {
	return max(length-len(s.IDs), len(s.IDs)-length)
}

func encode(e *data.Encoder, row data.Sample) (eval.Sample, error) {
	enc, err := e.Encode(row)
	if err == nil && len(enc.Turns) == 0 {
		err = fmt.Errorf("%s: a plain text has no question", enc.Where)
	}
	return eval.Sample{Encoded: enc}, err
}

// recall is the share of questions whose answer's every token, its end
// included, is the likeliest one: what greedy decoding finds, too.
type recall struct {
	N             int           `json:"n"`
	EM            float64       `json:"em"`
	Conversations int           `json:"conversations"`
	CI            eval.Interval `json:"ci"` // 95 %, by conversation
}

// tally counts the questions about each conversation, and those with a right answer.
type tally struct{ asked, right []float64 }

// conversation begins the next one.
func (t *tally) conversation() {
	t.asked, t.right = append(t.asked, 0), append(t.right, 0)
}

func (t *tally) add(right bool) {
	last := len(t.asked) - 1
	t.asked[last]++
	if right {
		t.right[last]++
	}
}

// recall returns the share of right answers, whose interval draws conversations.
func (t *tally) recall() (r recall) {
	for _, n := range t.asked {
		r.N += int(n)
	}
	if r.N == 0 {
		return r
	}
	share := eval.Mean(t.right, t.asked)
	r.Conversations, r.EM, r.CI = len(t.asked), share(eval.Units(len(t.asked))), eval.Bootstrap(len(t.asked), share)
	return r
}

// measured is what a model recalls at one length.
type measured struct {
	Bounds eval.Bounds `json:"tokens_back"`
	Far    recall      `json:"far"`
	Near   recall      `json:"near"`
	Speed  float64     `json:"tokens_per_second"` // read, questions and answers included
}

// measure asks a model the questions and divides them by the bounds.
func measure(ctx context.Context, m *model.Model, groups [][]eval.Sample, bounds eval.Bounds) (measured, error) {
	var far, near tally
	tokens, started := 0, time.Now()
	for _, group := range groups {
		far.conversation()
		near.conversation()
		st, at := m.NewStream(model.StreamOptions{}), common(group)
		if err := st.Feed(ctx, group[0].IDs[:at], at, nil); err != nil {
			return measured{}, err
		}
		tokens += at
		for _, s := range group {
			right, err := answers(ctx, m, st.Clone(), s, at)
			if err != nil {
				return measured{}, err
			}
			tokens += s.Turns[0].End - at
			switch {
			case bounds.Has(eval.Far, s.Turns[0].Distance):
				far.add(right)
			case bounds.Has(eval.Near, s.Turns[0].Distance):
				near.add(right)
			}
		}
	}
	return measured{bounds, far.recall(), near.recall(), float64(tokens) / time.Since(started).Seconds()}, nil
}

// common returns how many tokens all samples of a group begin with, before the
// last one of any of their questions.
func common(group []eval.Sample) int {
	n := group[0].Turns[0].Start - 1
	for _, s := range group[1:] {
		n = min(n, s.Turns[0].Start-1)
		for i := range n {
			if s.IDs[i] != group[0].IDs[i] {
				n = i
				break
			}
		}
	}
	return n
}

// answers feeds the question and its right answer to a stream that has read the
// first `at` tokens, and says whether every token of the answer was the likeliest.
func answers(ctx context.Context, m *model.Model, st *model.Stream, s eval.Sample, at int) (bool, error) {
	t, width := s.Turns[0], m.Base.Dims.Hidden
	logits, right := make([]float32, m.Base.Head.Out), true
	err := st.Feed(ctx, s.IDs[at:t.End-1], t.Start-1-at, func(first int, hidden []float32) error {
		for row := range slices.Chunk(hidden, width) {
			first++
			st.Logits(logits, row)
			right = right && kernels.ArgMax(logits) == int(s.IDs[at+first])
		}
		return nil
	})
	return right, err
}
