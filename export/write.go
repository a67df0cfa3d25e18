package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"eisft/export/emit"
	"eisft/export/ir"
	"eisft/export/lower"
	"eisft/export/manifest"
	"eisft/internal/atomicfile"
	"eisft/internal/head"
	"eisft/model"
	"eisft/model/hf"
	"eisft/model/tokenizer"
	"eisft/quant"
)

// The files of an exported folder beside its graphs and manifest.
const (
	WeightsFile    = "weights.bin"            // what all graphs share
	EmbeddingsFile = "embeddings.safetensors" // float32 [V,D], where graphs read embeddings
)

// embeddingsOf names the embedding table of a scheme's graphs, where rotations that are
// folded into them have made it another one than the base's.
func embeddingsOf(scheme string) string { return "embeddings-" + scheme + ".safetensors" }

// opset is that of all graphs: the first one whose Q/DQ have 16-bit types.
const opset = 21

// writer is one call of write.
type writer struct {
	Options
	dir      string
	model    *model.Model
	rounded  *model.Model // what the quantized graphs are made from: model, with transforms folded in
	weights  *ir.Weights
	manifest *manifest.Manifest
	files    []graphFile
}

// graphFile is a graph that is not written yet: the manifest, which each file repeats,
// must be complete before.
type graphFile struct {
	name    string
	program emit.Program
}

// write fills the folder dir: graphs of every size and precision over one weights file,
// the embedding table, the base's text files and the manifest.
func write(dir string, m *model.Model, o Options) (*manifest.Manifest, error) {
	weights, err := ir.CreateWeights(filepath.Join(dir, WeightsFile))
	if err != nil {
		return nil, err
	}
	defer weights.Abort()
	w := &writer{Options: o, dir: dir, model: m, rounded: m, weights: weights}
	if o.Quantized != nil {
		if w.rounded, err = o.Quantized.Float(m); err != nil {
			return nil, err
		}
	}
	if w.manifest, err = w.header(); err != nil {
		return nil, err
	}
	for _, size := range o.Sizes {
		if err := w.addShape(size); err != nil {
			return nil, err
		}
	}
	if err := w.writeGraphs(); err != nil {
		return nil, err
	}
	if err := errors.Join(weights.Commit(), w.writeEmbeddings(), w.copyBaseFiles()); err != nil {
		return nil, err
	}
	return w.manifest, w.addFiles()
}

// header is the manifest before there are graphs.
func (w *writer) header() (*manifest.Manifest, error) {
	base, spec := w.model.Base, w.model.Spec
	m := &manifest.Manifest{
		Schema: manifest.Schema, Producer: manifest.Producer, Model: w.Name, Opset: opset, Positions: string(spec.Positions),
		Base: base.Identity(), Trained: w.model.Params.Identity(),
		MaskValue: lower.MaskValue, MemoryColumn: manifest.ColumnZero,
	}
	if err := addKinds(m, w.model); err != nil {
		return nil, fmt.Errorf("manifest: rope: %w", err)
	}
	if spec.HasMemory() {
		m.Features, m.MemoryColumn = spec.FeatureSize(base.Dims.HeadDim), lower.MemoryColumn(spec)
	}
	if w.Inputs == lower.InputEmbeds {
		m.Embeddings = EmbeddingsFile
	}
	if w.Quantized != nil {
		m.Quantization = &manifest.Quantization{Scheme: w.Quantized.Scheme.Name, Calibration: w.Quantized.Calibration.Hash, MaskValue: float64(w.Quantized.MaskValue())}
		if m.Embeddings != "" && w.Quantized.Folded.MovesEmbedding() {
			m.Quantization.Embeddings = embeddingsOf(w.Quantized.Scheme.Name)
		}
		if w.QuantizedOnly && m.Quantization.Embeddings != "" {
			m.Embeddings = "" // nothing reads the base's
		}
	}
	for i := range base.Layers {
		m.States = append(m.States, state("past_key_%d", i, manifest.Append), state("past_value_%d", i, manifest.Append))
		if spec.HasMemory() {
			m.States = append(m.States, state("past_mem_%d", i, manifest.Replace), state("past_memz_%d", i, manifest.Replace))
		}
	}
	return m, nil
}

