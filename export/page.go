package export

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"eisft/export/check"
	"eisft/export/ir"
	"eisft/export/manifest"
	"eisft/internal/atomicfile"
	"eisft/internal/htmlpage"
	"eisft/quant"
	"eisft/quant/encoding"
)

// PageFile shows what an exported folder holds, in one file that needs no network.
const PageFile = "report.html"

//go:embed page.html
var pageText string

var pageTemplate = template.Must(htmlpage.Define(template.New("export")).Funcs(template.FuncMap{
	"megabytes": func(n int64) string { return fmt.Sprintf("%.2f", float64(n)/1e6) },
	"percent":   func(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) },
	"number":    func(x any) string { return fmt.Sprintf("%.3g", x) },
	"millions":  func(x float64) string { return fmt.Sprintf("%.1f", x/1e6) },
	"short":     func(s string) string { return s[:min(12, len(s))] },
	"levels":    levelsText,
	"trip":      tripText,
	"ports":     func(list []manifest.Port) string { return fmt.Sprint(len(list)) },
	"passed":    manifest.Verification.Passed,
}).Parse(pageText))

// page is what the template shows.
type page struct {
	*manifest.Manifest
	For      string // the target, "" for any runtime
	Scheme   string // in words, "" without quantized graphs
	Headline []htmlpage.Figure
	Rows     []pageGraph
	Ops      []opChart
	Memory   []memoryMap
	Encoded  []encodedRow
	Warnings []check.Finding
}

// pageGraph is a graph with what its files take.
type pageGraph struct {
	manifest.Graph
	Files       []pageFile
	Nodes       int
	All, Share  float64
	Quantized   bool
	activations int64
	masks       int64
	tiled       int64
	constants   []ir.External
	inline      int64
}

// pageFile is a part of a graph: its file, with the weights that it reads where they lie
// elsewhere.
type pageFile struct {
	File  string
	Bytes int64
}

// opChart is the histogram of a graph's ops, the most frequent first.
type opChart struct {
	Title string
	Bars  []opBar
}

type opBar struct {
	Op    string
	Count int
	Width float64 // percent of the widest
}

// memoryMap is what the graphs of a shape and a precision take while they run.
type memoryMap struct {
	Shape, Precision string
	Total            int64
	TiledMask        int64
	Parts            []memoryPart
}

type memoryPart struct {
	What, Color string
	Bytes       int64
	Width       float64 // percent of the largest map's total
}

// encodedRow is the encoding of a point or of weights.
type encodedRow struct {
	Name, Type, Scales, Reach string
}

// memoryColors tell the parts of a memory map apart (Tableau).
var memoryColors = map[string]string{
	"weights": "#4e79a7", "embeddings": "#76b7b2", "cache": "#f28e2b", "memory": "#edc948", "activations": "#59a14f", "masks": "#e15759",
}

// writePage writes the page of an exported folder and lists it in the manifest.
func writePage(dir string, m *manifest.Manifest, q *quant.Quantized, findings []check.Finding) error {
	p := page{Manifest: m, Warnings: findings, For: m.Target}
	if m.Target == quant.Generic {
		p.For = ""
	}
	if err := p.measure(dir); err != nil {
		return err
	}
	p.chart()
	p.mapMemory()
	if q != nil {
		p.Scheme = q.Scheme.String()
		p.encodings(q)
	}
	p.headline()
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return err
	}
	if err := atomicfile.WriteFile(filepath.Join(dir, PageFile), b.Bytes()); err != nil {
		return err
	}
	return m.AddFile(dir, PageFile)
}

