package export

import (
	"fmt"

	"eisft/export/lower"
	"eisft/model"
)

// cuts says where the main graphs are divided so that they come in as many parts: before which
// layers, in lower.Source's terms. Graphs that read ids have the embedding alone in the first
// part. The others take consecutive layers, the last one with lm_head behind them or lm_head
// alone, so that the part with the most weights has as few as can be.
func (o Options) cuts(b *model.Base) ([]int, error) {
	if o.Parts == 0 || o.Parts == 1 {
		return nil, nil
	}
	parts, cuts, most, what := o.Parts, []int(nil), len(b.Layers)+1, "layers and lm_head"
	if o.Inputs == lower.InputIDs {
		parts, cuts, most, what = parts-1, []int{0}, most+1, "embedding, layers and lm_head"
	}
	if parts < 0 || o.Parts > most {
		return nil, fmt.Errorf("there cannot be %d parts: want at least 1, and at most %d, one for each of %s", o.Parts, most, what)
	}
	var weights []int
	for _, l := range b.Layers {
		n := 0
		for _, m := range l.Maps() {
			n += m.In * m.Out
		}
		weights = append(weights, n)
	}
	return append(cuts, evenly(append(weights, b.Head.In*b.Head.Out), parts)...), nil
}

// evenly divides a row of weights into groups whose heaviest is as light as can be, and returns
// where all but the first begin.
func evenly(weights []int, groups int) []int {
	type best struct{ heaviest, last int }
	n := len(weights)
	table := make([][]best, groups) // [groups-1][end]: of the first `end` weights
	for k := range table {
		table[k] = make([]best, n+1)
		for end := k + 1; end <= n; end++ {
			sum, found := 0, best{heaviest: -1}
			for from := end - 1; from >= k; from-- {
				sum += weights[from]
				heaviest := sum
				if k > 0 {
					heaviest = max(sum, table[k-1][from].heaviest)
				} else if from > 0 {
					continue
				}
				if found.heaviest < 0 || heaviest < found.heaviest {
					found = best{heaviest, from}
				}
			}
			table[k][end] = found
		}
	}
	starts, end := make([]int, groups-1), n
	for k := groups - 1; k > 0; k-- {
		end = table[k][end].last
		starts[k-1] = end
	}
	return starts
}