// addKinds describes the kinds of layers in the order in which they come.
func addKinds(m *manifest.Manifest, from *model.Model) error {
	for _, l := range from.Base.Layers {
		suffix := lower.Suffix(from, l)
		at := slices.IndexFunc(m.Kinds, func(k manifest.Kind) bool { return k.Suffix == suffix })
		if at < 0 {
			rope, err := ropeOf(from.Base.Config, l)
			if err != nil {
				return err
			}
			at = len(m.Kinds)
			m.Kinds = append(m.Kinds, manifest.Kind{
				Suffix: suffix, Window: l.SlidingWindow, Slotless: lower.Slotless(from.Spec, l.Index), Unrotated: l.Rotary.None(), Rope: rope,
			})
		}
		m.Kinds[at].Layers = append(m.Kinds[at].Layers, l.Index)
	}
	return nil
}

// ropeOf describes a layer's rotary embedding, nothing where there is none.
func ropeOf(c *hf.Config, l *model.Layer) (manifest.Rope, error) {
	r, record := l.Rotary, c.Rope
	if r.None() {
		return manifest.Rope{}, nil
	}
	if l.SlidingWindow > 0 {
		record = c.RopeLocal
	}
	scaling, err := json.Marshal(record)
	return manifest.Rope{Theta: record.Theta, Scaling: scaling, InvFreq: r.InvFreq, Scale: r.Scale, Limit: r.Limit}, err
}

func state(name string, layer int, policy string) manifest.State {
	name = fmt.Sprintf(name, layer)
	return manifest.State{In: name + "_in", Out: name + "_out", Policy: policy}
}

