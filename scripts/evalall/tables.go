package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"

	"eisft/eval"
	"eisft/internal/atomicfile"
)

// sections are the parts of the document, each of some of a folder's evaluations.
var sections = []struct {
	title, text string
	write       func(b *strings.Builder, dir string) error
}{
	{"Recall at one budget", "All policies but `slots` keep what the bytes of `eisft` hold. Exact match of far facts (before window and segment), sixteen questions about each conversation, with 95 % intervals by conversation; in the second line of a cell, what the policy has more than `eisft`, paired. *slots* is `eisft` without its memory.", recalls},
	{"Recall by budget", "The same at 4,096 tokens, by the tokens that the block keeps over all layers; the other policies keep what its bytes hold.", sweep},
	{"Held-out questions of the demo", "Exact match and perplexity of right answers, and what each has more than full attention.", held},
	{"Recall by distance and by commits", "Conversations of 1,024 to 4,096 tokens, a question each; scores of `match-all`.", distances},
	{"Summaries of meetings", "QMSum, whole meetings (with `--short` without their middle, 4,096 tokens of each); F of ROUGE, and what each has more than `slots`, the block without its memory.", summaries},
	{"Perplexity by position over long text", "Conversations of 8,192 tokens, and QMSum's meetings, as plain texts; in the second line of a cell, what each has more than `slots`.", positions},
	{"Cost by length", "`eisft bench --policy`: an untrained block, random tokens, one reading each.", cost},
}

// tables writes the sections of what there is in a folder between the marks of a document.
func tables(doc, dir string) error {
	var b strings.Builder
	for _, s := range sections {
		var part strings.Builder
		if err := s.write(&part, dir); err != nil {
			return err
		}
		if part.Len() > 0 {
			fmt.Fprintf(&b, "\n### %s\n\n%s\n\n%s", s.title, s.text, part.String())
		}
	}
	if b.Len() == 0 {
		return fmt.Errorf("%s has no evaluation of scripts/eval-all.sh", dir)
	}
	old, err := os.ReadFile(doc)
	if err != nil {
		return err
	}
	const begin, end = "<!-- scripts/eval-all.sh -->\n", "<!-- end -->\n"
	head, rest, ok := strings.Cut(string(old), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return fmt.Errorf("%s: it has no place for the tables, between %q and %q", doc, begin, end)
	}
	return atomicfile.WriteFile(doc, []byte(head+begin+b.String()+"\n"+end+tail))
}

// report reads an evaluation; nil if there is none.
func report(dir, name string, against eval.Policy) (*eval.Report, error) {
	k, err := eval.ReadKept(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return k.Report(against), nil
}

// row writes a row of a table; head writes the first one.
func row(b *strings.Builder, cells ...string) { fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | ")) }

func head(b *strings.Builder, cells ...string) {
	row(b, cells...)
	b.WriteString(strings.Repeat("|---", len(cells)) + "|\n")
}

// figure is a metric of a bucket with its interval.
func figure(s eval.Score, name string, value float64) string {
	text := fmt.Sprintf("%.2f", value)
	if i, ok := s.Intervals[name]; ok {
		text += fmt.Sprintf(" (%.2f–%.2f)", i.Lo, i.Hi)
	}
	return text
}

// more is what a result has more than the one it is compared with; "" for that one itself.
func more(r *eval.Report, of string, b eval.Bucket, name string) string {
	for _, d := range r.Differences {
		for _, c := range d.Buckets {
			if d.Of == of && c.Bucket == b {
				if change, ok := c.Changes[name]; ok {
					return changed(change, name == eval.PerplexityName)
				}
			}
		}
	}
	return ""
}

func changed(c eval.Change, relative bool) string {
	number := func(v float64) string { return fmt.Sprintf("%+.2f", v) }
	if relative {
		number = func(v float64) string { return fmt.Sprintf("%+.1f %%", 100*v) }
	}
	text := number(c.Difference.Value)
	if c.Rows > 1 {
		text += fmt.Sprintf(" (%s to %s)", number(c.Difference.Lo), number(c.Difference.Hi))
	}
	if c.BeyondChance {
		text += ` \*`
	}
	return text
}

func kept(b eval.Budget) (tokens, bytes string) {
	if b.Tokens == 0 {
		return "all", ""
	}
	return humanize.Comma(int64(b.Tokens)), humanize.Bytes(uint64(b.Bytes))
}

const em = eval.MetricExactMatch

// recalls has a column a length, a row a policy.
func recalls(b *strings.Builder, dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "recall-*", eval.SettingsFile))
	if err != nil {
		return err
	}
	var lengths []int
	for _, n := range names {
		if l, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(filepath.Dir(n)), "recall-")); err == nil {
			lengths = append(lengths, l)
		}
	}
	slices.Sort(lengths)
	columns, cells := []string{"policy", "tokens kept", "bytes"}, map[string][]string{}
	var order []string
	for i, l := range lengths {
		r, err := report(dir, fmt.Sprintf("recall-%d", l), eval.PolicyEISFT)
		if err != nil {
			return err
		}
		rows, n := 0, 0
		for _, result := range r.Results {
			s, title := result.Score(eval.Far), result.Title()
			if !slices.Contains(order, title) {
				order = append(order, title)
				tokens, bytes := kept(result.Budget)
				cells[title] = append([]string{title, tokens, bytes}, slices.Repeat([]string{"–"}, len(lengths))...)
			}
			rows, n = max(rows, s.Rows), max(n, s.N)
			cell := figure(s, string(em), s.Metrics[em])
			if d := more(r, title, eval.Far, string(em)); d != "" {
				cell += "<br>" + d
			}
			if s.N < n {
				cell += fmt.Sprintf("<br>of %d", s.N)
			}
			cells[title][3+i] = cell
		}
		columns = append(columns, fmt.Sprintf("%s tokens, %d questions, %d conversations", humanize.Comma(int64(l)), n, rows))
	}
	if len(lengths) == 0 {
		return nil
	}
	head(b, columns...)
	for _, title := range order {
		row(b, cells[title]...)
	}
	return nil
}

