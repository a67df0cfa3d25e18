package data_test

import (
	"testing"

	"eisft/data"
	"eisft/internal/testfiles"
)

// bytesOf is the size of a sample's text.
func bytesOf(s data.Sample) int {
	n := len(s.Text)
	for _, m := range s.Messages {
		n += len(m.Content)
	}
	return n
}

// BenchmarkRead reads real files, in order and in the order of a training epoch.
func BenchmarkRead(b *testing.B) {
	for _, name := range []string{"conversations-train.parquet", "qmsum-train.parquet", "conversations-chat-train.jsonl.gz"} {
		for _, shuffled := range []bool{false, true} {
			order := "ordered"
			if shuffled {
				order = "shuffled"
			}
			b.Run(name+"/"+order, func(b *testing.B) {
				s := open(b, testfiles.Shared(b, "data/"+name))
				at := make([]int, s.Len())
				for i := range at {
					at[i] = i
				}
				if shuffled {
					at = data.Order(1, 0, s.Len())
				}
				size := 0
				for i := 0; b.Loop(); i++ {
					sample, err := s.At(at[i%len(at)])
					if err != nil {
						b.Fatal(err)
					}
					size += bytesOf(sample)
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
				b.ReportMetric(float64(size)/1e6/b.Elapsed().Seconds(), "MB/s")
			})
		}
	}
}

// BenchmarkEncode encodes real conversations of six turns and real meetings.
func BenchmarkEncode(b *testing.B) {
	for _, name := range []string{"conversations-chat-train.jsonl.gz", "qmsum-validation.parquet"} {
		for _, dir := range []string{"demo", "qwen3"} {
			b.Run(name+"/"+dir, func(b *testing.B) {
				tk, template := load(b, dir)
				encoder := data.NewEncoder(tk, template, 0)
				source := open(b, testfiles.Shared(b, "data/"+name))
				var samples []data.Sample
				for i := range 16 {
					s, err := source.At(i)
					if err != nil {
						b.Fatal(err)
					}
					samples = append(samples, s)
				}
				tokens, size := 0, 0
				for i := 0; b.Loop(); i++ {
					s := samples[i%len(samples)]
					enc, err := encoder.Encode(s)
					if err != nil {
						b.Fatal(err)
					}
					tokens += len(enc.IDs)
					size += bytesOf(s)
				}
				b.ReportMetric(float64(tokens)/b.Elapsed().Seconds(), "tokens/s")
				b.ReportMetric(float64(size)/1e6/b.Elapsed().Seconds(), "MB/s")
			})
		}
	}
}
