package eval

import (
	"math"
	"testing"

	"eisft/data"
	"eisft/model"
	"eisft/model/modeltest"
)

// TestText: the loss of a text is what its tokens' logits say, one token after the other.
func TestText(t *testing.T) {
	block := modeltest.DefaultBlock(t)
	block.Sink, block.Window, block.Segment, block.Slots = 4, 32, 32, 16
	m := modeltest.Open(t, demo, block)
	ids := make([]int32, 150)
	for i := range ids {
		ids[i] = int32(4 + 37*i%4000)
	}
	const from = 40
	answer := make([]bool, len(ids)-5) // of ids[20:60]: some of it before what is predicted
	for i := 20; i < 60; i++ {
		answer[i] = true
	}
	got, err := Text(t.Context(), m, model.StreamOptions{}, data.Encoded{Where: "here", IDs: ids, Loss: answer}, from)
	if err != nil {
		t.Fatal(err)
	}
	st, want := m.NewStream(model.StreamOptions{NoRouting: true}), 0.0
	answers := 0.0
	next, err := st.Read(t.Context(), ids[:from], nil)
	for i, id := range ids[from:] {
		if err != nil {
			t.Fatal(err)
		}
		want += surprise(next, id)
		if from+i < 60 {
			answers += surprise(next, id)
		}
		next, err = st.Read(t.Context(), []int32{id}, nil)
	}
	if got.Tokens != len(ids)-from || math.Abs(got.NLL-want) > 1e-3*want || got.Where != "here" {
		t.Errorf("%+v, want %g of %d tokens", got, want, len(ids)-from)
	}
	if got.AnswerTokens != 60-from || math.Abs(got.AnswerNLL-answers) > 1e-3*answers {
		t.Errorf("of answers %g, %d tokens, want %g of %d", got.AnswerNLL, got.AnswerTokens, answers, 60-from)
	}
	if short, err := Text(t.Context(), m, model.StreamOptions{}, data.Encoded{IDs: ids[:from]}, from); err != nil || short.Tokens != 0 {
		t.Errorf("nothing to predict: %+v, %v", short, err)
	}
	if first, err := Text(t.Context(), m, model.StreamOptions{}, data.Encoded{IDs: ids[:3]}, 0); err != nil || first.Tokens != 2 {
		t.Errorf("the first token has nothing before it: %+v, %v", first, err)
	}
}
