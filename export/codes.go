package export

import (
	"context"
	"errors"
)

// compareCodes reads the first segment anew and counts the codes of stored keys and values
// that graphs and Go model have apart. Nothing of the sequence has been forgotten or moved
// yet, and differences have had no time to spread: what is worded otherwise shows in far
// more codes than rounding errors move.
func (p *pair) compareCodes(ctx context.Context) (err error) {
	m := p.model
	stream, twin := p.streams()
	exported, err := p.exported.loaded.NewStream()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, exported.Close()) }()
	ids := p.ids[:min(len(p.ids), m.Spec.Segment)]
	if err := errors.Join(stream.Feed(ctx, ids, len(ids), nil), twin.Feed(ctx, ids, len(ids), nil), exported.Feed(ctx, ids, nil)); err != nil {
		return err
	}
	other, twins := 0, 0
	for i := range m.Base.Layers {
		want, near := &stream.State.Layers[i], &twin.State.Layers[i]
		keys, values := exported.Stored(i)
		for _, x := range []struct{ got, want, twin []float32 }{{keys, want.K.Floats(), near.K.Floats()}, {values, want.V.Floats(), near.V.Floats()}} {
			for j, v := range x.got {
				p.Codes++
				if v != x.want[j] {
					other++
				}
				if x.twin[j] != x.want[j] {
					twins++
				}
			}
		}
	}
	p.OtherCodes = float64(other) / float64(p.Codes)
	p.twinCodes = float64(twins) / float64(p.Codes)
	return nil
}

// cacheInFloat tells whether the scheme leaves the cache without codes.
func (p *pair) cacheInFloat() bool { return p.scheme.Cache.None() }
