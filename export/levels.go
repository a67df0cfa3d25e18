package export

import (
	"context"
	"errors"
	"fmt"

	"eisft/export/host"
	"eisft/export/manifest"
	"eisft/export/ort"
)

// verifiedLevels are those at which graphs are loaded and compared; tests that are about
// something else leave some out.
var verifiedLevels = ort.Levels()

// briefly is how many tokens of a comparison's prompt are read at each level where a
// segment is longer.
const briefly = 128

// levels loads the graphs at every level of the runtime's optimization, reads the beginning
// of the prompt there, all of it where it is short, and compares the logits of its last
// token and of two more. The first comparison was at Basic.
func (p *pair) levels(ctx context.Context, dir string, ids []int32) error {
	n := len(ids) - 2
	if n > briefly {
		n = min(n, p.exported.Segment())
	}
	reads := [][]int32{ids[:n], ids[n : n+1], ids[n+1 : n+2]}
	want, st := [][]float32{}, p.start()
	for _, part := range reads {
		states, err := read(ctx, st, part)
		if err != nil {
			return err
		}
		logits := make([]float32, p.exported.Vocabulary())
		st.Logits(logits, states[len(states)-len(states)/len(part):])
		want = append(want, logits)
	}
	for _, level := range verifiedLevels {
		if level == ort.Basic {
			p.Levels = append(p.Levels, manifest.Level{Name: level.String(), MaxLogitError: p.exported.largest})
			continue
		}
		worst, err := p.level(ctx, dir, level, reads, want)
		if err != nil {
			return fmt.Errorf("%s graphs at ONNX Runtime's level %s: %w", p.Precision, level, err)
		}
		p.Levels = append(p.Levels, manifest.Level{Name: level.String(), MaxLogitError: worst})
	}
	return nil
}

// level returns the largest difference of a logit at a level.
func (p *pair) level(ctx context.Context, dir string, level ort.Level, reads [][]int32, want [][]float32) (worst float64, err error) {
	rest()
	d, err := drive(dir, host.Options{Shape: p.Shape, Precision: p.Precision, Level: level, Lean: true})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	for i, part := range reads {
		got, err := d.Read(ctx, part, nil)
		if err != nil {
			return 0, err
		}
		if _, largest := difference(got, want[i]); !(largest <= worst) {
			worst = largest
		}
	}
	return worst, nil
}
