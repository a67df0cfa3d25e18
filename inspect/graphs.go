package inspect

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"eisft/eval"
	"eisft/export/check"
	"eisft/export/ir"
	"eisft/export/manifest"
	"eisft/model"
	"eisft/train/runs"
)

// inspectExport describes an exported folder or an .onnx file.
func inspectExport(_ context.Context, r *Report, path string, _ Options) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	r.Kind = "exported folder"
	switch {
	case !info.IsDir():
		r.Kind = "ONNX graph"
		if err := r.graph(path); err != nil {
			return err
		}
	case exists(path, manifest.Name):
		m, err := manifest.Read(path)
		if err != nil {
			r.problem(err)
			return nil
		}
		r.manifest(m)
	default:
		r.note("there is no %s: the graphs were not exported by eisft", manifest.Name)
	}
	r.findings(path)
	return nil
}

// findings holds graphs to the contract of fixed shapes.
func (r *Report) findings(path string) {
	findings, err := check.Path(path, check.NoTarget)
	r.problem(err)
	const most = 20
	for i, f := range findings {
		if i == most {
			r.note("eisft check %s lists %d more findings", r.Path, len(findings)-most)
			break
		}
		if f.Severity == check.Error {
			r.Problems = append(r.Problems, f.String())
		} else {
			r.Notes = append(r.Notes, f.String())
		}
	}
}

// graph describes one .onnx file.
func (r *Report) graph(path string) error {
	m, err := ir.Open(path)
	if err != nil {
		return err
	}
	r.fact("size", Bytes(m.Bytes))
	r.fact("producer", strings.TrimSpace(m.Proto.GetProducerName()+" "+m.Proto.GetProducerVersion()))
	for _, o := range m.Proto.GetOpsetImport() {
		r.fact(strings.TrimSpace("opset "+o.GetDomain()), o.GetVersion())
	}
	g := m.Proto.GetGraph()
	r.fact("nodes", Count(len(g.GetNode())))
	r.fact("constants", Count(len(g.GetInitializer())))
	ops := opTable("ops", m.OpCounts())
	r.ports("inputs", m.Inputs)
	r.ports("outputs", m.Outputs)
	r.table(ops)
	return nil
}

// opTable lists ops, the frequent ones first.
func opTable(title string, counts map[string]int) Table {
	ops := Table{Title: title, Columns: []string{"op", "nodes"}}
	for _, op := range slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	}) {
		ops.row(op, counts[op])
	}
	return ops
}

func (r *Report) ports(title string, ports []ir.Port) {
	t := Table{Title: title, Columns: []string{"name", "type", "shape"}}
	for _, p := range ports {
		t.row(p.Name, p.DType.String(), fmt.Sprint(p.Shape))
	}
	r.table(t)
}

// manifest describes what an exported folder holds.
func (r *Report) manifest(m *manifest.Manifest) {
	r.fact("model", m.Model)
	r.fact("producer", m.Producer)
	if m.Base != "" {
		r.fact("base identity", m.Base)
		r.fact("trained identity", m.Trained)
	}
	r.fact("opset", m.Opset)
	r.fact("size", size(m))
	r.fact("precisions", strings.Join(m.Precisions(), ", "))
	r.fact("positions", m.Positions)
	if n := parts(m); n > 1 {
		r.fact("parts", n)
	}
	if m.RetentionDecay {
		r.fact("retention", "decays with the age of a token")
	}
	for _, k := range m.Kinds {
		r.fact("layers "+indices(k.Layers), kindText(k))
	}
	shapes := Table{Title: "shapes", Columns: []string{"name", "new tokens", "cache", "sinks", "slots", "window", "segment"}}
	for _, s := range m.Shapes {
		shapes.row(s.Name, s.Tokens, s.Cache, s.Sinks, s.Slots, s.Window, s.Segment)
	}
	r.table(shapes)
	files := Table{Title: "files", Columns: []string{"name", "size", "precision"}}
	for _, f := range m.Files {
		var precision any // of graphs alone
		if p := m.PrecisionOf(f.Name); p != "" {
			precision = p
		}
		files.row(f.Name, Bytes(f.Bytes), precision)
	}
	r.table(files)
	t := comparisons("compared with the Go model")
	t.compared(m)
	r.table(t)
	r.table(evaluated(m))
}

// parts is in how many parts the largest graph comes.
func parts(m *manifest.Manifest) int {
	most := 0
	for _, g := range m.Graphs {
		most = max(most, len(g.Parts))
	}
	return most
}

