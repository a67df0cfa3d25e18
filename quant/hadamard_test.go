package quant

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// TestHadamard: rows are orthogonal at every size that there is, and the sizes of known
// models are among them.
func TestHadamard(t *testing.T) {
	for n := 1; n <= 128; n++ {
		h, how := hadamard(n)
		if h == nil {
			if n&(n-1) == 0 || n == 12 || n == 20 || n == 28 || n == 36 || n == 96 {
				t.Errorf("there is none of size %d", n)
			}
			continue
		}
		for i := range n {
			for j := range i + 1 {
				sum, want := 0, 0
				for k := range n {
					sum += int(h[i*n+k]) * int(h[j*n+k])
				}
				if i == j {
					want = n
				}
				if sum != want {
					t.Fatalf("%s: rows %d and %d have the product %d, want %d", how, i, j, sum, want)
				}
			}
		}
	}
	for n, want := range map[int]string{64: "64×64", 896: "896×896 (32 by 28)", 1536: "1536×1536 (128 by 12)", 2560: "2560×2560 (128 by 20)", 1152: "1152×1152 (32 by 36)"} {
		if _, how := hadamard(n); how != want {
			t.Errorf("size %d: %q, want %q", n, how, want)
		}
	}
}

// TestRandomRotation: of every size, orthogonal, the same from the same seed and another one
// from another.
func TestRandomRotation(t *testing.T) {
	for n, kind := range map[int]string{64: "random Hadamard", 28: "random Hadamard", 50: "random orthogonal", 7: "random orthogonal"} {
		q, how := randomRotation(n, rand.New(rand.NewPCG(1, 2)))
		if !strings.HasPrefix(how, kind) {
			t.Errorf("size %d: %s, want %s", n, how, kind)
		}
		if err := checkRotation("q", q, 1, n); err != nil {
			t.Error(err)
		}
		again, _ := randomRotation(n, rand.New(rand.NewPCG(1, 2)))
		other, _ := randomRotation(n, rand.New(rand.NewPCG(1, 3)))
		if apart(q, again) != 0 || apart(q, other) == 0 {
			t.Errorf("size %d: the rotation does not follow the seed", n)
		}
	}
}
