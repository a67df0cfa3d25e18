package enum

import (
	"slices"
	"testing"
)

type color string

func TestTable(t *testing.T) {
	colors := NewTable[color, int]("color").With("red", 1).With("blue", 2).With("black", 3)
	if got := colors.Names(); !slices.Equal(got, []color{"red", "blue", "black"}) {
		t.Errorf("names %v, want those added, in this order", got)
	}
	if v, err := colors.Find("blue"); v != 2 || err != nil || colors.Get("blue") != 2 {
		t.Errorf("blue: %d, %v", v, err)
	}
	for word, want := range map[color]string{
		"blu":    `color is "blu"; did you mean "blue"? It must be one of red, blue, black`,
		"yellow": `color is "yellow"; it must be one of red, blue, black`,
		"":       `color is ""; it must be one of red, blue, black`,
	} {
		if v, err := colors.Find(word); v != 0 || err == nil || err.Error() != want {
			t.Errorf("%q: %d, %v; want %s", word, v, err, want)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a name that is taken was added again")
		}
	}()
	colors.With("red", 4)
}