// evaluated lists what the model recalls in the sizes of shapes.
func evaluated(m *manifest.Manifest) Table {
	t := Table{Title: "the model in the sizes of the shapes", Columns: []string{"shape", "facts", "questions"}}
	for _, metric := range eval.Metrics() {
		t.Columns = append(t.Columns, metric.Title())
	}
	t.Columns = append(t.Columns, "perplexity")
	for _, e := range m.Evaluated {
		for _, s := range e.Scores {
			row := []any{e.Shape, s.Bucket, s.Questions}
			for _, metric := range eval.Metrics() {
				if v, ok := s.Metrics[string(metric)]; ok {
					row = append(row, Score(v))
				} else {
					row = append(row, nil)
				}
			}
			t.row(append(row, Score(s.Perplexity))...)
		}
	}
	return t
}

func size(m *manifest.Manifest) Bytes {
	var n Bytes
	for _, f := range m.Files {
		n += Bytes(f.Bytes)
	}
	return n
}

// comparisons begins a table of how graphs compare with the Go model.
func comparisons(title string) Table {
	return Table{Title: title, Columns: []string{"shape", "precision", "graph files", "size", "same best token", "largest logit difference", "mean", "within tolerance"}}
}

// compared adds the graphs of every shape and precision.
func (t *Table) compared(m *manifest.Manifest) {
	for _, s := range m.Shapes {
		for _, p := range m.Precisions() {
			graphs, bytes := graphFiles(m, s.Name, p)
			if graphs == 0 {
				continue
			}
			cells := []any{s.Name, p, graphs, bytes}
			i := slices.IndexFunc(m.Verification, func(v manifest.Verification) bool { return v.Shape == s.Name && v.Precision == p })
			if i < 0 {
				t.row(append(cells, nil, nil, nil, nil)...)
				continue
			}
			v := m.Verification[i]
			t.row(append(cells, fmt.Sprintf("%d of %d", v.EqualTokens, v.Compared), v.MaxLogitError, v.MeanLogitError, v.Passed())...)
		}
	}
}

// graphFiles counts the files of graphs of a shape and precision, and their bytes.
func graphFiles(m *manifest.Manifest, shape, precision string) (n int, size Bytes) {
	seen := map[string]bool{}
	for _, g := range m.Of(shape, precision) {
		for _, p := range g.Parts {
			if seen[p.File] { // a TFLite file has several
				continue
			}
			seen[p.File] = true
			n++
			for _, f := range m.Files {
				if f.Name == p.File {
					size += Bytes(f.Bytes)
				}
			}
		}
	}
	return n, size
}

// exports adds the exported folders of a run.
func (r *Report) exports(dir string) {
	found, err := subfolders(dir, runs.ExportDir)
	r.problem(err)
	if len(found) == 0 {
		shape := "TxC"
		if a, err := model.ReadAdapter(dir); err == nil {
			shape = a.Block.ShapeName()
		}
		r.note("not exported yet: eisft export --run %s --shape %s", r.Path, shape)
	}
	for _, f := range found {
		m, err := manifest.Read(f)
		if err != nil {
			r.problem(err)
			continue
		}
		name := filepath.Join(runs.ExportDir, filepath.Base(f))
		t := comparisons(fmt.Sprintf("exported graphs: %s, %d files, %s with the weights", name, len(m.Files), size(m)))
		t.compared(m)
		r.table(t)
		if len(m.Verification) == 0 {
			r.note("%s has not been compared with the Go model: eisft check %s", name, filepath.Join(r.Path, name))
		}
	}
}

// kindText describes what layers of a kind see.
func kindText(k manifest.Kind) string {
	text := fmt.Sprintf("rope theta %s, %d pairs a head", strconv.FormatFloat(k.Rope.Theta, 'f', -1, 64), len(k.Rope.InvFreq))
	if k.Unrotated {
		text = "no rotary embedding"
	}
	if k.Rope.Limit > 0 {
		text += fmt.Sprintf(", positions below %d", k.Rope.Limit)
	}
	if k.Window > 0 {
		text += fmt.Sprintf(", the last %d keys", k.Window)
	}
	if k.Slotless {
		text += ", no slots"
	}
	return text
}

// indices lists ascending numbers, runs of them as in "0-3, 5".
func indices(list []int) string {
	var parts []string
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		if text := strconv.Itoa(list[i]); j > i {
			parts = append(parts, text+"-"+strconv.Itoa(list[j]))
		} else {
			parts = append(parts, text)
		}
		i = j + 1
	}
	return strings.Join(parts, ", ")
}
