package eval

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"eisft/internal/atomicfile"
	"eisft/internal/htmlpage"
	"eisft/internal/plot"
)

//go:embed report.html
var pageText string

var pageTemplate = template.Must(htmlpage.Define(plot.Define(template.New("report"))).Funcs(template.FuncMap{
	"plotStyle": func() template.CSS { return plot.Style },
	"whisker":   func(r differenceRow) plot.Whisker { return r.whisker },
	"comma":     func(n int) string { return humanize.Comma(int64(n)) },
}).Parse(pageText))

// writePage writes the report as one HTML file that needs no network. records are those of
// its results.
func (r *Report) writePage(dir string, records []Record) error {
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, map[string]any{
		"Settings": r.Settings, "Data": filepath.Base(r.Settings.Data.Path), "Options": optionsText(r.Settings.Data.Options),
		"Headline": r.headline(), "Scores": r.scorePart(), "Parts": r.pageParts(),
		"Differences": r.differenceRows(), "Against": r.against(), "Chance": chanceNote,
		"Plots": r.plots(records), "Heat": r.heatMaps(), "Examples": r.examples(),
		"Metric": Metrics()[0].Title(),
	})
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(dir, PageFile), b.Bytes())
}

// pageTable is a table on a page.
type pageTable struct {
	Title   string
	Columns []string
	Rows    [][]string // all as long as Columns
	Notes   []string
}

func htmlTable(t table) pageTable {
	p := pageTable{Columns: t.columns, Notes: t.notes}
	if t.title != "" {
		p.Title = strings.ToUpper(t.title[:1]) + t.title[1:]
	}
	for _, row := range t.rows {
		p.Rows = append(p.Rows, slices.Concat(row, make([]string, len(t.columns)-len(row))))
	}
	return p
}

// scorePart is the table of scores; plain texts have none.
func (r *Report) scorePart() *pageTable {
	if len(r.Results) == 0 {
		return nil
	}
	t := scoreTable(r.Results)
	t.title, t.notes = "Scores", scoreNotes(r.Results)
	p := htmlTable(t)
	return &p
}

// pageParts are the tables below the differences. A map shows what a task's grid says.
func (r *Report) pageParts() (list []pageTable) {
	var tables []table
	if len(r.Texts) > 0 {
		tables = textTables(r.Texts)
	}
	if len(r.Tasks) > 0 {
		tables = append(tables, taskTable(r.Tasks))
	}
	for _, t := range append(tables, r.recallTables()...) {
		list = append(list, htmlTable(t))
	}
	return list
}

// shown are the results that plots by length, maps and examples show: of several budgets, the
// largest one.
func (r *Report) shown() []*Result {
	most := 0
	for _, result := range r.Results {
		most = max(most, result.Asked)
	}
	return slices.DeleteFunc(slices.Clone(r.Results), func(s *Result) bool { return s.Policy.Bounded() && s.Asked != most })
}

func (r *Report) against() string {
	if len(r.Differences) == 0 {
		return ""
	}
	return r.Differences[0].Against
}

// headline are the figures that are looked for first: what every policy recalls of what is
// far back, or of everything if nothing is known to be.
func (r *Report) headline() []htmlpage.Figure {
	var list []htmlpage.Figure
	m := Metrics()[0]
	between := func(i Interval) string { return fmt.Sprintf(", %.2f–%.2f in 95 of 100 samples", i.Lo, i.Hi) }
	for _, t := range r.Texts {
		f := htmlpage.Figure{Value: fmt.Sprintf("%.2f", t.All.Perplexity), What: t.Title() + ": perplexity"}
		if t.All.Interval != nil {
			f.What += between(*t.All.Interval)
		}
		list = append(list, f)
	}
	for _, result := range r.shown() {
		s := result.Score(Far)
		if s.N == 0 {
			s = result.Score(All)
		}
		if s.N == 0 {
			continue
		}
		f := htmlpage.Figure{Value: s.Metrics.Text(m, 2), What: fmt.Sprintf("%s: %s, %s", result.Title(), m.Title(), result.Bounds.Describe(s.Bucket))}
		if i, ok := s.Intervals[string(m)]; ok {
			f.What += between(i)
		}
		list = append(list, f)
	}
	return list
}

// differenceRow is a difference on a page.
type differenceRow struct {
	Of, Fact string
	N        int
	Metric   string // the first metric, in words
	Loss     string // the perplexity
	Beyond   bool
	whisker  plot.Whisker
}

