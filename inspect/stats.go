package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"eisft/data"
	"eisft/train/config"
	"eisft/train/runs"
)

// StatsOptions say which data file is counted, and how.
type StatsOptions struct {
	// Config is the configuration that the rows would be trained with. Of a base alone, it
	// has the path of that.
	Config    config.Config
	MaxTokens int       // of a sample; 0: no limit
	Progress  io.Writer // receives the progress lines (nil: none)
}

// limits are those for which [Stats] counts the rows that fit.
var limits = []int{512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072}

// Stats counts all rows of a data file as training does: tokens, what is learned of them,
// what a limit cuts off, and rows that repeat others. Rows that cannot be trained on are
// problems of the report.
func Stats(ctx context.Context, o StatsOptions) (_ *Report, err error) {
	tk, template, err := runs.OpenText(&o.Config)
	if err != nil {
		return nil, err
	}
	if err := limit(tk, o.Config.Model.Path, o.Config.Model.Ignore); err != nil {
		return nil, err
	}
	section := o.Config.Data
	source, heldOut, err := o.Config.OpenData(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	check := func(most int) (*data.Survey, error) {
		return data.CheckRows(ctx, source, data.NewEncoder(tk, template, most).Long(section.Long), data.CheckOptions{Progress: o.Progress})
	}
	whole, err := check(0)
	if err != nil {
		return nil, err
	}
	repeats, err := source.Repeats(ctx)
	if err != nil {
		return nil, err
	}
	r := &Report{Path: section.Train.String(), Kind: "data set"}
	r.fact("form", source.Form())
	r.fact("rows", Count(whole.Rows))
	if heldOut != nil {
		r.fact("rows held out", Count(heldOut.Len()))
	}
	r.fact("tokens", Count(whole.Tokens))
	r.fact("learned tokens", Count(whole.Supervised))
	r.fact("rows that repeat an earlier one", Count(repeats.Rows))
	r.fact("rows whose prompt repeats an earlier one", Count(repeats.Prompts))
	r.lengthsAll(whole)
	used := whole
	if o.MaxTokens > 0 {
		if used, err = check(o.MaxTokens); err != nil {
			return nil, err
		}
	}
	r.fact("in training", used.Cut())
	if _, err := used.Use(data.BadRowSkip); err != nil && len(used.Bad) == 0 { // all are left out
		r.problem(err)
	}
	if n := len(used.Bad); n > 0 {
		r.problem(fmt.Errorf("%d of %d rows cannot be trained on, the first of them %s: %s", n, used.Rows, used.Bad[0].Where, used.Bad[0].Reason))
	}
	if err := r.portions(source, used); err != nil {
		return nil, err
	}
	good := *used
	good.Bad = nil
	if left := source.Empty(); left != "" {
		r.note("%s", left)
	}
	for _, w := range good.Warnings() {
		r.note("%s", w)
	}
	return r, nil
}

// portions adds what of the samples comes from which entry, if there are several.
func (r *Report) portions(s *data.Source, used *data.Survey) error {
	if len(used.Lengths) == 0 {
		return nil
	}
	samples, err := used.Use(data.BadRowSkip)
	if err != nil {
		return err
	}
	list := s.Portions(samples, used.Lengths)
	if len(list) == 1 {
		return nil
	}
	t := Table{Title: "what is drawn from where", Columns: []string{"data.train", "samples", "tokens", "weight", "share of what is drawn"}}
	for _, p := range list {
		weight := any("none")
		if p.Weight > 0 {
			weight = p.Weight
		}
		t.row(p.Path, Count(p.Samples), Count(p.Tokens), weight, Share(p.Share))
	}
	r.table(t)
	return nil
}

// lengthsAll adds the lengths of rows, and how many of them fit into limits.
func (r *Report) lengthsAll(s *data.Survey) {
	n := slices.Sorted(slices.Values(s.Lengths))
	if len(n) == 0 {
		return
	}
	at := func(share float64) Count { return Count(n[int(share*float64(len(n)-1))]) }
	t := Table{Title: "lengths of a row", Columns: []string{"", "least", "median", "90 %", "99 %", "most"}}
	t.row("tokens", at(0), at(0.5), at(0.9), at(0.99), at(1))
	r.table(t)
	fits := Table{Title: "rows of which nothing is cut off", Columns: []string{"data.max_tokens", "rows", "share"}}
	for _, most := range limits {
		fit, _ := slices.BinarySearch(n, most+1)
		if fit == 0 {
			continue
		}
		fits.row(Count(most), Count(fit), Share(float64(fit)/float64(len(n))))
		if fit == len(n) {
			break
		}
	}
	r.table(fits)
}
