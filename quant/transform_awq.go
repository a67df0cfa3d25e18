package quant

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"eisft/internal/scratch"
	"eisft/model"
	"eisft/model/kernels"
	"eisft/quant/encoding"
)

// awq scales up the columns that large activations meet (AWQ, arXiv 2306.00978, section
// 3.2): s_j = mean|x_j|^a, over the geometric mean of the largest and the smallest, with a of
// a grid from 0 on (0 is rounding as it is) chosen for each point by the error of what the
// rounded maps put out, Σ‖x(W − Q(Ws)/s)ᵀ‖², on the rows that were kept of the point. Rounding
// there is to the nearest code of the scheme's weights. The scales are folded where
// SmoothQuant folds its own.
var awq = transform{
	channels: func(*Recipe) bool { return true },
	find: func(ctx context.Context, t *task) (*Step, []string, error) {
		grid := t.recipe.AWQ.Grid
		if grid == 0 {
			grid = 20
		}
		if grid < 1 || grid > 1000 {
			return nil, nil, fmt.Errorf("awq.grid is %d; want the number of exponents that are tried, 1 to 1000 (20 is usual)", grid)
		}
		weights, head, _, err := formats(t.recipe)
		if err != nil {
			return nil, nil, err
		}
		if weights.None() {
			return nil, nil, fmt.Errorf("scheme %s leaves weights in float; there is nothing to choose scales for", t.recipe.Scheme)
		}
		s := &Step{Scales: map[string][]float32{}}
		for _, place := range seams(t.model.Base) {
			f := weights
			if place.layer < 0 {
				f = head
			}
			if s.Scales[place.point], err = awqScales(ctx, place, t.seen.points[place.point], f, grid); err != nil {
				return nil, nil, err
			}
		}
		return s, left(t.model.Base), nil
	},
}

// awqScales searches the scales of a seam.
func awqScales(ctx context.Context, place seam, seen *Channel, f encoding.Format, grid int) ([]float32, error) {
	best, least := []float32(nil), math.Inf(1)
	for i := range grid {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		scales := place.gather(awqCandidate(seen.Mean, float64(i)/float64(grid)))
		total, err := 0.0, error(nil)
		for _, l := range place.readers {
			var e float64
			if e, err = roundingError(l, place.spread(scales), seen.Rows, f); err != nil {
				return nil, fmt.Errorf("%s: %w", place.point, err)
			}
			total += e
		}
		if total < least {
			best, least = scales, total
		}
	}
	if best == nil {
		return nil, fmt.Errorf("%s: the error of what the rounded maps put out is no number", place.point)
	}
	return best, nil
}

// awqCandidate is mean^a over √(largest·smallest); channels that are never used count as the
// smallest of the others.
func awqCandidate(mean []float32, a float64) []float32 {
	used := slices.DeleteFunc(slices.Clone(mean), func(v float32) bool { return v <= 0 })
	scales := slices.Repeat([]float32{1}, len(mean))
	if len(used) == 0 {
		return scales
	}
	lo := math.Pow(math.Max(float64(slices.Min(used)), 1e-4), a)
	middle := math.Sqrt(lo * math.Pow(math.Max(float64(slices.Max(used)), 1e-4), a))
	for j, v := range mean {
		s := lo
		if v > 0 {
			s = math.Pow(math.Max(float64(v), 1e-4), a)
		}
		scales[j] = bounded(s / middle)
	}
	return scales
}

// roundingError is Σ‖x(W − Q(Ws)/s)ᵀ‖² over rows x [n,In] of what a map reads. Rows of W are
// rounded a block at a time, on all cores.
func roundingError(l *model.Linear, s, rows []float32, f encoding.Format) (float64, error) {
	n, width := len(rows)/l.In, max(1, (1<<20)/l.In)
	w, y := scratch.Borrow(width*l.In), scratch.Borrow(n*width)
	defer scratch.Release(w, y)
	total := 0.0
	for lo := 0; lo < l.Out; lo += width {
		hi := min(lo+width, l.Out)
		l.Rows(w[:(hi-lo)*l.In], lo, hi)
		var failed error
		var m sync.Mutex
		kernels.Parallel(hi-lo, 16, func(a, b int) {
			if err := roundingLoss(w[a*l.In:b*l.In], s, f); err != nil {
				m.Lock()
				failed = err
				m.Unlock()
			}
		})
		if failed != nil {
			return 0, failed
		}
		kernels.Gemm(false, true, n, hi-lo, l.In, 1, rows, l.In, w, l.In, 0, y, hi-lo)
		for _, v := range y[:n*(hi-lo)] {
			total += float64(v) * float64(v)
		}
	}
	return total, nil
}

// roundingLoss replaces rows W by W − Q(Ws)/s.
func roundingLoss(w, s []float32, f encoding.Format) error {
	rounded := scratch.Borrow(len(w))
	defer scratch.Release(rounded)
	copy(rounded, w)
	multiplyRows(rounded, s)
	n := len(w) / len(s)
	e, err := f.Rows(rounded, n, len(s))
	if err != nil {
		return err
	}
	e.Fake(rounded, n, len(s))
	for i, v := range rounded {
		w[i] -= v / s[i%len(s)]
	}
	return nil
}
