package export

import (
	"reflect"
	"testing"
)

func TestEvenly(t *testing.T) {
	for _, tc := range []struct {
		weights []int
		groups  int
		want    []int
	}{
		{[]int{5, 5, 5, 5, 1}, 1, []int{}},
		{[]int{5, 5, 5, 5, 1}, 2, []int{2}},
		{[]int{5, 5, 5, 5, 45}, 2, []int{4}},
		{[]int{5, 5, 5, 5, 5, 5, 11}, 3, []int{3, 6}},
		{[]int{1, 2, 3}, 3, []int{1, 2}},
	} {
		if got := evenly(tc.weights, tc.groups); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%v in %d: groups begin at %v, want %v", tc.weights, tc.groups, got, tc.want)
		}
	}
}
