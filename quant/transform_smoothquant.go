package quant

import (
	"context"
	"fmt"
	"math"
	"sync"

	"eisft/model"
)

// smoothQuant moves outliers of activations into weights (SmoothQuant, arXiv 2211.10438,
// eq. 4): channel j of what maps read is divided by s_j = max|x_j|^α / max|w_j|^(1−α), and
// column j of the maps multiplied by it; the maximum of x is over the calibration samples,
// that of w over all maps that read the point. What makes the point takes the division: the
// input norm for q, k and v, the post-attention norm for gate and up, v_proj for o_proj (one
// scale for the query heads of a KV head), up_proj for down_proj, the final norm for the
// head. The paper leaves the last three out.
var smoothQuant = transform{
	channels: func(*Recipe) bool { return true },
	find: func(ctx context.Context, t *task) (*Step, []string, error) {
		alpha := t.recipe.SmoothQuant.Alpha
		if alpha == 0 {
			alpha = 0.5
		}
		if !(alpha > 0 && alpha <= 1) {
			return nil, nil, fmt.Errorf("smoothquant.alpha is %g; want a share above 0, up to 1: how much of the outliers goes into the weights", alpha)
		}
		s, f := &Step{Scales: map[string][]float32{}}, newFolding(t.model)
		for _, ofNorm := range []bool{false, true} { // what is folded into rows of v_proj and up_proj changes their columns' maxima
			for _, place := range seams(f.base) {
				if (place.norm != nil) != ofNorm {
					continue
				}
				if err := ctx.Err(); err != nil {
					return nil, nil, err
				}
				scales := smoothScales(t.seen.points[place.point].Max, columnMax(place.readers), alpha)
				s.Scales[place.point] = place.gather(scales)
				f.scale(place, s.Scales[place.point])
			}
		}
		return s, left(t.model.Base), nil
	},
}

// smoothScales is eq. 4 for each channel; 1 where a channel or its weights are zero.
func smoothScales(x, w []float32, alpha float32) []float32 {
	scales := make([]float32, len(x))
	for j := range scales {
		scales[j] = bounded(math.Pow(float64(x[j]), float64(alpha)) / math.Pow(float64(w[j]), float64(1-alpha)))
	}
	return scales
}

// bounded is a scale as float32, within bounds that no product with weights overflows; 1 of
// what is no scale.
func bounded(s float64) float32 {
	if !(s > 0) || math.IsInf(s, 0) {
		return 1
	}
	return float32(math.Min(math.Max(s, 1e-5), 1e5))
}

// left notes the points that no scale can be folded before.
func left(b *model.Base) []string {
	names := seamless(b)
	if len(names) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s stay as they are: the maps read the residual stream without a norm that could take the division", few(names))}
}

// columnMax is max |w| of each column over maps with the same inputs.
func columnMax(maps []*model.Linear) []float32 {
	most := make([]float32, maps[0].In)
	var m sync.Mutex
	for _, l := range maps {
		l.Blocks(func(_, _ int, w []float32) {
			m.Lock()
			defer m.Unlock()
			for i, v := range w {
				j := i % len(most)
				most[j] = max(most[j], v, -v)
			}
		})
	}
	return most
}
