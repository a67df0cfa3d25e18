package data_test

import (
	"os"
	"testing"

	"eisft/data"
	"eisft/model/tokenizer"
)

// TestDemoData checks the shipped files: each reads and encodes without any option, is
// no longer than the demo base was trained for, and holds what its README says.
func TestDemoData(t *testing.T) {
	tk, err := tokenizer.Load("../model/demo")
	if err != nil {
		t.Fatal(err)
	}
	template, err := tokenizer.LoadTemplate("../model/demo")
	if err != nil {
		t.Fatal(err)
	}
	encoder := data.NewEncoder(tk, template, 0)
	for _, c := range []struct {
		name                               string
		rows, far, near, maxBytes, answers int
	}{
		{"train", 1200, 0, 0, 2 << 20, 8069},
		{"test", 157, 119, 38, 300 << 10, 157},
		{"calib", 60, 25, 9, 200 << 10, 60},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := "demo/" + c.name + ".parquet"
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			samples, err := readAll(path, data.Options{})
			if err != nil {
				t.Fatal(err)
			}
			far, near, answers := 0, 0, 0
			for _, s := range samples {
				enc, err := encoder.Encode(s)
				if err != nil {
					t.Fatal(err)
				}
				if len(enc.IDs) > 2048 {
					t.Errorf("%s: %d tokens", s.Where, len(enc.IDs))
				}
				answers += len(enc.Turns)
				if s.Fact != "" {
					wantFact(t, s)
				}
				switch d := enc.Turns[0].Distance; {
				case d > 600:
					far++
				case d >= 0 && d < 250:
					near++
				}
			}
			if len(samples) != c.rows || far != c.far || near != c.near || answers != c.answers || int(info.Size()) > c.maxBytes {
				t.Errorf("%d rows, %d far, %d near, %d answers, %d bytes; want %+v", len(samples), far, near, answers, info.Size(), c)
			}
		})
	}
}
