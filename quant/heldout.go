package quant

import (
	"context"
	"errors"
	"fmt"

	"github.com/dustin/go-humanize/english"

	"eisft/data"
	"eisft/eval"
	"eisft/internal/mapped"
	"eisft/internal/progress"
	"eisft/model"
)

// enoughQuestions is how many questions about far facts, and about near ones, are asked
// where the data has them: of 26, 0.77 and 0.81 cannot be told apart.
const enoughQuestions = 150

// mostQuestions are asked where it is not known how far back facts lie.
const mostQuestions = 4 * enoughQuestions

// heldOut is what a model is evaluated on: rows that it was not calibrated on.
type heldOut struct {
	rows []eval.Sample // plain texts among them, which have no questions
	from int           // the first token of a row whose loss counts
}

// questions are the rows that have some.
func (h *heldOut) questions() []eval.Sample {
	var list []eval.Sample
	for _, r := range h.rows {
		if len(r.Turns) > 0 {
			list = append(list, r)
		}
	}
	return list
}

// heldOut reads what is evaluated on; nil if there is nothing. Where no number of rows is
// given, it takes those that hold enough questions near and far, or else all. Rows about texts that
// the model was trained on are left out.
func (j *Job) heldOut(ctx context.Context) (_ *heldOut, err error) {
	if j.Evaluation.Nothing() {
		return nil, nil
	}
	source, err := j.Evaluation.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	source.Announce(j.Progress)
	rows, err := j.untrained(ctx, source)
	if err != nil {
		return nil, err
	}
	h, bounds, encoder := &heldOut{from: j.Model.Spec.Segment}, eval.BoundsOf(j.Model.Spec), j.encoder()
	asked := map[eval.Bucket]int{}
	enough := func(rows int) bool {
		if j.Evaluation.Samples > 0 {
			return rows >= j.Evaluation.Samples
		}
		return min(asked[eval.Near], asked[eval.Far]) >= enoughQuestions || max(rows, asked[eval.All]) >= mostQuestions
	}
	for i := 0; i < rows.Len() && !enough(i); i++ {
		row, err := rows.At(i)
		if err != nil {
			return nil, err
		}
		s, err := eval.NewSample(encoder, row)
		if err != nil {
			return nil, err
		}
		for _, t := range s.Turns {
			for _, b := range []eval.Bucket{eval.Near, eval.Far, eval.All} {
				if bounds.Has(b, t.Distance) {
					asked[b]++
				}
			}
		}
		h.rows = append(h.rows, s)
	}
	if len(h.rows) == 0 {
		return nil, fmt.Errorf("%s: %w", j.Evaluation.Name(), data.ErrEmpty)
	}
	longest := 0
	for _, r := range h.rows {
		longest = max(longest, len(r.Encoded.IDs))
	}
	if longest <= h.from && asked[eval.All] == 0 {
		return nil, fmt.Errorf("%s: none of its %s asks a question or goes beyond the first segment of %d tokens (the longest has %d), so that there is nothing to measure; name other rows with --eval-data, or none with --eval-data none",
			j.Evaluation.Name(), english.Plural(len(h.rows), "row", ""), h.from, longest)
	}
	return h, nil
}

// untrained are the rows of a source about texts that the model was not trained on. It fails
// where there are none.
func (j *Job) untrained(ctx context.Context, source *data.Source) (_ *data.Source, err error) {
	if j.Trained == nil {
		return source, nil
	}
	trained, err := j.Trained(ctx)
	if err != nil { // where the run lies now, its training data need not be
		progress.Println(j.Progress, fmt.Sprintf("eisft: it cannot be told whether rows of %s were trained on: %v", j.Evaluation.Name(), err))
		return source, nil
	}
	defer func() { err = errors.Join(err, trained.Close()) }()
	rest, err := source.Without(ctx, trained)
	if err != nil {
		return nil, err
	}
	left, all := rest.Len(), source.Len()
	if left == 0 {
		return nil, fmt.Errorf("%s: the run was trained on the texts of all its %s, so that they cannot tell what quantization costs; name other rows with --eval-data, or none with --eval-data none", j.Evaluation.Name(), english.Plural(all, "row", ""))
	}
	if left < all {
		progress.Println(j.Progress, fmt.Sprintf("eisft: %d of %s of %s are left out of the evaluation, since the run was trained on their texts", all-left, english.Plural(all, "row", ""), j.Evaluation.Name()))
	}
	return rest, nil
}

// textLoss is the loss of each row as a text, under a progress line.
func (j *Job) textLoss(ctx context.Context, what string, m *model.Model, w model.Wrap, h *heldOut) ([]eval.TextLoss, error) {
	line := progress.Start(j.Progress, progress.Task{What: what, Unit: "texts", Total: len(h.rows)})
	defer line.End()
	var list []eval.TextLoss // of this rank's share
	for i, r := range h.rows {
		if line.Add(1); !mine(j.group(), i) {
			continue
		}
		loss, err := eval.Text(ctx, m, model.StreamOptions{Wrap: w}, r.Encoded, h.from)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		list = append(list, loss)
	}
	return inTurn(j.group(), list, len(h.rows))
}