// sweep has a column a budget, a row a policy.
func sweep(b *strings.Builder, dir string) error {
	r, err := report(dir, "sweep", eval.PolicyEISFT)
	if r == nil || err != nil {
		return err
	}
	cells, columns := map[eval.Policy][]string{}, []string{"policy"}
	var order []eval.Policy
	for _, result := range r.Results {
		tokens := humanize.Comma(int64(result.Asked))
		if !slices.Contains(columns, tokens) {
			columns = append(columns, tokens)
		}
		if !slices.Contains(order, result.Policy) {
			order = append(order, result.Policy)
		}
		s := result.Score(eval.Far)
		cells[result.Policy] = append(cells[result.Policy], fmt.Sprintf("%s of %d", figure(s, string(em), s.Metrics[em]), s.N))
	}
	head(b, columns...)
	for _, p := range order {
		row(b, append([]string{string(p)}, cells[p]...)...)
	}
	return nil
}

func held(b *strings.Builder, dir string) error {
	r, err := report(dir, "held", eval.PolicyFull)
	if r == nil || err != nil {
		return err
	}
	head(b, "policy", "fact", "n", "exact match", "against full", "perplexity", "against full")
	for _, result := range r.Results {
		for _, bucket := range []eval.Bucket{eval.Near, eval.Far} {
			s := result.Score(bucket)
			if s.N == 0 {
				continue
			}
			row(b, result.Title(), string(bucket), fmt.Sprint(s.N), figure(s, string(em), s.Metrics[em]), more(r, result.Title(), bucket, string(em)),
				figure(s, eval.PerplexityName, s.Perplexity), more(r, result.Title(), bucket, eval.PerplexityName))
		}
	}
	return nil
}

func distances(b *strings.Builder, dir string) error {
	r, err := report(dir, "distance", "")
	if r == nil || err != nil {
		return err
	}
	part := func(what string, of func(*eval.Recall) []eval.Share) {
		columns := []string{what}
		for _, s := range of(r.Recall[0]) {
			columns = append(columns, fmt.Sprintf("%s (%d)", s.Part, s.N))
		}
		head(b, columns...)
		for _, one := range r.Recall {
			cells := []string{one.Policy}
			for _, s := range of(one) {
				cells = append(cells, fmt.Sprintf("%.2f", s.Score))
			}
			row(b, cells...)
		}
	}
	if len(r.Recall) == 0 {
		return nil
	}
	part("tokens back", func(r *eval.Recall) []eval.Share { return r.Distances })
	b.WriteString("\n")
	part("commits since", func(r *eval.Recall) []eval.Share { return r.Commits })
	return nil
}

func summaries(b *strings.Builder, dir string) error {
	r, err := report(dir, "qmsum", eval.PolicySlots)
	if r == nil || err != nil {
		return err
	}
	head(b, "policy", "questions, meetings", "ROUGE-1", "ROUGE-2", "ROUGE-L", "against slots", "perplexity of the summaries", "against slots")
	for _, result := range r.Results {
		s, cells := result.Score(eval.All), []string{result.Title()}
		cells = append(cells, fmt.Sprintf("%d, %d", s.N, s.Rows))
		for _, m := range []eval.Metric{eval.MetricRouge1, eval.MetricRouge2, eval.MetricRougeL} {
			cells = append(cells, fmt.Sprintf("%.3f", s.Metrics[m]))
		}
		row(b, append(cells, more(r, result.Title(), eval.All, string(eval.MetricRougeL)),
			figure(s, eval.PerplexityName, s.Perplexity), more(r, result.Title(), eval.All, eval.PerplexityName))...)
	}
	return nil
}

func positions(b *strings.Builder, dir string) error {
	for _, of := range []struct{ name, what string }{{"talks", "conversations"}, {"meetings", "meetings"}} {
		r, err := report(dir, of.name, eval.PolicySlots)
		if err != nil {
			return err
		}
		if r != nil && len(r.Texts) > 0 {
			positionsOf(b, r, of.what)
		}
	}
	return nil
}

func positionsOf(b *strings.Builder, r *eval.Report, what string) {
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	columns := []string{"policy", what}
	for _, p := range r.Texts[0].Positions {
		columns = append(columns, fmt.Sprintf("%d-%d", p.From, p.To))
	}
	head(b, columns...)
	for _, t := range r.Texts {
		cells := []string{t.Title(), fmt.Sprint(t.Texts)}
		for _, p := range t.Positions {
			cell := fmt.Sprintf("%.2f", p.Perplexity)
			if p.Change != nil {
				cell += "<br>" + changed(*p.Change, true)
			}
			cells = append(cells, cell)
		}
		row(b, cells...)
	}
}

func cost(b *strings.Builder, dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "cost.txt"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		b.WriteString("    " + line)
	}
	return err
}
