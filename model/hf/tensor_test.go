package hf

import (
	"slices"
	"strings"
	"testing"
)

func TestTensorRows(t *testing.T) {
	data := make([]byte, 2*3*4*2)
	for i := range 24 {
		data[2*i], data[2*i+1] = byte(0x80+i), 0x3f // 1 + i/128
	}
	x := Tensor{"w", DTypeBF16, []int{3, 4, 2}, data}
	all, err := x.Float32()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range [][2]int{{0, 3}, {1, 2}, {2, 3}, {1, 1}} {
		view := x.Rows(r[0], r[1])
		got, err := view.Float32()
		if err != nil || !slices.Equal(got, all[8*r[0]:8*r[1]]) {
			t.Errorf("rows %v: %v, %v", r, got, err)
		}
		if len(view.Data) > 0 && &view.Data[0] != &data[16*r[0]] {
			t.Errorf("rows %v are a copy", r)
		}
	}
	if !slices.Equal(x.Shape, []int{3, 4, 2}) {
		t.Errorf("the tensor itself has changed: %v", x.Shape)
	}
	err = x.ReadFloat32(make([]float32, 23))
	if want := "tensor w: found 24 numbers, want the 23 that there is room for"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}
