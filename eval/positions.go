package eval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"eisft/data"
	"eisft/internal/progress"
)

// Texts is the loss of plain texts under a policy, by where in the text a token stands.
type Texts struct {
	Policy Policy `json:"policy"`
	Texts  int    `json:"texts"`
	// All is the loss of all tokens, Positions that of the tokens at powers of two.
	All       PositionLoss   `json:"all"`
	Positions []PositionLoss `json:"positions"`
}

// PositionLoss is the mean loss of the tokens at some places of texts.
type PositionLoss struct {
	From int `json:"from"` // the first place, counted from 0
	To   int `json:"to"`   // the last one
	// Tokens are those at the places, of all texts.
	Tokens     int       `json:"tokens"`
	NLL        float64   `json:"nll"` // nats
	Perplexity float64   `json:"perplexity"`
	Interval   *Interval `json:"perplexity_interval,omitempty"` // by text, if there are more than one
	// Change is what the perplexity has more than under the policy that this one is compared
	// with, on the same texts. Nil for that policy itself.
	Change *Change `json:"change,omitempty"`
}

// firstPosition is where the second part of a text begins: each part is as long as all
// before it.
const firstPosition = 128

// partOf is the part of a text that a place is in: 0 below firstPosition, then one for each
// power of two.
func partOf(at int) int { return max(0, bits.Len(uint(at))-bits.Len(uint(firstPosition))+1) }

// places are the first and the last place of a part. Nothing predicts the token at 0.
func places(part int) (from, to int) {
	if part == 0 {
		return 1, firstPosition - 1
	}
	return firstPosition << (part - 1), firstPosition<<part - 1
}

// lossSum is the loss of tokens of one text.
type lossSum struct {
	nll    float64
	tokens float64
}

// textParts are the losses of one text by part.
type textParts []lossSum

func (p *textParts) add(at int, nll float64) {
	for len(*p) <= partOf(at) {
		*p = append(*p, lossSum{})
	}
	sum := &(*p)[partOf(at)]
	sum.nll += nll
	sum.tokens++
}

// of is the loss of a part, -1 for all.
func (p textParts) of(part int) (sum lossSum) {
	for i, s := range p {
		if part < 0 || i == part {
			sum.nll, sum.tokens = sum.nll+s.nll, sum.tokens+s.tokens
		}
	}
	return sum
}

// texts reads the job's data if they are plain texts; else it returns nil.
func (j *Job) texts() (_ []data.Encoded, err error) {
	source, err := data.Open(j.Config.Data, j.Config.dataOptions())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	if source.Format() != data.FormatText || j.Config.Tasks != nil {
		return nil, nil
	}
	n := source.Len()
	if j.Config.Samples > 0 {
		n = min(n, j.Config.Samples)
	}
	e, list := data.NewEncoder(j.Tokenizer, nil, 0), make([]data.Encoded, n)
	for i := range list {
		row, err := source.At(i)
		if err != nil {
			return nil, err
		}
		if list[i], err = e.Encode(row); err != nil {
			return nil, err
		}
		if len(list[i].IDs) < 2 {
			return nil, fmt.Errorf("%s: the text has %d tokens; two are the fewest of which one is predicted", list[i].Where, len(list[i].IDs))
		}
	}
	return list, nil
}

// readTexts measures the loss of texts under all policies. Texts have no answers to keep:
// they are read anew each time, and a policy that draws draws by seed 0.
func (j *Job) readTexts(ctx context.Context, list []data.Encoded, against Policy) (*Report, error) {
	byPolicy := make([][]textParts, len(j.Config.Policies))
	for i, p := range j.Config.Policies {
		var err error
		if byPolicy[i], err = j.textsUnder(ctx, p, list); err != nil {
			return nil, fmt.Errorf("policy %s: %w", p, err)
		}
	}
	r := &Report{}
	base := byPolicy[slices.Index(j.Config.Policies, against)]
	for i, p := range j.Config.Policies {
		compared := base
		if p == against {
			compared = nil
		}
		r.Texts = append(r.Texts, textsOf(p, byPolicy[i], compared))
	}
	return r, nil
}

