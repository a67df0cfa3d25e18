package eval

import (
	"testing"

	"eisft/data"
)

// BenchmarkRun answers the first questions of the demo's test file, each some
// 2,000 tokens long.
func BenchmarkRun(b *testing.B) {
	m, tk, tpl := openDemo(b)
	source, err := data.Open("../data/demo/test.parquet", data.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer source.Close()
	samples, err := Load(source, data.NewEncoder(tk, tpl, 0), 8)
	if err != nil {
		b.Fatal(err)
	}
	for _, p := range Policies() {
		b.Run(string(p), func(b *testing.B) {
			var sum Speed
			for b.Loop() {
				r, err := Run(b.Context(), m, p, tk, samples, Options{MaxNewTokens: 32})
				if err != nil {
					b.Fatal(err)
				}
				sum.ReadTokens += r.Speed.ReadTokens
				sum.ReadSeconds += r.Speed.ReadSeconds
				sum.WrittenTokens += r.Speed.WrittenTokens
				sum.WriteSeconds += r.Speed.WriteSeconds
			}
			b.ReportMetric(rate(sum.ReadTokens, sum.ReadSeconds), "read-tokens/s")
			b.ReportMetric(rate(sum.WrittenTokens, sum.WriteSeconds), "written-tokens/s")
		})
	}
}
