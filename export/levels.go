package export

import (
	"context"
	"fmt"

	"eisft/export/host"
	"eisft/export/manifest"
	"eisft/export/ort"
)

// verifiedLevels are those at which graphs are loaded and compared; tests that are about
// something else leave some out.
var verifiedLevels = ort.Levels()

// levels loads the graphs at every level of the runtime's optimization, reads the first segment
// there and two tokens more, and compares their logits. The first comparison was at Basic.
func (p *pair) levels(ctx context.Context) error {
	for _, level := range verifiedLevels {
		if level == ort.Basic {
			p.Levels = append(p.Levels, manifest.Level{Name: level.String(), MaxLogitError: p.exported.largest})
			continue
		}
		worst, err := p.level(ctx, level)
		if err != nil {
			return fmt.Errorf("%s graphs at ONNX Runtime's level %s: %w", p.Precision, level, err)
		}
		p.Levels = append(p.Levels, manifest.Level{Name: level.String(), MaxLogitError: worst})
	}
	return nil
}

// briefly is how many tokens are read at each level where a segment is shorter.
const briefly = 128

// level returns the largest difference of a logit at a level: behind segments, and behind two tokens
// that the generation graph reads after a commit.
func (p *pair) level(ctx context.Context, level ort.Level) (worst float64, err error) {
	var d driven
	err = d.over(p.dir, host.Options{Shape: p.Shape, Precision: p.Precision, Level: level, Lean: true}, func() error {
		compare := func(token int, got []float32) error {
			if _, largest := difference(got, p.row(token)); !(largest <= worst) {
				worst = largest
			}
			return nil
		}
		if err := p.begin(ctx, &d, max(d.Segment(), briefly), compare); err != nil {
			return err
		}
		from := d.Seen()
		for token := from; token < min(from+2, len(p.ids)); token++ {
			got, err := d.Read(ctx, p.ids[token:token+1], nil)
			if err != nil {
				return err
			}
			if err := compare(token, got); err != nil {
				return err
			}
		}
		return nil
	})
	return worst, err
}
