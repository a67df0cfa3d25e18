package kernels_test

import (
	"fmt"

	"eisft/model/kernels"
)

// C = A·Bᵀ of a 2×3 and a 2×3 matrix.
func ExampleGemm() {
	a, b, c := []float32{1, 2, 3, 4, 5, 6}, []float32{1, 0, 1, 0, 1, 0}, make([]float32, 4)
	kernels.Gemm(false, true, 2, 2, 3, 1, a, 3, b, 3, 0, c, 2)
	fmt.Println(c)
	// Output: [4 2 10 5]
}
