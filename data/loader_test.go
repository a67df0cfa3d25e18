package data_test

import (
	"slices"
	"strings"
	"testing"

	"eisft/data"
	"eisft/model/tokenizer"
)

// TestSplitOnce: a row that is split is read and encoded once, for whichever of its samples
// comes first.
func TestSplitOnce(t *testing.T) {
	tk, err := tokenizer.Load("../model/demo")
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, "a.jsonl", []byte(`{"text":"short"}`+"\n"+`{"text":"`+strings.Repeat("Anna takes the blue folder. ", 20)+`"}`+"\n"))
	s, err := data.Open(path, data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e := data.NewEncoder(tk, nil, 30).Long(data.LongSplit)
	found, err := data.CheckRows(t.Context(), s, e, data.CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	use, err := found.Use(data.BadRowFail)
	if err != nil || len(use) < 4 {
		t.Fatalf("%d samples, %v", len(use), err)
	}
	row, err := s.At(1)
	if err != nil {
		t.Fatal(err)
	}
	want, err := e.Parts(row)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Encode(use[2], e); err != nil || !slices.Equal(got.IDs, want[1].IDs) {
		t.Errorf("%v, %v, want %v", got.IDs, err, want[1].IDs)
	}
	if err := s.Close(); err != nil { // nothing can be read now
		t.Fatal(err)
	}
	for i, p := range use[1:] {
		if got, err := s.Encode(p, e); err != nil || !slices.Equal(got.IDs, want[i].IDs) || got.Where != want[i].Where {
			t.Errorf("part %d: %v, %v, want %v", i, got.IDs, err, want[i].IDs)
		}
	}
	if _, err := s.Encode(use[0], e); err == nil {
		t.Error("a row that was not read was encoded")
	}
	if _, err := s.Encode(use[1], data.NewEncoder(tk, nil, 30).Long(data.LongSplit)); err == nil {
		t.Error("another encoder has the samples of this one")
	}
}