// measure reads the files of the graphs.
func (p *page) measure(dir string) error {
	for _, g := range p.Graphs {
		row := pageGraph{Graph: g, Quantized: !manifest.IsFloat(g.Precision)}
		var macs ir.MACs
		for _, part := range g.Parts {
			row.Files = append(row.Files, pageFile{part.File, p.sizeOf(part.File)})
			for _, n := range part.Ops {
				row.Nodes += n
			}
			if filepath.Ext(part.File) != ".onnx" {
				continue
			}
			model, err := ir.Open(filepath.Join(dir, part.File))
			if err != nil {
				return err
			}
			f, err := check.Measure(model)
			if err != nil {
				return fmt.Errorf("%s: %w", part.File, err)
			}
			macs.All, macs.Float = macs.All+f.All, macs.Float+f.Float
			row.activations = max(row.activations, f.Activations)
			row.masks, row.tiled = row.masks+f.Masks, max(row.tiled, f.TiledMask)
			row.constants, row.inline = append(row.constants, f.Constants...), row.inline+f.Inline
			for _, c := range f.Constants {
				row.Files[len(row.Files)-1].Bytes += c.Length
			}
		}
		row.All, row.Share = macs.All, macs.FloatShare()
		p.Rows = append(p.Rows, row)
	}
	return nil
}

// chart makes a histogram of the ops of each precision's first prompt graph.
func (p *page) chart() {
	for _, precision := range p.Precisions() {
		i := slices.IndexFunc(p.Rows, func(g pageGraph) bool { return g.Precision == precision && g.Kind == manifest.PromptGraph })
		if i < 0 {
			continue
		}
		ops := map[string]int{}
		for _, part := range p.Rows[i].Parts {
			for op, n := range part.Ops {
				ops[op] += n
			}
		}
		names := slices.Sorted(maps.Keys(ops))
		slices.SortStableFunc(names, func(a, b string) int { return ops[b] - ops[a] })
		c := opChart{Title: filesText(p.Rows[i].Files)}
		for _, op := range names {
			c.Bars = append(c.Bars, opBar{op, ops[op], 100 * float64(ops[op]) / float64(ops[names[0]])})
		}
		p.Ops = append(p.Ops, c)
	}
}

// filesText names a graph by its files.
func filesText(files []pageFile) string {
	if len(files) == 1 {
		return files[0].File
	}
	return files[0].File + " to " + files[len(files)-1].File
}

// mapMemory sums up what the graphs of each shape and precision take at once: their weights,
// the rows that are looked up, and what the largest graph needs while it runs.
func (p *page) mapMemory() {
	most := int64(1)
	for _, s := range p.Shapes {
		for _, precision := range p.Precisions() {
			m := memoryMap{Shape: s.Name, Precision: precision}
			bytes := map[string]int64{}
			seen := map[ir.External]bool{}
			for _, g := range p.Rows {
				if g.Shape != s.Name || g.Precision != precision {
					continue
				}
				for _, c := range g.constants {
					if !seen[c] {
						seen[c] = true
						bytes["weights"] += c.Length
					}
				}
				bytes["weights"] += g.inline
				bytes["activations"] = max(bytes["activations"], g.activations)
				bytes["masks"] = max(bytes["masks"], g.masks)
				m.TiledMask = max(m.TiledMask, g.tiled)
				if g.Kind == manifest.PromptGraph {
					bytes["cache"], bytes["memory"] = stateBytes(p.States, g.Graph)
				}
			}
			if f := p.EmbeddingsOf(precision); f != "" {
				bytes["embeddings"] = p.sizeOf(f)
			}
			for _, what := range []string{"weights", "embeddings", "cache", "memory", "activations", "masks"} {
				if bytes[what] > 0 {
					m.Parts = append(m.Parts, memoryPart{What: what, Color: memoryColors[what], Bytes: bytes[what]})
					m.Total += bytes[what]
				}
			}
			most = max(most, m.Total)
			p.Memory = append(p.Memory, m)
		}
	}
	for _, m := range p.Memory {
		for i := range m.Parts {
			m.Parts[i].Width = 100 * float64(m.Parts[i].Bytes) / float64(most)
		}
	}
}

