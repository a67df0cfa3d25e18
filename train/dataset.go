package train

import (
	"context"
	"errors"
	"fmt"

	"eisft/data"
	"eisft/internal/agenda"
	"eisft/internal/filehash"
	"eisft/internal/ranks"
)

// openData opens the rows to train on, and those that are held out.
func (t *trainer) openData(ctx context.Context) (err error) {
	if err := t.agreeOnData(); err != nil {
		return err
	}
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

// agreeOnData finds out whether all ranks have the same data, of which rank 0 alone reads all rows before
// the first step.
func (t *trainer) agreeOnData() error {
	if t.group.Size() == 1 {
		return nil
	}
	var mine []ranks.Input
	for _, files := range []data.Files{t.config.Data.Train, t.config.Validation.Data} {
		paths, err := files.Paths()
		if err != nil {
			return err
		}
		for _, path := range paths {
			sum, err := filehash.Sum(path)
			if err != nil {
				return err
			}
			mine = append(mine, ranks.Input{Name: path, Sum: sum})
		}
	}
	return ranks.Agree(t.group, mine)
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
