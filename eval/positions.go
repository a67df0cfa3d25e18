package eval

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"time"

	"eisft/data"
	"eisft/internal/progress"
	"eisft/model"
)

// Texts is the loss of plain texts under a policy, by where in the text a token stands.
type Texts struct {
	Reading
	Seeds int `json:"seeds,omitempty"` // over which losses are means, if more than one
	Texts int `json:"texts"`
	Budget
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
	From   int     `json:"from"` // the first place, counted from 0
	NLL    float64 `json:"nll"`  // nats
	Tokens float64 `json:"tokens"`
}

// TextRecord is what came of a plain text.
type TextRecord struct {
	Where     string    `json:"where"`
	SHA256    string    `json:"sha256"` // of its tokens, see [PromptSHA256]
	Positions textParts `json:"positions"`
}

// check says what of a record cannot be.
func (r *TextRecord) check() error {
	if sum, err := hex.DecodeString(r.SHA256); err != nil || len(sum) != sha256.Size {
		return fmt.Errorf("sha256 is %q, want 64 hexadecimal digits", r.SHA256)
	}
	if len(r.Positions) == 0 {
		return errors.New("no positions")
	}
	for i, p := range r.Positions {
		from, to := places(i)
		if p.From != from || p.Tokens < 0 || p.Tokens > float64(to-from+1) || math.Abs(p.NLL) > mostNLL*p.Tokens {
			return fmt.Errorf("positions[%d] is a loss of %g nats over %g tokens from %d on", i, p.NLL, p.Tokens, p.From)
		}
	}
	return nil
}

// textParts are the losses of one text by part.
type textParts []lossSum

func (p *textParts) add(at int, nll float64) {
	for len(*p) <= partOf(at) {
		from, _ := places(len(*p))
		*p = append(*p, lossSum{From: from})
	}
	sum := &(*p)[partOf(at)]
	sum.NLL += nll
	sum.Tokens++
}

// of is the loss of a part, -1 for all.
func (p textParts) of(part int) (sum lossSum) {
	for i, s := range p {
		if part < 0 || i == part {
			sum.NLL, sum.Tokens = sum.NLL+s.NLL, sum.Tokens+s.Tokens
		}
	}
	return sum
}

