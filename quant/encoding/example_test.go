package encoding_test

import (
	"fmt"

	"eisft/quant/encoding"
)

// A format chooses scale and zero point for a range of numbers; the encoding turns numbers
// into codes and back, as ONNX's QuantizeLinear and DequantizeLinear do.
func Example() {
	x := []float32{-1, 0, 0.5, 3}
	e := encoding.Format{Bits: 8, Unsigned: true, ZeroPoint: true}.Tensor(-1, 3)
	fmt.Println(e)
	codes := make([]int32, len(x))
	encoding.Codes(e, codes, x)
	fmt.Println(codes)
	encoding.Dequantize(e, x, codes)
	fmt.Printf("%.3f\n", x)
	// Output:
	// uint8 scale 0.015686275 zero point 64
	// [0 64 96 255]
	// [-1.004 0.000 0.502 2.996]
}