// differenceRows lists the differences in the first metric, on one scale.
func (r *Report) differenceRows() []differenceRow {
	name, most := string(Metrics()[0]), 0.0
	each := func(do func(d *Difference, b BucketChange, c Change)) {
		for _, d := range r.Differences {
			for _, b := range d.Buckets {
				if c, ok := b.Changes[name]; ok {
					do(d, b, c)
				}
			}
		}
	}
	each(func(_ *Difference, _ BucketChange, c Change) {
		most = max(most, math.Abs(c.Difference.Value), math.Abs(c.Difference.Lo), math.Abs(c.Difference.Hi))
	})
	var rows []differenceRow
	each(func(d *Difference, b BucketChange, c Change) {
		rows = append(rows, differenceRow{
			d.Of, d.Bounds.Describe(b.Bucket), b.N, b.text(name), b.text(PerplexityName), c.BeyondChance,
			plot.WhiskerOf(c.Difference.Value, c.Difference.Lo, c.Difference.Hi, -most, most),
		})
	})
	return rows
}

// lengthOf is the power of two that a number of tokens is nearest to by ratio: prompts of
// 1,449 to 2,896 tokens are of about 2,048.
func lengthOf(tokens int) int {
	if tokens < 1 {
		return 0
	}
	return 1 << int(math.Round(math.Log2(float64(tokens))))
}

// short words a number of tokens: 512, 2k.
func short(tokens int) string {
	if tokens >= 1024 {
		return fmt.Sprintf("%dk", tokens/1024)
	}
	return fmt.Sprint(tokens)
}

// plots are those that there is something to show in.
func (r *Report) plots(records []Record) []*plot.Plot {
	m := Metrics()[0]
	lengths := func(a Answer) int { return lengthOf(a.Prompt) }
	var list []*plot.Plot
	add := func(p *plot.Plot) {
		if p != nil {
			list = append(list, p)
		}
	}
	for _, b := range []Bucket{Far, Near} {
		what := ""
		if len(r.Results) > 0 {
			what = r.Results[0].Bounds.Describe(b)
		}
		add(curve(named(r.shown()), "Recall by length of the prompt, "+what, "Answers' "+m.Title()+", by the tokens of the prompt (the nearest power of two), with 95 % intervals by conversation.", b, m.Of, lengths))
	}
	add(RecallByDistance(named(r.shown())))
	add(r.budgets())
	add(r.positions())
	add(r.cost(records))
	return list
}