func (j *Job) textsUnder(ctx context.Context, p Policy, list []data.Encoded) ([]textParts, error) {
	m, err := WithPolicy(j.Model, p)
	if err != nil {
		return nil, err
	}
	m = p.seeded(m, 0)
	tokens := 0
	for _, text := range list {
		tokens += len(text.IDs)
	}
	line := progress.Start(j.Progress, progress.Task{What: "eval " + string(p), Unit: "tokens", Total: tokens})
	defer line.End()
	out := make([]textParts, len(list))
	for i, text := range list {
		if err := eachToken(ctx, m, j.Stream, text, 1, out[i].add); err != nil {
			return nil, err
		}
		line.Add(len(text.IDs))
	}
	return out, nil
}

// textsOf sums the losses of texts; against are those of the same texts under another
// policy, or nil.
func textsOf(p Policy, list, against []textParts) *Texts {
	most := 0
	for _, text := range list {
		most = max(most, len(text))
	}
	t := &Texts{Policy: p, Texts: len(list), All: lossOf(list, against, -1)}
	t.All.From = 1
	for part := range most {
		loss := lossOf(list, against, part)
		loss.From, loss.To = places(part)
		t.Positions, t.All.To = append(t.Positions, loss), loss.To
	}
	return t
}

func lossOf(list, against []textParts, part int) PositionLoss {
	var loss PositionLoss
	var p Paired
	for i, text := range list {
		sum := text.of(part)
		if sum.tokens == 0 {
			continue
		}
		before := sum
		if against != nil {
			before = against[i].of(part)
		}
		p.Add(before.nll, sum.nll, sum.tokens)
		loss.Tokens += int(sum.tokens)
	}
	mean := Mean(p.After, p.Weights)
	loss.NLL = mean(Units(len(p.Weights)))
	loss.Perplexity = math.Exp(loss.NLL)
	if len(p.Weights) > 1 {
		i := Bootstrap(len(p.Weights), func(u []int) float64 { return math.Exp(mean(u)) })
		loss.Interval = &i
	}
	if against != nil {
		c := p.Perplexities()
		loss.Change = &c
	}
	return loss
}

// textTables show losses by position, and what they have more than those that they are
// compared with.
func textTables(list []*Texts) []table {
	losses := table{title: "perplexity of plain texts by position", columns: []string{"policy", "texts", "tokens", "all"}}
	changes := table{columns: []string{"", "all"}}
	for i := range list[0].Positions {
		p := list[0].Positions[i]
		name := fmt.Sprintf("%d-%d", p.From, p.To)
		losses.columns, changes.columns = append(losses.columns, name), append(changes.columns, name)
	}
	for _, t := range list {
		row, change := []string{string(t.Policy), fmt.Sprint(t.Texts), fmt.Sprint(t.All.Tokens)}, []string{string(t.Policy)}
		for _, p := range append([]PositionLoss{t.All}, t.Positions...) {
			row = append(row, p.text())
			if p.Change != nil {
				change = append(change, BucketChange{Changes: map[string]Change{PerplexityName: *p.Change}}.text(PerplexityName))
			}
		}
		losses.rows = append(losses.rows, row)
		if t.All.Change == nil {
			changes.title = "perplexity against " + string(t.Policy)
			continue
		}
		changes.rows = append(changes.rows, change)
	}
	if list[0].All.Interval != nil {
		losses.notes = []string{intervalNote}
	}
	if len(changes.rows) == 0 {
		return []table{losses}
	}
	changes.notes = []string{chanceNote}
	return []table{losses, changes}
}

// text is the perplexity with its interval.
func (p PositionLoss) text() string {
	text := fmt.Sprintf("%.2f", p.Perplexity)
	if p.Interval != nil {
		text += fmt.Sprintf(" (%.2f–%.2f)", p.Interval.Lo, p.Interval.Hi)
	}
	return text
}