// stateBytes is the size of what a host keeps between runs: keys and values, and the memory.
func stateBytes(states []manifest.State, g manifest.Graph) (cache, memory int64) {
	for _, s := range states {
		i := slices.IndexFunc(g.Inputs, func(p manifest.Port) bool { return p.Name == s.In })
		if i < 0 {
			continue
		}
		port := g.Inputs[i]
		dtype, err := ir.ParseDType(port.DType)
		if err != nil {
			continue // a manifest that was checked has none
		}
		size := int64(dtype.Bits())
		for _, n := range port.Shape {
			size *= int64(n)
		}
		if s.Policy == manifest.Append {
			cache += size / 8
		} else {
			memory += size / 8
		}
	}
	return cache, memory
}

func (p *page) sizeOf(file string) int64 {
	for _, f := range p.Files {
		if f.Name == file {
			return f.Bytes
		}
	}
	return 0
}

// encodings lists those of points and weights.
func (p *page) encodings(q *quant.Quantized) {
	for _, x := range q.Points {
		p.Encoded = append(p.Encoded, rowOf(x.Name, x.Encoding))
	}
	for _, w := range q.Weights {
		p.Encoded = append(p.Encoded, rowOf(w.Name, w.Encoding))
	}
}

// rowOf words an encoding: of several scales, the least and the greatest.
func rowOf(name string, e encoding.Encoding) encodedRow {
	least, most := slices.Min(e.Scales), slices.Max(e.Scales)
	r := encodedRow{Name: name, Type: e.Type()}
	if len(e.Scales) > 1 {
		r.Scales = fmt.Sprintf("%.3g to %.3g, %d of them", least, most, len(e.Scales))
		if e.Block > 0 {
			r.Type += fmt.Sprintf(", blocks of %d", e.Block)
		}
		return r
	}
	lo, hi := e.Reach(0)
	r.Scales, r.Reach = fmt.Sprintf("%.3g", least), fmt.Sprintf("%.3g to %.3g", lo, hi)
	return r
}

// headline chooses the figures that are looked for first: those of the last precision.
func (p *page) headline() {
	add := func(value, what string, args ...any) {
		p.Headline = append(p.Headline, htmlpage.Figure{Value: value, What: fmt.Sprintf(what, args...)})
	}
	total := int64(0)
	for _, f := range p.Files {
		total += f.Bytes
	}
	add(fmt.Sprintf("%.1f MB", float64(total)/1e6), "all files, %d of them", len(p.Files))
	if n := len(p.Memory); n > 0 {
		m := p.Memory[n-1]
		add(fmt.Sprintf("%.1f MB", float64(m.Total)/1e6), "in use at once, %s, %s", m.Shape, m.Precision)
	}
	for _, g := range p.Rows {
		if g.Quantized && g.Kind == manifest.PromptGraph {
			add(fmt.Sprintf("%.1f %%", 100*g.Share), "of multiply-accumulates in float, %s", filesText(g.Files))
			break
		}
	}
	if n := len(p.Verification); n > 0 {
		v := p.Verification[n-1]
		add(fmt.Sprintf("%d of %d", v.EqualTokens, v.Compared), "best tokens as in the Go model, %s", v.Precision)
		add(fmt.Sprintf("%.2g", v.MaxLogitError), "largest difference of a logit, %.2g is allowed", v.Tolerance.Max)
	}
}

// levelsText says how far logits were off at each level of ONNX Runtime.
func levelsText(v manifest.Verification) string {
	var list []string
	for _, l := range v.Levels {
		list = append(list, fmt.Sprintf("%s %.2g", l.Name, l.MaxLogitError))
	}
	return strings.Join(list, ", ")
}

// tripText says what rounding all floats to float16 leaves.
func tripText(v manifest.Verification) string {
	if v.RoundTrip == nil {
		return "they are in float16"
	}
	return fmt.Sprintf("%d of %d", v.RoundTrip.EqualTokens, v.RoundTrip.Compared)
}