// budgets draws what policies recall of what is far back by their budgets; nil if there is
// but one.
func (r *Report) budgets() *plot.Plot {
	var all []int
	for _, result := range r.Results {
		if n := result.Asked; n > 0 && !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	if len(all) < 2 {
		return nil
	}
	m := Metrics()[0]
	var lines []series
	for _, result := range r.Results {
		bucket := Far
		if result.Score(Far).N == 0 {
			bucket = All
		}
		s := result.Score(bucket)
		i := slices.IndexFunc(lines, func(l series) bool { return l.name == string(result.Policy) })
		if i < 0 {
			i = len(lines)
			lines = append(lines, series{string(result.Policy), group{}})
		}
		at, label := []int{result.Asked}, humanize.Comma(int64(result.Asked))+" tokens"
		if !result.Policy.Bounded() {
			at, label = all, "not bounded"
		}
		for _, x := range at {
			e := Estimate{Value: s.Metrics[m], Interval: s.Intervals[string(m)]}
			lines[i].at[x] = point{e, fmt.Sprintf("%s, %s: %s of %d", result.Policy, label, s.text(string(m), s.Metrics.Text(m, 2)), s.N)}
		}
	}
	return plotOf("Recall by budget", "Answers' "+m.Title()+" where the fact is far back, or of all where no fact is known to be, by the tokens that the block keeps over all layers, whose bytes all policies have, with 95 % intervals by conversation.", lines, 0.99)
}

// positions draws the perplexity of plain texts by where their tokens stand.
func (r *Report) positions() *plot.Plot {
	var lines []series
	most := 0.0
	for _, t := range r.Texts {
		g := group{}
		for _, p := range t.Positions {
			e := Estimate{Value: p.Perplexity}
			if p.Interval != nil {
				e.Interval = *p.Interval
			}
			most = max(most, e.Value, e.Hi)
			g[max(p.From, firstPosition/2)] = point{e, fmt.Sprintf("%s, %d-%d: %s over %s tokens", t.Title(), p.From, p.To, p.text(), humanize.Comma(int64(p.Tokens)))}
		}
		lines = append(lines, series{t.Title(), g})
	}
	if most == 0 {
		return nil
	}
	return plotOf("Perplexity by position", "Of the tokens of plain texts from a place on to twice as far (the first part: from the beginning), with 95 % intervals by text.", lines, most)
}

// group are the points of a line: estimates by their place.
type group map[int]point

type point struct {
	estimate Estimate
	label    string
}

// series is a line of a plot.
type series struct {
	name string
	at   group
}

// Named is a result with what a plot calls it.
type Named struct {
	Name string
	*Result
}

func named(results []*Result) (list []Named) {
	for _, r := range results {
		list = append(list, Named{r.Title(), r})
	}
	return list
}

// RecallByDistance draws what results recall by how far back the fact stands; nil if there are not
// two such distances.
func RecallByDistance(results []Named) *plot.Plot {
	m := Metrics()[0]
	return curve(results, "Recall by distance of the fact", "Answers' "+m.Title()+", by how many tokens before the answer the fact stands (the nearest power of two), with 95 % intervals by conversation.",
		All, m.Of, func(a Answer) int { return lengthOf(a.Distance) })
}

// curve draws the mean of a measure in a bucket by where answers belong; nil if there are
// not two such places. Place 0 is none.
func curve(results []Named, title, text string, b Bucket, m Measure, where func(Answer) int) *plot.Plot {
	var lines []series
	places := map[int]bool{}
	for _, result := range results {
		g, at := group{}, map[int][]Answer{}
		for _, a := range fold(result.Answers) {
			at[where(a)] = append(at[where(a)], a)
		}
		for x, answers := range at {
			p := self(answers).sum(result.Bounds, b, m)
			if x == 0 || len(p.Weights) == 0 {
				continue
			}
			c := p.Means().Before
			label := fmt.Sprintf("%s, about %s tokens: %.2f", result.Name, humanize.Comma(int64(x)), c.Value)
			if len(p.Weights) > 1 {
				label += fmt.Sprintf(" (%.2f–%.2f)", c.Lo, c.Hi)
			}
			label += fmt.Sprintf(", %d conversations", len(p.Weights))
			g[x] = point{c, label}
			places[x] = true
		}
		lines = append(lines, series{result.Name, g})
	}
	if len(places) < 2 {
		return nil
	}
	return plotOf(title, text, lines, 0.99) // the axis ends at 1
}

// cost draws how long reading takes, by the length of the prompt. Of rows about one text, it
// has the first, which reads it.
func (r *Report) cost(records []Record) *plot.Plot {
	var lines []series
	most := 0.0
	for _, reading := range r.readings() {
		g, at := group{}, map[int]*Paired{}
		for _, one := range records {
			if one.Reading != reading || len(one.Answers) > 0 && one.ReadTokens < one.Answers[0].Prompt {
				continue
			}
			x := lengthOf(one.ReadTokens)
			if at[x] == nil {
				at[x] = &Paired{}
			}
			at[x].Add(one.ReadSeconds, 0, 1)
		}
		for x, p := range at {
			e := EstimateOf(len(p.Weights), Mean(p.Before, p.Weights))
			most = max(most, e.Value, e.Hi)
			g[x] = point{e, fmt.Sprintf("%s, about %s tokens: %.2f s, mean of %d", reading.Title(), humanize.Comma(int64(x)), e.Value, len(p.Weights))}
		}
		lines = append(lines, series{reading.Title(), g})
	}
	if most == 0 {
		return nil
	}
	return plotOf("Cost: seconds to read a conversation", "By the tokens that were read (the nearest power of two), on the machine that the evaluation ran on, with whatever else ran there.", lines, most)
}

// readings are those whose cost is shown.
func (r *Report) readings() (list []Reading) {
	for _, result := range r.shown() {
		list = append(list, result.Reading)
	}
	for _, t := range r.Texts {
		list = append(list, t.Reading)
	}
	return list
}

// plotOf places lines by the logarithm, from 0 to most. An axis of powers of two has all of
// them between the ends, another one the numbers that there are.
func plotOf(title, text string, lines []series, most float64) *plot.Plot {
	var all []int
	powers := true
	for _, s := range lines {
		for x := range s.at {
			all, powers = append(all, x), powers && x&(x-1) == 0
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	first, last := all[0], all[len(all)-1]
	label := func(x int) string { return humanize.Comma(int64(x)) }
	if powers {
		all, label = nil, short
		for x := first; x <= last; x *= 2 {
			all = append(all, x)
		}
	}
	p := &plot.Plot{Title: title, Text: text}
	y := p.YAxis(0, most)
	span := math.Log2(float64(last)/float64(first)) + 1
	place := func(x int) float64 {
		return plot.Left + (plot.Width-plot.Left)*(math.Log2(float64(x)/float64(first))+0.5)/span
	}
	for _, x := range all {
		p.XTicks = append(p.XTicks, plot.Tick{At: plot.Tenth(place(x)), Label: label(x)})
	}
	const apart = 7 // pixels, so that intervals do not hide each other
	for i, s := range lines {
		l := &plot.Line{Name: s.name, Color: plot.Color(i)}
		for _, x := range all {
			if at, ok := s.at[x]; ok {
				d := plot.Dot{X: plot.Tenth(place(x) + apart*(float64(i)-float64(len(lines)-1)/2)), Y: y(at.estimate.Value), Label: at.label}
				if at.estimate.Interval != (Interval{}) {
					d.Low, d.High = y(at.estimate.Lo), y(at.estimate.Hi)
				}
				l.Add(d)
			}
		}
		p.Lines = append(p.Lines, l)
	}
	return p
}

// The size of a heat map's cells, and of the space left of them, in pixels.
const (
	cellWidth, cellHeight, cellGap, heatLeft = 56, 22, 1, 64
	depths                                   = 10 // rows
)

// heatMaps are those of all policies, of recall by depth and length; none if the depths of facts
// are not known.
func (r *Report) heatMaps() []*plot.Heat {
	var list []*plot.Heat
	var columns []int
	type place struct{ length, depth int }
	var all []map[place][]Answer
	for _, result := range r.shown() {
		at := map[place][]Answer{}
		for _, a := range fold(result.Answers) {
			if a.Depth == nil || !(*a.Depth >= 0 && *a.Depth <= 1) {
				continue
			}
			p := place{lengthOf(a.Prompt), min(depths-1, int(depths**a.Depth))}
			at[p] = append(at[p], a)
			if !slices.Contains(columns, p.length) {
				columns = append(columns, p.length)
			}
		}
		all = append(all, at)
	}
	slices.Sort(columns)
	if len(columns) == 0 {
		return nil
	}
	for i, at := range all {
		h := &plot.Heat{Title: r.shown()[i].Title(), Grid: plot.Grid{NumRows: depths, NumColumns: len(columns), CellWidth: cellWidth, CellHeight: cellHeight, Gap: cellGap, Left: heatLeft}}
		for d := range depths {
			h.Row(d, 1, fmt.Sprintf("%d–%d %%", 100*d/depths, 100*(d+1)/depths))
		}
		for c, length := range columns {
			h.Column(c, short(length))
			for d := range depths {
				answers := at[place{length, d}]
				if len(answers) == 0 {
					continue
				}
				sum := 0.0
				for _, a := range answers {
					sum += a.Metrics[Metrics()[0]]
				}
				share := sum / float64(len(answers))
				h.Add(c, d, share, fmt.Sprintf("%.2f", share), fmt.Sprintf("%.2f of %d questions", share, len(answers)))
			}
		}
		list = append(list, h)
	}
	return list
}

// example is a question with the answers of all policies.
type example struct {
	Where, Asked string
	Accepted     string
	Distance     int
	Answers      []exampleAnswer
}

type exampleAnswer struct {
	Policy, Text string
	Right        bool
}

// mostExamples bounds what a page shows.
const mostExamples = 16

// examples are questions with right and with wrong answers of each policy, those first about
// which policies differ.
func (r *Report) examples() []example {
	results := r.shown()
	if len(results) == 0 {
		return nil
	}
	var questions []string // in the order of the first result
	byPlace := make([]map[string]Answer, len(results))
	for i, result := range results {
		byPlace[i] = map[string]Answer{}
		for _, a := range result.Answers { // of several seeds, the first
			if _, seen := byPlace[i][place(a)]; !seen {
				byPlace[i][place(a)] = a
				if i == 0 {
					questions = append(questions, place(a))
				}
			}
		}
	}
	right := func(i int, q string) bool { return byPlace[i][q].Metrics[Metrics()[0]] == 1 }
	differ := func(q string) bool {
		return slices.ContainsFunc(results, func(s *Result) bool {
			return right(slices.Index(results, s), q) != right(0, q)
		})
	}
	slices.SortStableFunc(questions, func(a, b string) int { return btoi(differ(b)) - btoi(differ(a)) })
	const each = 2 // right ones, and wrong ones, of a policy
	chosen := map[string]bool{}
	for i := range results {
		shown := map[bool]int{}
		for _, q := range questions {
			if chosen[q] {
				shown[right(i, q)]++
			}
		}
		for _, q := range questions {
			if ok := right(i, q); !chosen[q] && shown[ok] < each && len(chosen) < mostExamples {
				chosen[q] = true
				shown[ok]++
			}
		}
	}
	var list []example
	for _, q := range questions {
		if !chosen[q] {
			continue
		}
		first := byPlace[0][q]
		e := example{Where: filepath.Base(first.Where), Asked: first.Asked, Accepted: clip(strings.Join(first.Accepted, " | ")), Distance: first.Distance}
		for i, result := range results {
			if a, ok := byPlace[i][q]; ok {
				e.Answers = append(e.Answers, exampleAnswer{string(result.Policy), clip(a.Text), right(i, q)})
			}
		}
		list = append(list, e)
	}
	return list
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// clip shortens a text to what a page shows of it.
func clip(text string) string {
	const most = 400
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most]) + " …"
}
