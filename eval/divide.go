package eval

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"
)

// TaskScore is what the answers to a data set's questions score by its task's metric.
type TaskScore struct {
	Policy  string `json:"policy"`
	Dataset string `json:"dataset"`
	Metric  Metric `json:"metric"`
	// Share is of all its questions, Lengths of those of each of LongBench-E's buckets: rows
	// whose column length is below 4,000, below 8,000, and above. Nil where rows have none.
	Share
	Lengths []Share `json:"lengths,omitempty"`
	// Grid is of the questions by their rows' length and by the tenth of the context that
	// the fact lies in. Nil where that is not known.
	Grid []Share `json:"grid,omitempty"`
}

// Recall is what answers score by how far back the fact lies.
type Recall struct {
	Policy string `json:"policy"`
	// Distances are by tokens from the fact to the answer, Commits by how many segments have
	// been committed since the fact was read.
	Distances []Share `json:"distances"`
	Commits   []Share `json:"commits"`
}

// Share is the mean score of a part of the answers.
type Share struct {
	Part     string    `json:"part,omitempty"`
	Depth    string    `json:"depth,omitempty"` // of a grid
	N        int       `json:"n"`
	Score    float64   `json:"score"`
	Interval *Interval `json:"interval,omitempty"` // if there is more than one conversation
	at       int       // its place among the others
}

// piece is what answers are divided into: its place among the others, and its name; the
// second one is a grid's.
type piece struct {
	at          int
	name, depth string
}

// score is by the task's metric, or by exact match where there is no task.
func (a Answer) score() float64 {
	if a.Metric != "" {
		return a.Metrics[a.Metric]
	}
	return a.Metrics[MetricExactMatch]
}

// divide returns the share of each part that answers have, in their order. of says which
// one an answer belongs to, if any.
func divide(answers []Answer, of func(Answer) (piece, bool)) []Share {
	sets := map[piece][]Answer{}
	for _, a := range answers {
		if p, ok := of(a); ok {
			sets[p] = append(sets[p], a)
		}
	}
	var out []Share
	for _, p := range slices.SortedFunc(maps.Keys(sets), func(a, b piece) int { return a.at - b.at }) {
		out = append(out, shareOf(p, sets[p]))
	}
	return out
}

// shareOf is the mean score of answers, with its interval by conversation.
func shareOf(of piece, answers []Answer) Share {
	var sums, weights []float64
	row := map[string]int{}
	for _, a := range answers {
		i, seen := row[a.conversation()]
		if !seen {
			i = len(sums)
			row[a.conversation()], sums, weights = i, append(sums, 0), append(weights, 0)
		}
		sums[i] += a.score()
		weights[i]++
	}
	s := Share{at: of.at, Part: of.name, Depth: of.depth, N: len(answers), Score: Mean(sums, weights)(Units(len(sums)))}
	if len(sums) > 1 {
		i := Bootstrap(len(sums), Mean(sums, weights))
		s.Interval = &i
	}
	return s
}

// byLength are LongBench-E's buckets.
func byLength(a Answer) (piece, bool) {
	switch {
	case a.Length <= 0:
		return piece{}, false
	case a.Length < 4000:
		return piece{at: 0, name: "0-4k"}, true
	case a.Length < 8000:
		return piece{at: 1, name: "4-8k"}, true
	default:
		return piece{at: 2, name: "8k+"}, true
	}
}

// byDistance divides by powers of two: 64-127 tokens back, 128-255, and so on.
func byDistance(a Answer) (piece, bool) {
	if a.Distance < 1 {
		return piece{}, false
	}
	low := 1 << (bits.Len(uint(a.Distance)) - 1)
	return piece{at: low, name: fmt.Sprintf("%d-%d", low, 2*low-1)}, true
}

// byCommits divides by powers of two: no commit, one, two, 3-4, 5-8, and so on.
func byCommits(a Answer) (piece, bool) {
	switch n := a.Commits; {
	case n < 0 || a.Distance < 0:
		return piece{}, false
	case n <= 2:
		return piece{at: n, name: fmt.Sprint(n)}, true
	default:
		most := 1 << bits.Len(uint(n-1))
		return piece{at: most, name: fmt.Sprintf("%d-%d", most/2+1, most)}, true
	}
}

// tenth is the tenth of the context that the fact lies in, -1 if that is not known.
func tenth(a Answer) int {
	if a.Depth == nil {
		return -1
	}
	return min(9, int(*a.Depth*10+1e-9))
}

func depthName(tenth int) string { return fmt.Sprintf("%d-%d %%", 10*tenth, 10*tenth+10) }

// grid divides by length and depth.
func grid(answers []Answer) []Share {
	const tenths = 10
	return divide(answers, func(a Answer) (piece, bool) {
		at := tenths*a.Length + tenth(a)
		return piece{at, fmt.Sprint(a.Length), depthName(tenth(a))}, a.Length > 0 && a.Depth != nil
	})
}

