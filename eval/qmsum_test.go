package eval

import (
	"strings"
	"testing"

	"eisft/data"
	"eisft/internal/testfiles"
)

// qmsum are the queries and summaries of a QMSum file.
func qmsum(t testing.TB, n int) ([]Sample, []data.Sample) {
	t.Helper()
	_, tk, tpl := openDemo(t)
	tasks, err := LoadTasks("../configs/eval/longbench.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tasks.MaxPromptTokens = 600
	source, err := data.Open(testfiles.Shared(t, "data/qmsum-test.parquet"), data.Options{Prompts: tasks.prompts()})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	var samples []Sample
	var rows []data.Sample
	for i := range n {
		row, err := source.At(i)
		if err != nil {
			t.Fatal(err)
		}
		s, err := tasks.sample(data.NewEncoder(tk, tpl, 0), tk, row)
		if err != nil {
			t.Fatal(err)
		}
		samples, rows = append(samples, s), append(rows, row)
	}
	return samples, rows
}

// TestQMSum: meetings are asked by LongBench's task, without their middle, and summaries are
// scored by how much of them an answer has.
func TestQMSum(t *testing.T) {
	samples, rows := qmsum(t, 4)
	for i, s := range samples {
		right := Right{Answers: s.Accepted[0]}
		whole := rows[i].Answers[0]
		half := whole[:strings.LastIndexByte(whole[:len(whole)/2], ' ')]
		for _, m := range s.task.Metrics {
			all, some := metrics.Get(m).score(whole, right), metrics.Get(m).score(half, right)
			if all < 1-1e-7 || some < 0.3 || some > 0.95 {
				t.Errorf("%s: %s of the summary is %.3f, of its first half %.3f", s.Where, m, all, some)
			}
		}
		if s.Metric != MetricRougeL || s.CutTokens < 1000 || s.Turns[0].Start > 700 || s.Length < 2000 {
			t.Errorf("%s: metric %s, %d tokens cut, %d left, length %d", s.Where, s.Metric, s.CutTokens, s.Turns[0].Start, s.Length)
		}
	}
}

// BenchmarkQMSum scores summaries of other meetings by ROUGE.
func BenchmarkQMSum(b *testing.B) {
	_, rows := qmsum(b, 8)
	for _, m := range []Metric{MetricRouge1, MetricRouge2, MetricRougeL} {
		b.Run(string(m), func(b *testing.B) {
			sum := 0.0
			for n := 0; b.Loop(); n++ {
				sum += metrics.Get(m).score(rows[n%8].Answers[0], Right{Answers: rows[(n+1)%8].Answers})
			}
			b.ReportMetric(sum/float64(b.N), "score")
		})
	}
}
