package encoding

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestWholeMultiples: each block's scale is the multiple of its row's that is next to the
// scale which spans it, exactly so in any precision; blocks of zeros change nothing.
func TestWholeMultiples(t *testing.T) {
	const rows, cols, block = 37, 96, 8
	x := normal(rows*cols, 1)
	for r := range rows { // magnitudes that differ between blocks as those of checkpoints do
		for c := range cols {
			x[r*cols+c] *= float32(math.Exp2(float64((r*5+c/block*3)%7 - 12)))
		}
	}
	clear(x[:2*block])      // blocks of zeros
	clear(x[cols : 2*cols]) // and a row
	x[2*cols] = 0x1p-149    // a block whose scale is no normal number
	clear(x[2*cols+1 : 3*cols])
	f := Format{Bits: 4, Block: block, LowPower: true}
	e, err := f.Rows(x, rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.ParamShape([]int{rows, cols}); err != nil {
		t.Fatal(err)
	}
	f.LowPower = false
	plain, err := f.Rows(x, rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	largest := 0
	for i, s := range e.Scales {
		c, k := float64(e.Channels[i/(cols/block)]), e.Multiple(i)
		if float64(s) != c*float64(k) {
			t.Fatalf("scale %d is %.17g, not %d times %.17g", i, s, k, c)
		}
		if i/(cols/block) == 1 || i/(cols/block) == 2 || i < 2 { // zeros
			if k != 1 && k != 16 {
				t.Errorf("block %d of zeros has %d channel scales", i, k)
			}
			continue
		}
		if d := math.Abs(float64(s) - float64(plain.Scales[i])); d > 0.501*c && k > 1 {
			t.Errorf("scale %d is %g, %d times %g; want next to %g", i, s, k, c, plain.Scales[i])
		}
		if k == MaxMultiple {
			largest++
		}
	}
	if largest < rows-2 {
		t.Errorf("the largest multiple is there %d times in %d rows", largest, rows)
	}
}

// lowPower is an encoding of a matrix [2,6].
func lowPower(t *testing.T) Encoding {
	t.Helper()
	e := Encoding{Bits: 4, Axis: 1, Block: 2}
	if err := e.SetMultiples([]float32{0.25, 0.5}, []int32{1, 16, 3, 2, 5, 4}); err != nil {
		t.Fatal(err)
	}
	return e
}

// TestLowPowerForms: JSON, transposes and messages know channels and multiples.
func TestLowPowerForms(t *testing.T) {
	e := lowPower(t)
	if want := []float32{0.25, 4, 0.75, 1, 2.5, 2}; !slices.Equal(e.Scales, want) {
		t.Errorf("scales %v, want %v", e.Scales, want)
	}
	text, err := json.Marshal(e)
	if want := `{"bits":4,"signed":true,"axis":1,"block":2,"channel_scales":[0.25,0.5],"block_scales":[1,16,3,2,5,4]}`; err != nil || string(text) != want {
		t.Errorf("%s (%v), want %s", text, err, want)
	}
	var back Encoding
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, e) {
		t.Errorf("%+v (%v), want %+v", back, err, e)
	}
	turned := e.Transposed(2, 6)
	if _, err := turned.ParamShape([]int{6, 2}); err != nil {
		t.Error(err)
	}
	if want := []int32{1, 2, 16, 5, 3, 4}; !slices.Equal(turned.Multiples(), want) || !slices.Equal(turned.Channels, e.Channels) {
		t.Errorf("transposed: multiples %v of %v, want %v", turned.Multiples(), turned.Channels, want)
	}
	x := normal(12, 5)
	y := Transpose(x, 2, 6)
	e.Fake(x, 2, 6)
	turned.Fake(y, 6, 2)
	if !slices.Equal(y, Transpose(x, 2, 6)) {
		t.Errorf("transposed: %v, want %v", y, Transpose(x, 2, 6))
	}
	if again := turned.Transposed(6, 2); !again.Equal(e) {
		t.Errorf("transposed twice: %s", again.Difference(e))
	}
	other := lowPower(t)
	other.Channels = []float32{0.25, 1}
	if got := other.Difference(e); got != "channel scale 1 is 1, want 0.5" || other.Equal(e) {
		t.Errorf("difference %q", got)
	}
	other.Channels = nil
	if got := other.Difference(e); got != "it has 0 channel scales, want 2" || other.Equal(e) {
		t.Errorf("difference %q", got)
	}
}

func TestLowPowerErrors(t *testing.T) {
	for want, change := range map[string]func(e *Encoding){
		"scale 2 is 1.125, 4.5 times the channel's 0.25; want a whole multiple, 1 to 16":                                                     func(e *Encoding) { e.Scales[2] *= 1.5 },
		"scale 1 is 4.25, 17 times the channel's 0.25; want a whole multiple, 1 to 16":                                                       func(e *Encoding) { e.SetMultiple(1, 17) },
		"channel scale 1 is 0; it must be a finite number above 0":                                                                           func(e *Encoding) { e.Channels[1] = 0 },
		"there are 2 channel scales for 6 scales and 6 zero points of blocks of 2; want as many blocks for each channel, and no zero points": func(e *Encoding) { e.Zeros = make([]int32, 6) },
		"there are 2 channel scales for 6 scales and 0 zero points of blocks of 0; want as many blocks for each channel, and no zero points": func(e *Encoding) { e.Block = 0 },
		"there are 3 channel scales for blocks along axis 1 of [2 6]; want a matrix, and one for each slice along its other axis": func(e *Encoding) {
			e.Channels, e.Scales = []float32{1, 1, 1}, []float32{1, 2, 3, 4, 5, 6}
		},
	} {
		e := lowPower(t)
		change(&e)
		if _, err := e.ParamShape([]int{2, 6}); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for text, want := range map[string]string{
		`{"bits":4,"signed":true,"axis":1,"block":2,"channel_scales":[1,2],"block_scales":[1,2,3]}`:       "there are 3 block scales for 2 channel scales",
		`{"bits":4,"signed":true,"axis":1,"block":2,"channel_scales":[1],"block_scales":[17]}`:            "scale 0 is 17",
		`{"bits":4,"signed":true,"axis":1,"block":2,"channel_scales":[1],"block_scales":[]}`:              "there are 1 channel scales for 0 scales",
		`{"bits":4,"signed":true,"axis":1,"channel_scales":[1],"block_scales":[1],"scales":[1]}`:          "and no scale, scales or zero_points",
		`{"bits":4,"signed":true,"axis":1,"block":2,"channel_scales":[1],"block_scales":[1,1],"scale":1}`: "and no scale, scales or zero_points",
		`{"bits":4,"signed":true,"axis":1,"block":2,"block_scales":[1,1]}`:                                "either scale or scales",
	} {
		if err := json.Unmarshal([]byte(text), &Encoding{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	for _, f := range []Format{{Bits: 4, LowPower: true}, {Bits: 4, Block: 2, LowPower: true, ZeroPoint: true}} {
		if _, err := f.Rows(make([]float32, 4), 1, 4); err == nil || !strings.HasSuffix(err.Error(), "low-power blockwise scales are for blocks of signed symmetric codes") {
			t.Errorf("%+v: error %v", f, err)
		}
	}
}

// TestFourBits: weights of 4 bits use all sixteen codes, and what is clipped is told so.
func TestFourBits(t *testing.T) {
	x := []float32{-8, 7, 7.4, 7.6, 8, 0}
	e, err := Format{Bits: 4}.Rows(x, 1, 6)
	if err != nil || e.Scales[0] != 1 {
		t.Fatalf("%+v (%v), want the scale 8/8", e, err)
	}
	if lo, hi := e.Reach(0); lo != -8 || hi != 7 {
		t.Errorf("reach %g to %g, want -8 to 7", lo, hi)
	}
	for i, want := range []bool{false, false, false, true, true, false} {
		if e.Saturates(float64(x[i]), 0) != want {
			t.Errorf("%g saturates: %t, want %t", x[i], !want, want)
		}
	}
	codes := make([]int8, 6)
	if Codes(e, codes, x, 1, 6); !slices.Equal(codes, []int8{-8, 7, 7, 7, 7, 0}) {
		t.Errorf("codes %v", codes)
	}
	if lo, hi := Signed(8, 1).Reach(0); lo != -127 || hi != 127 {
		t.Errorf("8 bits reach %g to %g, want -127 to 127", lo, hi)
	}
}
