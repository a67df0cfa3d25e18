package quant

import (
	"fmt"
	"path/filepath"

	"eisft/internal/filehash"
)

// Sum returns the sha256 of a quantized model's folder: of its encodings, which hold the
// sums of its other files.
func Sum(dir string) (string, error) { return filehash.Compute(filepath.Join(dir, EncodingsFile)) }

// WeightsDiffer says in what the weights of q are not those of another quantized model, ""
// if every code stands for the same number: what was trained beside the one pairs with the
// other.
func (q *Quantized) WeightsDiffer(other *Quantized) string {
	if len(q.Weights) != len(other.Weights) {
		return fmt.Sprintf("%d maps have codes, want %d", len(q.Weights), len(other.Weights))
	}
	for i, w := range q.Weights {
		o := other.Weights[i]
		if w.Name != o.Name || w.Out != o.Out || w.In != o.In {
			return fmt.Sprintf("map %d is %s [%d,%d], want %s [%d,%d]", i, w.Name, w.Out, w.In, o.Name, o.Out, o.In)
		}
		if d := w.Difference(o.Encoding); d != "" {
			return fmt.Sprintf("%s: %s", w.Name, d)
		}
		for j, c := range w.Codes {
			if c != o.Codes[j] {
				return fmt.Sprintf("%s, row %d, column %d: code %d, want %d", w.Name, j/w.In, j%w.In, c, o.Codes[j])
			}
		}
	}
	return ""
}