// addShape builds the graphs of a size in every precision.
func (w *writer) addShape(size Size) error {
	spec, err := size.Fit(w.model.Spec)
	if err != nil {
		return err
	}
	w.manifest.Shapes = append(w.manifest.Shapes, manifest.Shape{
		Name: size.String(), Tokens: size.Tokens, Cache: size.Cache,
		Sinks: spec.Sink, Slots: spec.Slots, Window: spec.Window, Segment: spec.Segment,
	})
	var graphs []loweredGraph
	for i, f := range w.forms() {
		if i == 0 || f.model != w.model { // forms of one model share its graphs
			fitted, err := model.New(f.model.Base, spec, f.model.Params)
			if err != nil {
				return err
			}
			graphs = lowered(size, lower.Source{Model: fitted, Quantized: w.Quantized, Inputs: w.Inputs, Logits: w.Logits})
		}
		for _, g := range graphs {
			if err := w.add(size, g, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// form is a precision of an export, and how its graphs are written.
type form struct {
	precision string
	suffix    string // of the files' names
	emitter   emit.Emitter
	model     *model.Model
	weights   *ir.Weights
}

// forms lists those of an export.
func (w *writer) forms() []form {
	var list []form
	if !w.QuantizedOnly {
		list = append(list, form{manifest.Float, "", emit.Emitters.Get(emit.Float), w.model, w.weights})
	}
	if w.Quantized != nil {
		scheme, weights := w.Quantized.Scheme.Name, w.weights
		if w.rounded != w.model {
			weights = weights.Under(scheme + "/")
		}
		list = append(list, form{scheme, "-" + scheme, emit.Emitters.Get(emit.QDQ), w.rounded, weights})
	}
	return list
}

// loweredGraph is a graph of a size before an emitter gives it a form.
type loweredGraph struct {
	kind, name string
	graph      *ir.Graph
	ports      lower.Ports
}

// lowered builds the graphs of a size.
func lowered(size Size, source lower.Source) []loweredGraph {
	main := func(tokens int) func(*ir.Graph) lower.Ports {
		return func(g *ir.Graph) lower.Ports { return source.Main(g, tokens) }
	}
	kinds := []struct {
		kind, file string
		build      func(*ir.Graph) lower.Ports
	}{
		{manifest.PromptGraph, fmt.Sprintf("%dt%dc", size.Tokens, size.Cache), main(size.Tokens)},
		{manifest.GenerationGraph, fmt.Sprintf("1t%dc", size.Cache), main(1)},
		{manifest.CommitGraph, fmt.Sprintf("commit-%dt", size.Tokens), source.Commit},
	}
	if !source.Model.Spec.HasMemory() {
		kinds = kinds[:2]
	}
	var graphs []loweredGraph
	for _, k := range kinds {
		g := ir.NewGraph(k.file, ir.Options{Opset: opset})
		ports := k.build(g)
		graphs = append(graphs, loweredGraph{k.kind, k.file, g, ports})
	}
	return graphs
}

// add gives a graph a form. Sizes of equal cache share the generation graph, since it
// does not depend on T, and so on for the commit graph.
func (w *writer) add(size Size, g loweredGraph, f form) error {
	file := g.name + f.suffix + f.emitter.Extension()
	p := f.emitter.Emit(g.graph, g.name+f.suffix, ir.Options{Opset: opset, Weights: f.weights})
	ops, err := p.OpCounts()
	if err != nil {
		return err
	}
	listed := manifest.Graph{
		Name: fmt.Sprintf("%s_%s_%s", g.kind, size, f.precision), Kind: g.kind, Shape: size.String(), Precision: f.precision,
		Parts: []manifest.Part{{File: file, Ops: ops}},
	}
	if f.precision != manifest.Float {
		listed.FloatMACs = floatShare(g.graph)
	}
	for i, v := range p.Inputs() {
		listed.Inputs = append(listed.Inputs, describe(g.ports.Inputs[i], v, g.graph.Inputs()[i].Encoded()))
	}
	for i, o := range p.Outputs() {
		listed.Outputs = append(listed.Outputs, describe(g.ports.Outputs[i], o.Value, g.graph.Outputs()[i].Encoded()))
	}
	w.manifest.Graphs = append(w.manifest.Graphs, listed)
	if !slices.ContainsFunc(w.files, func(o graphFile) bool { return o.name == file }) {
		w.files = append(w.files, graphFile{file, p})
	}
	return nil
}

// describe lists a port as an emitter wrote it: with its encoding where it is in codes.
func describe(p lower.Port, v *ir.Value, e *ir.Encoded) manifest.Port {
	m := manifest.Port{Name: p.Name, Role: p.Role, Layer: p.Layer, Shape: v.Shape(), DType: v.DType().String(), Axes: p.Axes}
	if _, _, codes := v.DType().Codes(); codes && e != nil {
		m.Encoding = &e.Encoding
	}
	return m
}

// writeGraphs writes every graph with the manifest in its metadata.
func (w *writer) writeGraphs() error {
	mirror, err := w.manifest.Mirror()
	if err != nil {
		return err
	}
	for _, f := range w.files {
		f.program.SetMetadata(manifest.Key, mirror)
		if err := f.program.WriteFile(filepath.Join(w.dir, f.name)); err != nil {
			return err
		}
	}
	return nil
}

// writeEmbeddings writes the tables that graphs read rows of.
func (w *writer) writeEmbeddings() error {
	table := func(name string, b *model.Base) error {
		if name == "" {
			return nil
		}
		return hf.WriteFile(filepath.Join(w.dir, name), []hf.Entry{
			{Name: manifest.Embedding, Shape: []int{b.Embed.Out, b.Embed.In}, Data: lower.Embeddings(b)},
		}, nil)
	}
	err := table(w.manifest.Embeddings, w.model.Base)
	if q := w.manifest.Quantization; err == nil && q != nil {
		err = table(q.Embeddings, w.rounded.Base)
	}
	return err
}

// copyBaseFiles copies what a host needs to turn text into ids and back, and to know
// where an answer ends; of a GGUF file, what it says of these.
func (w *writer) copyBaseFiles() error {
	if w.BaseDir == "" {
		return nil
	}
	base, err := hf.Resolve(w.BaseDir)
	if err != nil {
		return err
	}
	files, err := tokenizer.Files(base)
	if err != nil {
		return err
	}
	if files[hf.ConfigFile], err = hf.ConfigText(base, w.model.Base.Config.Ignored...); err != nil {
		return err
	}
	if text, err := head.Read(filepath.Join(base, hf.GenerationFile), head.Description); err == nil { // few models need one
		files[hf.GenerationFile] = text
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := atomicfile.WriteFile(filepath.Join(w.dir, name), files[name]); err != nil {
			return err
		}
	}
	return nil
}

// addFiles lists all that was written, with sums, and writes the manifest.
func (w *writer) addFiles() error {
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := w.manifest.AddFile(w.dir, e.Name()); err != nil {
			return err
		}
	}
	return w.manifest.Write(w.dir)
}

// quantizable tells why a block cannot be exported in quantized graphs.
func quantizable(m *model.Model, q *quant.Quantized) error {
	if q == nil {
		return nil
	}
	if m.Spec.Positions == model.PositionsAbsolute {
		return errors.New("quantized graphs need positions: compact, since calibration has seen keys before rotary embedding and absolute positions store them after it; export float graphs alone with --quant none")
	}
	_, _, err := quant.Apply(m, q)
	return err
}
