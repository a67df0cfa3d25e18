package data_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"eisft/data"
)

// TestOrderIsPinned keeps the order of a seed from changing: saved cursors depend on it.
func TestOrderIsPinned(t *testing.T) {
	for _, c := range []struct {
		seed  uint64
		epoch int
		want  []int
	}{
		{0, 0, []int{4, 1, 7, 3, 0, 2, 6, 5}},
		{0, 1, []int{3, 7, 0, 4, 1, 5, 6, 2}},
		{7, 0, []int{2, 3, 7, 0, 6, 5, 4, 1}},
	} {
		if got := data.Order(c.seed, c.epoch, 8); !slices.Equal(got, c.want) {
			t.Errorf("Order(%d, %d, 8) = %v, want %v", c.seed, c.epoch, got, c.want)
		}
	}
}

func TestOrderIsAFairPermutation(t *testing.T) {
	const n, epochs = 10, 5000
	var at [n][n]int
	for epoch := range epochs {
		order := data.Order(3, epoch, n)
		for i, v := range order {
			at[i][v]++
		}
		slices.Sort(order)
		if d := cmp.Diff(order, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}); d != "" {
			t.Fatal(d)
		}
	}
	for i := range at {
		for v, count := range at[i] {
			if count < epochs/n*8/10 || count > epochs/n*12/10 { // 4.7 standard deviations
				t.Errorf("%d is at place %d in %d of %d epochs", v, i, count, epochs)
			}
		}
	}
}

func TestSamplerResumes(t *testing.T) {
	const n = 5
	whole, err := data.NewSampler(1, n, data.Cursor{})
	if err != nil {
		t.Fatal(err)
	}
	for step := range 3 * n {
		resumed, err := data.NewSampler(1, n, whole.Cursor())
		if err != nil {
			t.Fatal(err)
		}
		want := data.Order(1, step/n, n)[step%n]
		if a, b := whole.Next(), resumed.Next(); a != want || b != want || whole.Cursor() != resumed.Cursor() {
			t.Errorf("step %d: %d, resumed %d, want %d", step, a, b, want)
		}
	}
	for _, bad := range []data.Cursor{{Index: n + 1}, {Index: -1}, {Epoch: -1}} {
		if _, err := data.NewSampler(1, n, bad); err == nil || !strings.Contains(err.Error(), "cannot resume at sample") {
			t.Errorf("cursor %v: %v", bad, err)
		}
	}
	if _, err := data.NewSampler(1, 0, data.Cursor{}); !errors.Is(err, data.ErrEmpty) {
		t.Errorf("no samples: %v", err)
	}
}

func TestLoader(t *testing.T) {
	row := func(answer string) string {
		return `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"` + answer + `"}]}` + "\n"
	}
	source, err := data.Open(write(t, "a.jsonl", []byte(row("a")+row("left out")+row("b")+row("c"))), data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	encoder, rows := demoEncoder(t, 50), []data.Piece{{Row: 0}, {Row: 2}, {Row: 3}}
	whole, err := data.NewLoader(source, rows, encoder, 1, data.Cursor{})
	if err != nil {
		t.Fatal(err)
	}
	for step := range 7 {
		resumed, err := data.NewLoader(source, rows, encoder, 1, whole.Cursor())
		if err != nil {
			t.Fatal(err)
		}
		a, errA := whole.Next()
		b, errB := resumed.Next()
		if err := errors.Join(errA, errB); err != nil {
			t.Fatal(err)
		}
		row := rows[data.Order(1, step/3, 3)[step%3]].Row
		if want := fmt.Sprintf("line %d", row+1); a.Where != b.Where || !strings.HasSuffix(a.Where, want) {
			t.Errorf("step %d: %s, resumed %s, want %s", step, a.Where, b.Where, want)
		}
	}
	if _, err := data.NewLoader(source, nil, encoder, 1, data.Cursor{}); !errors.Is(err, data.ErrEmpty) {
		t.Errorf("no rows: %v", err)
	}
}
