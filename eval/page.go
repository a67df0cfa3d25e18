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
		"Headline": r.headline(), "Scores": htmlTable(scoreTable(r.Results), scoreNotes(r.Results)...),
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
	Columns []string
	Rows    [][]string
	Notes   []string
}

func htmlTable(t table, notes ...string) pageTable { return pageTable{t.columns, t.rows, notes} }

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
	for _, result := range r.Results {
		s := result.Score(Far)
		if s.N == 0 {
			s = result.Score(All)
		}
		if s.N == 0 {
			continue
		}
		list = append(list, htmlpage.Figure{
			Value: s.text(string(m), s.Metrics.Text(m, 2)), What: fmt.Sprintf("%s: %s, %s", result.Title(), m.Title(), result.Bounds.Describe(s.Bucket)),
		})
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
	distances := func(a Answer) int { return lengthOf(a.Distance) }
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
		add(r.curve("Recall by length of the prompt, "+what, "Answers' "+m.Title()+", by the tokens of the prompt (the nearest power of two), with 95 % intervals by conversation.", b, m.Of, lengths))
	}
	add(r.curve("Recall by distance of the fact", "Answers' "+m.Title()+", by how many tokens before the answer the fact stands (the nearest power of two), with 95 % intervals by conversation.", All, m.Of, distances))
	add(r.cost(records))
	return list
}

// group are the points of a line: estimates by their place.
type group map[int]struct {
	estimate Estimate
	label    string
}

// curve draws the mean of a measure in a bucket by where answers belong; nil if there are
// none. Place 0 is none.
func (r *Report) curve(title, text string, b Bucket, m Measure, where func(Answer) int) *plot.Plot {
	var lines []group
	any := false
	for _, result := range r.Results {
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
			label := fmt.Sprintf("%s, about %s tokens: %.2f", result.Title(), humanize.Comma(int64(x)), c.Value)
			if len(p.Weights) > 1 {
				label += fmt.Sprintf(" (%.2f–%.2f)", c.Lo, c.Hi)
			}
			label += fmt.Sprintf(", %d conversations", len(p.Weights))
			g[x] = struct {
				estimate Estimate
				label    string
			}{c, label}
			any = true
		}
		lines = append(lines, g)
	}
	if !any {
		return nil
	}
	return r.draw(title, text, lines, 0.99) // the axis ends at 1
}

// cost draws how long reading takes, by the length of the prompt.
func (r *Report) cost(records []Record) *plot.Plot {
	var lines []group
	most := 0.0
	for _, result := range r.Results {
		g, at := group{}, map[int]*Paired{}
		for _, one := range records {
			if one.Policy != result.Policy {
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
			g[x] = struct {
				estimate Estimate
				label    string
			}{e, fmt.Sprintf("%s, about %s tokens: %.2f s, mean of %d", result.Title(), humanize.Comma(int64(x)), e.Value, len(p.Weights))}
		}
		lines = append(lines, g)
	}
	if most == 0 {
		return nil
	}
	return r.draw("Cost: seconds to read a conversation", "By the tokens that were read (the nearest power of two), on the machine that the evaluation ran on, with whatever else ran there.", lines, most)
}

// draw places lines over powers of two, from 0 to most.
func (r *Report) draw(title, text string, lines []group, most float64) *plot.Plot {
	first, last := math.MaxInt, 0
	for _, g := range lines {
		for x := range g {
			first, last = min(first, x), max(last, x)
		}
	}
	p := &plot.Plot{Title: title, Text: text}
	y := p.YAxis(0, most)
	span := math.Log2(float64(last)/float64(first)) + 1
	place := func(x int) float64 {
		return plot.Left + (plot.Width-plot.Left)*(math.Log2(float64(x)/float64(first))+0.5)/span
	}
	for x := first; x <= last; x *= 2 {
		p.XTicks = append(p.XTicks, plot.Tick{At: plot.Tenth(place(x)), Label: short(x)})
	}
	const apart = 7 // pixels, so that intervals do not hide each other
	for i, g := range lines {
		l := &plot.Line{Name: r.Results[i].Title(), Color: plot.Color(i)}
		for x := first; x <= last; x *= 2 {
			if at, ok := g[x]; ok {
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

// heat is a policy's recall by depth and length.
type heat struct {
	Title  string
	Width  int
	Ticks  []plot.Tick // lengths
	Depths []plot.Tick
	Cells  []cell
}

type cell struct {
	X, Y        int
	Color, Ink  string
	Text, Label string
}

// The size of a heat map's cells, and of the space left of them, in pixels.
const (
	cellWidth, cellHeight, heatLeft = 56, 22, 64
	depths                          = 10 // rows
)

// heatMaps are those of all policies; none if the depths of facts are not known.
func (r *Report) heatMaps() []heat {
	var list []heat
	var columns []int
	type place struct{ length, depth int }
	var all []map[place][]Answer
	for _, result := range r.Results {
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
		h := heat{Title: r.Results[i].Title(), Width: heatLeft + cellWidth*len(columns) + 4}
		for d := range depths {
			h.Depths = append(h.Depths, plot.Tick{At: float64(d*cellHeight + cellHeight/2), Label: fmt.Sprintf("%d–%d %%", 100*d/depths, 100*(d+1)/depths)})
		}
		for c, length := range columns {
			h.Ticks = append(h.Ticks, plot.Tick{At: float64(heatLeft + c*cellWidth + cellWidth/2), Label: short(length)})
			for d := range depths {
				answers := at[place{length, d}]
				if len(answers) == 0 {
					continue
				}
				sum := 0.0
				for _, a := range answers {
					sum += a.Metrics[Metrics()[0]]
				}
				h.Cells = append(h.Cells, heatCell(c, d, sum/float64(len(answers)), len(answers)))
			}
		}
		list = append(list, h)
	}
	return list
}

// heatCell is white at 0 and dark blue at 1.
func heatCell(column, row int, share float64, n int) cell {
	mix := func(from, to float64) int { return int(from + (to-from)*share) }
	c := cell{
		X: heatLeft + column*cellWidth, Y: row * cellHeight, Ink: "#222",
		Color: fmt.Sprintf("#%02x%02x%02x", mix(246, 33), mix(248, 85), mix(252, 140)),
		Text:  fmt.Sprintf("%.2f", share), Label: fmt.Sprintf("%.2f of %d questions", share, n),
	}
	if share > 0.5 {
		c.Ink = "#fff"
	}
	return c
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
	if len(r.Results) == 0 {
		return nil
	}
	var questions []string // in the order of the first result
	byPlace := make([]map[string]Answer, len(r.Results))
	for i, result := range r.Results {
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
		return slices.ContainsFunc(r.Results, func(s *Result) bool {
			return right(slices.Index(r.Results, s), q) != right(0, q)
		})
	}
	slices.SortStableFunc(questions, func(a, b string) int { return btoi(differ(b)) - btoi(differ(a)) })
	const each = 2 // right ones, and wrong ones, of a policy
	chosen := map[string]bool{}
	for i := range r.Results {
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
		for i, result := range r.Results {
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
