package train

import (
	"context"
	"errors"
	"fmt"

	"eisft/data"
	"eisft/internal/agenda"
	"eisft/internal/ranks"
)

// openData opens the rows to train on, and those that are held out.
func (t *trainer) openData(ctx context.Context) (err error) {
	share := t.config.Validation.Share
	if share == 0 {
		t.source, _, err = t.config.OpenData(ctx)
	} else {
		err = t.openDivided(ctx, share)
	}
	if err == nil {
		t.source.Announce(t.options.Progress)
	}
	return err
}

// openDivided opens the rows of both sides. Rank 0 reads all of them to find out which is where.
func (t *trainer) openDivided(ctx context.Context, share data.Share) error {
	all, err := t.config.Data.Set().Open()
	if err != nil {
		return err
	}
	sides, err := ranks.OnFirst(t.group, func() (data.Sides, error) { return all.Sides(ctx, share) })
	if err == nil {
		t.source, t.heldOut, err = all.Divide(sides)
	}
	if err != nil {
		if !ranks.Told(err) {
			err = fmt.Errorf("validation.share: %w", err)
		}
		return errors.Join(err, all.Close())
	}
	return nil
}

// portionsAgenda says what is held out and what of the samples comes from which entry of
// data.train.
func (t *trainer) portionsAgenda(a *agenda.Agenda) {
	if t.heldOut != nil {
		a.Add("held out", "%s of %s rows, by a hash of their texts (validation.share: %s)", comma(t.heldOut.Len()),
			comma(t.heldOut.Len()+t.source.Len()), t.config.Validation.Share)
	}
	portions := t.source.Portions(t.samples, t.survey.Lengths)
	if len(portions) == 1 {
		return
	}
	for _, p := range portions {
		text := fmt.Sprintf("%.1f %% from %s: %s samples of %s tokens", 100*p.Share, p.Path, comma(p.Samples), comma(p.Tokens))
		if p.Samples > 0 {
			text += fmt.Sprintf(", each %.2g times an epoch", p.Share*float64(len(t.samples))/float64(p.Samples))
		}
		a.Add("drawn", "%s", text)
	}
}
