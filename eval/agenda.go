package eval

import (
	"context"
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"

	"eisft/data"
	"eisft/internal/agenda"
)

// Plan says what the job will read and write, and checks what it can without reading it.
func (j *Job) Plan(ctx context.Context) (*agenda.Agenda, error) {
	if _, err := j.against(); err != nil {
		return nil, err
	}
	rows, err := j.rows(ctx)
	if err != nil {
		return nil, err
	}
	a := &agenda.Agenda{}
	if rows.texts != nil {
		j.planned(a, rows.texts, "plain texts")
	} else {
		var encoded []data.Encoded
		most := 0
		for _, s := range rows.samples {
			encoded = append(encoded, s.Encoded)
			most = max(most, s.maxNewTokens(j.Config.MaxNewTokens))
		}
		j.planned(a, encoded, english.Plural(Questions(rows.samples), "answer", "")+" of at most "+english.Plural(most, "token", ""))
	}
	if j.Dir == "" {
		return a, nil
	}
	s, err := j.settings(ctx)
	if err != nil {
		return nil, err
	}
	kept, err := readBegun(j.Dir, s)
	if err != nil {
		return nil, err
	}
	text := j.Dir
	if kept != nil {
		text += fmt.Sprintf(", which has %s from before", english.Plural(len(kept.Records), "row", ""))
	}
	a.Add("write", "%s", text)
	return a, nil
}

// planned adds the data and the policies, with how much the base sees under each.
func (j *Job) planned(a *agenda.Agenda, rows []data.Encoded, what string) {
	tokens, longest := 0, 0
	for _, r := range rows {
		tokens, longest = tokens+len(r.IDs), max(longest, len(r.IDs))
	}
	a.Add("data", "%s of %s: %s, %s tokens; the longest has %s", english.Plural(len(rows), "row", ""), j.Config.Name(), what,
		humanize.Comma(int64(tokens)), humanize.Comma(int64(longest)))
	for _, r := range j.readings() {
		text := r.Policy.Title()
		if m, err := r.reads(j.Model); err == nil {
			sees := min(longest, m.Spec.Capacity())
			text += fmt.Sprintf("; the base sees up to %s tokens at once", humanize.Comma(int64(sees)))
			if trained := m.Base.Config.MaxPositionEmbeddings; trained > 0 && sees > trained {
				text += fmt.Sprintf(", and was trained on texts of %s: what it writes may be nonsense", humanize.Comma(int64(trained)))
			}
		}
		if n := j.seeds(r); n > 1 {
			text += fmt.Sprintf("; by %d seeds", n)
		}
		a.Add(r.Title(), "%s", text)
	}
}