// answers scores a model's answers, under a progress line; nil if there are no questions.
func (j *Job) answers(ctx context.Context, what string, m *model.Model, w model.Wrap, samples []eval.Sample) (*eval.Result, error) {
	if len(samples) == 0 {
		return nil, nil
	}
	line := progress.Start(j.Progress, progress.Task{What: what, Unit: "answers", Total: eval.Questions(samples)})
	defer line.End()
	r, err := eval.Run(ctx, m, eval.PolicyEISFT, j.Tokenizer, samples, eval.Options{
		MaxNewTokens: j.Evaluation.MaxNewTokens, Stream: model.StreamOptions{Wrap: w}, Group: j.group(),
		Answered: func(eval.Answer) { line.Add(1) },
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return r, nil
}

// textLosses are the losses of the held-out rows, of the float model and of the quantized one.
type textLosses = Change[[]eval.TextLoss]

// evaluate compares the float model that was quantized with what came out.
func (j *Job) evaluate(ctx context.Context, made *made, h *heldOut) (*Evaluation, textLosses, error) {
	var t textLosses
	faked, wrap, err := Apply(j.Model, made.q)
	if err != nil {
		return nil, t, err
	}
	e := &Evaluation{Data: j.Evaluation.Name(), Samples: len(h.rows), From: h.from}
	if t.Before, err = j.textLoss(ctx, "perplexity of the float model", j.Model, nil, h); err != nil {
		return nil, t, err
	}
	mapped.Rest() // the float model's pages need not stay beside those of the other
	if t.After, err = j.textLoss(ctx, "perplexity in "+made.q.Scheme.Name, faked, wrap, h); err != nil {
		return nil, t, err
	}
	questions := h.questions()
	if e.Scores.Before, err = j.answers(ctx, "answers of the float model", j.Model, nil, questions); err != nil {
		return nil, t, err
	}
	mapped.Rest()
	if e.Scores.After, err = j.answers(ctx, "answers in "+made.q.Scheme.Name, faked, wrap, questions); err != nil {
		return nil, t, err
	}
	e.compare(t)
	return e, t, nil
}

// Comparison is a figure before and after, measured on the same conversations.
type Comparison struct {
	What string `json:"what"` // in words
	Unit string `json:"unit"` // UnitShare or UnitPerplexity
	N    int    `json:"n"`    // questions or tokens
	Rows int    `json:"rows"` // conversations
	Key  string `json:"key"`  // "em/far", "perplexity/text": what it is, for programs
	// Change is the figure with its intervals.
	Change Change[eval.Estimate] `json:"change"`
	// Difference is paired: both models on the same conversations. Of a perplexity it is the
	// relative increase.
	Difference eval.Estimate `json:"difference"`
}

// What a comparison's figures are.
const (
	UnitShare      = "share"
	UnitPerplexity = "perplexity"
)

// comparison words a comparison of means; those of losses become perplexities.
func comparison(p eval.Paired, what, key, unit string) Comparison {
	change := p.Means
	if unit == UnitPerplexity {
		change = p.Perplexities
	}
	found := change()
	c := Comparison{What: what, Key: key, Unit: unit, Rows: found.Rows, Difference: found.Difference}
	for _, w := range p.Weights {
		c.N += int(w)
	}
	c.Change.Before, c.Change.After = found.Before, found.After
	return c
}

// compare fills Comparisons from what was measured.
func (e *Evaluation) compare(t textLosses) {
	var text eval.Paired
	for i, before := range t.Before {
		if before.Tokens > 0 {
			text.Add(before.NLL, t.After[i].NLL, float64(before.Tokens))
		}
	}
	if len(text.Weights) > 0 {
		e.Comparisons = append(e.Comparisons, comparison(text, "perplexity of the text", "perplexity/text", UnitPerplexity))
	}
	if e.Scores.Before == nil {
		return
	}
	bounds := e.Scores.Before.Bounds
	paired := func(b eval.Bucket, m eval.Measure) eval.Paired {
		return eval.PairAnswers(e.Scores.Before.Answers, e.Scores.After.Answers, bounds, b, m)
	}
	if p := paired(eval.All, eval.Loss); len(p.Weights) > 0 {
		e.Comparisons = append(e.Comparisons, comparison(p, "perplexity of the answers", "perplexity/answers", UnitPerplexity))
	}
	for _, m := range eval.Metrics() {
		for _, s := range e.Scores.Before.Scores {
			p := paired(s.Bucket, m.Of)
			if len(p.Weights) == 0 { // no question has it
				continue
			}
			what := m.Title() + ", " + bounds.Describe(s.Bucket)
			e.Comparisons = append(e.Comparisons, comparison(p, what, string(m)+"/"+string(s.Bucket), UnitShare))
		}
	}
}

// Compared returns the comparison of that key, nil if there is none.
func (e *Evaluation) Compared(key string) *Comparison {
	for i := range e.Comparisons {
		if e.Comparisons[i].Key == key {
			return &e.Comparisons[i]
		}
	}
	return nil
}
