package eval

import (
	"fmt"
	"math"
)

// Estimate is a figure with the interval that it would lie in for 95 of 100 samples of
// conversations like those that were measured.
type Estimate struct {
	Value float64 `json:"value"`
	Interval
}

// EstimateOf is a figure of all n units with its interval.
func EstimateOf(n int, figure func(units []int) float64) Estimate {
	return Estimate{figure(Units(n)), Bootstrap(n, figure)}
}

// Paired are two measurements of the same conversations. Before and After are sums of a
// figure over what a
// conversation has of questions or tokens, Weights how many these are.
type Paired struct{ Before, After, Weights []float64 }

// Add appends a conversation.
func (p *Paired) Add(before, after, weight float64) {
	p.Before, p.After, p.Weights = append(p.Before, before), append(p.After, after), append(p.Weights, weight)
}

// Change is a figure before and after, and what it has changed by: each sample of
// conversations is drawn for both, so that what makes one harder than another one for both
// does not count.
type Change struct {
	Before     Estimate `json:"before"`
	After      Estimate `json:"after"`
	Difference Estimate `json:"difference"`
	Rows       int      `json:"rows"`   // conversations
	Differ     int      `json:"differ"` // of these, where one measured other than the other
	// BeyondChance says that the interval of the difference leaves 0 out, and that at least
	// [LeastDiffer] conversations differ.
	BeyondChance bool `json:"beyond_chance"`
}

// LeastDiffer is how many conversations must differ before a difference can be beyond
// chance: of five coins, all fall on one side in 2 of 32 throws, of six in 2 of 64. The
// bootstrap knows nothing of this: of two conversations that differ alike, all samples do.
const LeastDiffer = 6

// Means compares means, such as the share of questions that are answered.
func (p Paired) Means() Change {
	return p.change(func(mean float64) float64 { return mean }, func(before, after float64) float64 { return after - before })
}

// Perplexities compares perplexities, where sums are of losses in nats. Their difference is
// the relative increase.
func (p Paired) Perplexities() Change {
	return p.change(math.Exp, func(before, after float64) float64 { return math.Expm1(after - before) })
}

func (p Paired) change(shape func(mean float64) float64, difference func(before, after float64) float64) Change {
	n, before, after := len(p.Weights), Mean(p.Before, p.Weights), Mean(p.After, p.Weights)
	c := Change{
		Before:     EstimateOf(n, func(u []int) float64 { return shape(before(u)) }),
		After:      EstimateOf(n, func(u []int) float64 { return shape(after(u)) }),
		Difference: EstimateOf(n, func(u []int) float64 { return difference(before(u), after(u)) }),
		Rows:       n,
	}
	for i := range n {
		if p.Before[i] != p.After[i] {
			c.Differ++
		}
	}
	c.BeyondChance = c.Differ >= LeastDiffer && (c.Difference.Lo > 0 || c.Difference.Hi < 0)
	return c
}

// Measure is what is summed of an answer, and its weight: 0 where the answer has no such
// figure.
type Measure func(a Answer) (sum, weight float64)

// Of is the measure of a metric.
func (m Metric) Of(a Answer) (sum, weight float64) {
	v, ok := a.Metrics[m]
	if !ok {
		return 0, 0
	}
	return v, 1
}

// Loss is the measure of the right answers' loss: nats, and tokens.
func Loss(a Answer) (sum, weight float64) { return a.NLL, float64(a.Tokens) }

// PairAnswers sums a measure, conversation by conversation, over the questions of a bucket
// that were asked both times.
func PairAnswers(before, after []Answer, bounds Bounds, b Bucket, m Measure) Paired {
	return pairUp(fold(before), fold(after), place).sum(bounds, b, m)
}

// pair are the answers to one question.
type pair struct{ before, after Answer }

type pairs []pair

// place is where a question stands within an evaluation.
func place(a Answer) string { return fmt.Sprintf("%s\x00%d", a.Where, a.Turn) }

// fold makes one answer of those that a question has of several seeds, whose figures are
// their means: seeds make no further questions.
func fold(answers []Answer) []Answer {
	var list []Answer
	at, n := map[string]int{}, []float64{}
	for _, a := range answers {
		i, seen := at[place(a)]
		if !seen {
			at[place(a)] = len(list)
			list, n = append(list, a), append(n, 1)
			continue
		}
		n[i]++
		sum := Figures{}
		for m, v := range list[i].Metrics {
			sum[m] = v + (a.Metrics[m]-v)/n[i]
		}
		list[i].Metrics = sum
		list[i].NLL += (a.NLL - list[i].NLL) / n[i]
	}
	return list
}

// pairUp finds the questions that both have, by a key; what has the same key several times
// is paired in order.
func pairUp(before, after []Answer, key func(Answer) string) pairs {
	at := map[string][]Answer{}
	for _, a := range after {
		at[key(a)] = append(at[key(a)], a)
	}
	var list pairs
	for _, b := range before {
		if k := key(b); len(at[k]) > 0 {
			list = append(list, pair{b, at[k][0]})
			at[k] = at[k][1:]
		}
	}
	return list
}

// self pairs answers with themselves.
func self(answers []Answer) pairs {
	list := make(pairs, len(answers))
	for i, a := range answers {
		list[i] = pair{a, a}
	}
	return list
}

// sum adds up a measure by conversation: answers of one are not independent.
func (list pairs) sum(bounds Bounds, b Bucket, m Measure) Paired {
	var p Paired
	at := map[string]int{}
	for _, two := range list {
		before, weight := m(two.before)
		after, _ := m(two.after)
		if weight == 0 || !bounds.Has(b, two.before.Distance) {
			continue
		}
		i, seen := at[two.before.conversation()]
		if !seen {
			i = len(p.Weights)
			at[two.before.conversation()] = i
			p.Add(0, 0, 0)
		}
		p.Before[i], p.After[i], p.Weights[i] = p.Before[i]+before, p.After[i]+after, p.Weights[i]+weight
	}
	return p
}
