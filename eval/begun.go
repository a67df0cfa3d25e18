package eval

import (
	"context"
	"errors"
	"slices"

	"eisft/model/schedule"
)

// begun is a stream that has read what questions about one text have in common, so that the
// text is read once.
type begun struct {
	ids []int32
	st  stream
}

// of are the tokens of a sample that have been read; none if it begins otherwise.
func (b begun) of(s Sample) []int32 {
	if n := len(b.ids); n > 0 && n < s.Turns[0].Start && slices.Equal(b.ids, s.IDs[:n]) {
		return b.ids
	}
	return nil
}

// begin returns a stream for a sample, and how many of its tokens it has read. next are the
// samples behind it.
func (e *evaluation) begin(ctx context.Context, s Sample, next []Sample) (stream, int, error) {
	if had := e.begun.of(s); had != nil {
		st, err := e.begun.st.clone()
		return st, len(had), err
	}
	if err := e.begun.close(); err != nil {
		return nil, 0, err
	}
	e.begun = begun{}
	st, err := e.newStream()
	if err != nil {
		return nil, 0, err
	}
	n, longest := common(s, next)
	if plan := e.options.Stream.Plan(e.model); n == 0 || held(plan, n) != held(plan, longest) {
		return st, 0, nil
	}
	if _, err := st.Read(ctx, s.IDs[:n], nil); err != nil {
		return nil, 0, errors.Join(err, st.close())
	}
	same, err := st.clone()
	if err != nil {
		return nil, 0, errors.Join(err, st.close())
	}
	e.begun = begun{s.IDs[:n], same}
	return st, n, nil
}

// close frees the stream, if there is one.
func (b begun) close() error {
	if b.st == nil {
		return nil
	}
	return b.st.close()
}

// held says whether a prompt of so many tokens is held back.
func held(p schedule.Plan, tokens int) bool {
	s := schedule.New(p)
	s.Begin(tokens)
	return s.Held()
}

// common is how many tokens a sample begins with as those behind it do that are about the same
// text, 0 if the next one is not; and how many the longest of their prompts has.
func common(s Sample, next []Sample) (n, longest int) {
	if len(next) == 0 {
		return 0, 0
	}
	n, longest = s.Turns[0].Start-1, s.Turns[0].Start
	for i, other := range next {
		if !aboutOneText(s, other) {
			if i == 0 {
				return 0, 0
			}
			break
		}
		longest = max(longest, other.Turns[0].Start)
		n = min(n, other.Turns[0].Start-1)
		for at, id := range other.IDs[:n] {
			if id != s.IDs[at] {
				n = at
				break
			}
		}
	}
	return n, longest
}