// texts reads the job's data if they are plain texts; else it returns nil.
func (j *Job) texts(ctx context.Context) (_ []data.Encoded, err error) {
	source, err := j.Config.Open(ctx)
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
	e, list := data.NewEncoder(j.Tokenizer, nil, j.Config.MaxTokens), make([]data.Encoded, n)
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

// readTexts measures the loss of texts under all policies at all budgets.
func (j *Job) readTexts(ctx context.Context, list []data.Encoded, against Policy, kept *folder) ([]*Texts, error) {
	byReading, of := map[Reading][]textParts{}, map[Reading]*Texts{}
	for i, p := range j.readings() {
		var err error
		if byReading[p], of[p], err = j.textsUnder(ctx, i, p, list, kept); err != nil {
			return nil, fmt.Errorf("policy %s: %w", p.Title(), err)
		}
	}
	var out []*Texts
	for _, p := range j.readings() {
		var compared []textParts
		if p.Policy != against {
			compared = byReading[j.readings()[p.against(against, j.readings())]]
		}
		of[p].sum(byReading[p], compared)
		out = append(out, of[p])
	}
	return out, nil
}

// textsUnder reads texts by all seeds of a policy; losses are means over them.
func (j *Job) textsUnder(ctx context.Context, i int, p Reading, list []data.Encoded, kept *folder) ([]textParts, *Texts, error) {
	block, err := p.model(j.Model)
	if err != nil {
		return nil, nil, err
	}
	m, err := WithPolicy(block, p.Policy)
	if err != nil {
		return nil, nil, err
	}
	t := &Texts{Reading: p, Budget: BudgetOf(block, m)}
	if n := j.seeds(p); n > 1 {
		t.Seeds = n
	}
	line := progress.Start(j.Progress, progress.Task{What: j.what(i, p), Unit: "tokens", Total: tokensOf(list) * j.seeds(p)})
	defer line.End()
	out := make([]textParts, len(list))
	for seed := range j.seeds(p) {
		o := Options{Group: j.Group}
		if kept != nil {
			o.Kept = kept.of(p, seed)
		}
		if err := o.shareKept(); err != nil {
			return nil, nil, err
		}
		take := func(row int, r Record) {
			out[row].mean(r.Text.Positions, seed)
			line.Add(len(list[row].IDs))
		}
		var missing []int
		for row, text := range list {
			r, ok := o.Kept[row]
			if !ok {
				missing = append(missing, row)
				continue
			}
			if err := sameText(&r, text); err != nil {
				return nil, nil, err
			}
			take(row, r)
		}
		reader := textReader{job: j, of: t, seed: seed, model: p.Policy.seeded(m, seed)}
		err := inTurn(o.Group, missing, func(int, int) bool { return false }, func(row int) (Record, error) { return reader.read(ctx, row, list[row]) }, func(row int, r Record) error {
			take(row, r)
			if kept == nil {
				return nil
			}
			return kept.keep(r)
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return out, t, nil
}

func tokensOf(list []data.Encoded) (n int) {
	for _, text := range list {
		n += len(text.IDs)
	}
	return n
}

// textReader reads texts by one seed.
type textReader struct {
	job   *Job
	of    *Texts // what it reads for
	seed  int
	model *model.Model
}

// sameText fails if a record is of another text.
func sameText(r *Record, text data.Encoded) error {
	if r.Text == nil {
		return fmt.Errorf("the record of row %d has answers, the row is a plain text", r.Row+1)
	}
	if sum := PromptSHA256(text.IDs); r.Text.SHA256 != sum {
		return fmt.Errorf("the record of row %d was made of other tokens: their SHA-256 was %.12s and is %.12s", r.Row+1, r.Text.SHA256, sum)
	}
	return nil
}

// read is what comes of a text.
func (t *textReader) read(ctx context.Context, row int, text data.Encoded) (Record, error) {
	started, out := time.Now(), &TextRecord{Where: text.Where, SHA256: PromptSHA256(text.IDs)}
	if err := eachToken(ctx, t.model, t.job.Stream, text, 1, out.Positions.add); err != nil {
		return Record{}, err
	}
	return Record{
		Reading: t.of.Reading, Budget: t.of.Budget, Seed: t.seed, Row: row, Text: out, Speed: Speed{ReadTokens: len(text.IDs), ReadSeconds: time.Since(started).Seconds()},
	}, nil
}

// mean takes in the losses of the n-th seed, from 0.
func (p *textParts) mean(more textParts, n int) {
	if n == 0 {
		*p = slices.Clone(more)
		return
	}
	for i := range *p {
		(*p)[i].NLL += (more[i].NLL - (*p)[i].NLL) / float64(n+1)
	}
}

// keptTexts are the texts of an evaluation under a reading, by the hash of their tokens.
type keptTexts struct {
	Reading
	budget Budget
	seeds  int
	sums   []string // in the order of their rows
	parts  map[string]textParts
}

// texts are those of an evaluation's readings, in the order in which they were measured.
func (k *Kept) texts() []*keptTexts {
	var list []*keptTexts
	at := map[Reading]*keptTexts{}
	seen := map[Reading]map[string]int{}
	for _, r := range k.Records {
		if r.Text == nil {
			continue
		}
		t := at[r.Reading]
		if t == nil {
			t = &keptTexts{Reading: r.Reading, budget: r.Budget, parts: map[string]textParts{}}
			at[r.Reading], seen[r.Reading] = t, map[string]int{}
			list = append(list, t)
		}
		sum := r.Text.SHA256
		parts, n := t.parts[sum], seen[r.Reading][sum]
		parts.mean(r.Text.Positions, n)
		if n == 0 {
			t.sums = append(t.sums, sum)
		}
		t.parts[sum], seen[r.Reading][sum] = parts, n+1
		t.seeds = max(t.seeds, n+1)
	}
	return list
}

// against is what these are compared with under a policy of a list; nil if it is their own, or
// the list has none.
func (t *keptTexts) against(p Policy, list []*keptTexts) *keptTexts {
	var readings []Reading
	for _, other := range list {
		readings = append(readings, other.Reading)
	}
	if i := t.Reading.against(p, readings); i >= 0 && list[i].Policy != t.Policy {
		return list[i]
	}
	return nil
}

// sum adds up the losses of the texts that both have; of all texts, if b is nil.
func (t *keptTexts) sum(b *keptTexts) *Texts {
	out := &Texts{Reading: t.Reading, Budget: t.budget}
	if t.seeds > 1 {
		out.Seeds = t.seeds
	}
	var now, was []textParts
	for _, sum := range t.sums {
		if b == nil {
			now = append(now, t.parts[sum])
		} else if parts, ok := b.parts[sum]; ok {
			now, was = append(now, t.parts[sum]), append(was, parts)
		}
	}
	out.sum(now, was)
	return out
}

// compareTexts fills Texts with those that both have.
func (c *Comparison) compareTexts(before, after []*keptTexts) {
	for _, a := range after {
		for _, b := range before {
			if a.Reading != b.Reading && len(before)*len(after) > 1 {
				continue
			}
			if t := a.sum(b); t.Texts > 0 {
				c.Texts = append(c.Texts, t)
			}
		}
	}
}

// Title says under which policy, at which budget if one was asked for, and over how many
// seeds.
func (t *Texts) Title() string { return withSeeds(t.Reading, t.Seeds) }

// sum adds up the losses of texts; against are those of the same texts under another policy,
// or nil.
func (t *Texts) sum(list, against []textParts) {
	most := 0
	for _, text := range list {
		most = max(most, len(text))
	}
	t.Texts, t.All = len(list), lossOf(list, against, -1)
	t.All.From = 1
	for part := range most {
		loss := lossOf(list, against, part)
		loss.From, loss.To = places(part)
		t.Positions, t.All.To = append(t.Positions, loss), loss.To
	}
}

func lossOf(list, against []textParts, part int) PositionLoss {
	var loss PositionLoss
	var p Paired
	for i, text := range list {
		sum := text.of(part)
		if sum.Tokens == 0 {
			continue
		}
		before := sum
		if against != nil {
			before = against[i].of(part)
		}
		p.Add(before.NLL, sum.NLL, sum.Tokens)
		loss.Tokens += int(sum.Tokens)
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
	losses := table{title: "perplexity of plain texts by position", columns: append([]string{"policy", "texts", "tokens", "tokens kept", "bytes", "all"}, positionNames(list)...)}
	for _, t := range list {
		row := append([]string{t.Title(), fmt.Sprint(t.Texts), fmt.Sprint(t.All.Tokens)}, t.Budget.texts()...)
		for _, p := range append([]PositionLoss{t.All}, t.Positions...) {
			row = append(row, p.text())
		}
		losses.rows = append(losses.rows, row)
	}
	if list[0].All.Interval != nil {
		losses.notes = []string{intervalNote}
	}
	i := slices.IndexFunc(list, func(t *Texts) bool { return t.All.Change == nil })
	changes := textChanges("perplexity against "+string(list[i].Policy), list)
	if len(changes.rows) == 0 {
		return []table{losses}
	}
	changes.notes = []string{chanceNote}
	return []table{losses, changes}
}

func positionNames(list []*Texts) (names []string) {
	for _, p := range list[0].Positions {
		names = append(names, fmt.Sprintf("%d-%d", p.From, p.To))
	}
	return names
}

// textChanges is the table of what losses have more than those that they are compared with.
func textChanges(title string, list []*Texts) table {
	t := table{title: title, columns: append([]string{"", "all"}, positionNames(list)...)}
	for _, one := range list {
		if one.All.Change == nil {
			continue
		}
		row := []string{one.Title()}
		for _, p := range append([]PositionLoss{one.All}, one.Positions...) {
			row = append(row, BucketChange{Changes: map[string]Change{PerplexityName: *p.Change}}.text(PerplexityName))
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// text is the perplexity with its interval.
func (p PositionLoss) text() string {
	text := fmt.Sprintf("%.2f", p.Perplexity)
	if p.Interval != nil {
		text += fmt.Sprintf(" (%.2f–%.2f)", p.Interval.Lo, p.Interval.Hi)
	}
	return text
}
