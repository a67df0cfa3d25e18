package quant

import (
	"fmt"
	"math"

	"eisft/model"
	"eisft/model/kernels"
)

// constantMaps words what is odd about maps whose weights are all one number: each of their
// outputs is the same multiple of the sum of the inputs. Maps of zeros are there, too.
func constantMaps(b *model.Base) []string {
	var list []string
	for _, f := range frozen(b) {
		if v, ok := constantMap(f.Linear); ok {
			list = append(list, fmt.Sprintf("all weights of %s are %g: the checkpoint may be damaged, or was never trained", f.name, v))
		}
	}
	return list
}

// constantMap returns the number that all weights of a map are. It ends at the first other one.
func constantMap(l *model.Linear) (float32, bool) {
	row := make([]float32, l.In)
	l.Rows(row, 0, 1)
	v := row[0]
	for o := range l.Out {
		l.Rows(row, o, o+1)
		for _, w := range row {
			if w != v {
				return 0, false
			}
		}
	}
	return v, l.In*l.Out > 1
}

// checkParams reports parameters of the block, all of which stay in float, that float16 does
// not hold, in which NPUs compute it.
func checkParams(m *model.Model) error {
	for _, p := range m.Params.List() {
		for i, v := range p.Data {
			if !(math.Abs(float64(v)) <= kernels.MaxF16) { // NaN, too
				return fmt.Errorf("the block's tensor %s holds %g at index %d; it stays in float, and NPUs compute that in float16, whose largest number is %d: the adapter (%s) is damaged, or its training has diverged", p.Name, v, i, kernels.MaxF16, model.AdapterWeights)
			}
		}
	}
	return nil
}