// recallOf divides the answers of a result by how far back the fact lies.
func recallOf(r *Result) *Recall {
	answers := fold(r.Answers)
	out := &Recall{Policy: r.Title(), Distances: divide(answers, byDistance), Commits: divide(answers, byCommits)}
	if len(out.Distances) == 0 {
		return nil
	}
	return out
}

// tasksOf divides the answers of a result by data set, in alphabetical order.
func tasksOf(r *Result) []*TaskScore {
	sets := map[string][]Answer{}
	for _, a := range fold(r.Answers) {
		if a.Metric != "" {
			sets[a.Dataset] = append(sets[a.Dataset], a)
		}
	}
	var out []*TaskScore
	for _, name := range slices.Sorted(maps.Keys(sets)) {
		answers := sets[name]
		out = append(out, &TaskScore{
			Policy: r.Title(), Dataset: name, Metric: answers[0].Metric, Share: shareOf(piece{}, answers),
			Lengths: divide(answers, byLength), Grid: grid(answers),
		})
	}
	return out
}

// divide fills Tasks and Recall.
func (r *Report) divide() {
	for _, result := range r.Results {
		r.Tasks = append(r.Tasks, tasksOf(result)...)
		if recall := recallOf(result); recall != nil {
			r.Recall = append(r.Recall, recall)
		}
	}
}

// dividedTables are those of Tasks and Recall.
func (r *Report) dividedTables() []table {
	var list []table
	if len(r.Tasks) > 0 {
		list = append(list, taskTable(r.Tasks))
	}
	for _, t := range r.Tasks {
		if len(t.Grid) > 1 {
			list = append(list, gridTable(t))
		}
	}
	return append(list, r.recallTables()...)
}

// recallTables are those of Recall.
func (r *Report) recallTables() []table {
	if len(r.Recall) == 0 {
		return nil
	}
	return []table{
		recallTable("score by tokens from the fact to the answer", r.Recall, func(r *Recall) []Share { return r.Distances }),
		recallTable("score by segments committed since the fact", r.Recall, func(r *Recall) []Share { return r.Commits }),
	}
}

// hundredths prints a share as LongBench prints it, with its interval.
func (s Share) hundredths() string {
	text := fmt.Sprintf("%.2f", 100*s.Score)
	if s.Interval != nil {
		text += fmt.Sprintf(" (%.1f–%.1f)", 100*s.Interval.Lo, 100*s.Interval.Hi)
	}
	return text
}

// of prints a share as other scores are, and of how many questions it is.
func (s Share) of() string { return fmt.Sprintf("%.2f of %d", s.Score, s.N) }

func taskTable(tasks []*TaskScore) table {
	lengths := columnsOf(tasks, func(t *TaskScore) []Share { return t.Lengths })
	t := table{title: "tasks, scores of 100", columns: append([]string{"policy", "dataset", "metric", "n", "score"}, lengths...)}
	if len(lengths) > 0 {
		t.notes = []string{"0-4k, 4-8k and 8k+ are of rows with so many words or tokens, as their column length says."}
	}
	for _, s := range tasks {
		row := []string{s.Policy, s.Dataset, string(s.Metric), fmt.Sprint(s.N), s.hundredths()}
		for _, l := range lengths {
			row = append(row, shareText(s.Lengths, func(s Share) bool { return s.Part == l }, Share.hundredths))
		}
		t.rows = append(t.rows, row)
	}
	return t
}

func gridTable(s *TaskScore) table {
	t := table{title: fmt.Sprintf("%s, %s: score by length and by depth of the fact", s.Policy, s.Dataset), columns: []string{"length"}}
	for i := range 10 {
		if slices.ContainsFunc(s.Grid, func(s Share) bool { return s.Depth == depthName(i) }) {
			t.columns = append(t.columns, depthName(i))
		}
	}
	for _, length := range columnsOf([]*TaskScore{s}, func(s *TaskScore) []Share { return s.Grid }) {
		row := []string{length}
		for _, d := range t.columns[1:] {
			row = append(row, shareText(s.Grid, func(s Share) bool { return s.Part == length && s.Depth == d }, Share.of))
		}
		t.rows = append(t.rows, row)
	}
	return t
}

func recallTable(title string, list []*Recall, of func(*Recall) []Share) table {
	t := table{title: title, columns: append([]string{"policy"}, columnsOf(list, of)...)}
	for _, r := range list {
		row := []string{r.Policy}
		for _, c := range t.columns[1:] {
			row = append(row, shareText(of(r), func(s Share) bool { return s.Part == c }, Share.of))
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// columnsOf are the parts that any has, in their order.
func columnsOf[T any](list []T, of func(T) []Share) []string {
	var all []Share
	for _, v := range list {
		all = append(all, of(v)...)
	}
	slices.SortStableFunc(all, func(a, b Share) int { return a.at - b.at })
	var out []string
	for _, s := range all {
		if !slices.Contains(out, s.Part) {
			out = append(out, s.Part)
		}
	}
	return out
}

// shareText prints the share that is meant, a dash where there is none.
func shareText(shares []Share, is func(Share) bool, text func(Share) string) string {
	if i := slices.IndexFunc(shares, is); i >= 0 {
		return text(shares[i])
	}
	return "–"
}
