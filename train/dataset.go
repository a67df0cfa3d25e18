package train

import (
	"context"
	"fmt"

	"eisft/internal/agenda"
)

// openData opens the rows to train on, and those that are held out.
func (t *trainer) openData(ctx context.Context) (err error) {
	if t.source, t.heldOut, err = t.config.OpenData(ctx); err == nil {
		t.source.Announce(t.options.Progress)
	}
	return err
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
