package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"eisft/export/emit"
	"eisft/export/ir"
	"eisft/export/lower"
	"eisft/export/manifest"
	"eisft/internal/atomicfile"
	"eisft/internal/enum"
	"eisft/internal/head"
	"eisft/model"
	"eisft/model/hf"
	"eisft/model/tokenizer"
	"eisft/quant"
)

// The files of an exported folder beside its graphs and manifest.
const (
	WeightsFile    = "weights.bin"            // what all graphs share
	EmbeddingsFile = "embeddings.safetensors" // [V,D], where graphs read embeddings: see Embeddings
)

// embeddingsOf names the embedding table of a scheme's graphs, where rotations that are
// folded into them have made it another one than the base's.
func embeddingsOf(scheme string) string { return "embeddings-" + scheme + ".safetensors" }

// opset is that of all graphs: the first one whose Q/DQ have 16-bit types.
const opset = 21

// encodedOpset is that of float graphs with encodings beside them, which Qualcomm's tools
// take.
const encodedOpset = 17

// writer is one call of write.
type writer struct {
	Options
	dir      string
	model    *model.Model
	rounded  *model.Model // what the quantized graphs are made from: model, with transforms folded in
	weights  *ir.Weights
	manifest *manifest.Manifest
	formed   []form // see forms
	cuts     []int  // see Options.cuts
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
func write(ctx context.Context, dir string, m *model.Model, o Options) (*manifest.Manifest, *sources, error) {
	weights, err := ir.CreateWeights(filepath.Join(dir, WeightsFile))
	if err != nil {
		return nil, nil, err
	}
	defer weights.Abort()
	w := &writer{Options: o, dir: dir, model: m, rounded: m, weights: weights}
	if o.Quantized != nil {
		if w.rounded, err = o.Quantized.Float(m); err != nil {
			return nil, nil, err
		}
	}
	if w.manifest, err = w.header(); err != nil {
		return nil, nil, err
	}
	if err := w.copyBaseFiles(); err != nil {
		return nil, nil, err
	}
	if w.manifest.Text, err = w.describeText(); err != nil {
		return nil, nil, err
	}
	w.formed = w.forms()
	if w.cuts, err = o.cuts(m.Base); err != nil {
		return nil, nil, err
	}
	for _, size := range o.Sizes {
		if err := w.addShape(size); err != nil {
			return nil, nil, err
		}
	}
	if err := w.writeGraphs(); err != nil {
		return nil, nil, err
	}
	if w.Format == FormatTFLite {
		weights.Abort() // TFLite files have their own
	} else if err := weights.Commit(); err != nil {
		return nil, nil, err
	}
	rest()
	if err := errors.Join(w.writeTables(), w.writeForHosts()); err != nil {
		return nil, nil, err
	}
	rest()
	var read *sources
	if !o.NoGolden {
		if read, err = w.writeGolden(ctx); err != nil {
			return nil, nil, err
		}
	}
	return w.manifest, read, w.addFiles()
}

// header is the manifest before there are graphs.
func (w *writer) header() (*manifest.Manifest, error) {
	base, spec := w.model.Base, w.model.Spec
	m := &manifest.Manifest{
		Schema: manifest.Schema, Producer: manifest.Producer, Model: w.Name, Target: string(w.Target), Opset: opset, Positions: string(spec.Positions),
		Base: base.Identity(), Trained: w.model.Params.Identity(),
		MaskValue: lower.MaskValue, MemoryColumn: manifest.ColumnZero, RetentionDecay: spec.Decays(),
	}
	if err := addKinds(m, w.model); err != nil {
		return nil, fmt.Errorf("manifest: rope: %w", err)
	}
	if spec.HasMemory() {
		m.Features, m.MemoryScale, m.MemoryColumn = spec.FeatureSize(base.Dims.HeadDim), spec.StateScale(), lower.MemoryColumn(spec)
		if m.MemoryColumn == manifest.ColumnLogTokens {
			m.EmptyTokens = spec.EmptyTokens()
		}
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
	type source struct {
		model *model.Model
		opset int
	}
	graphs := map[source][]loweredGraph{} // forms of one model share its graphs
	for _, f := range w.formed {
		of := source{f.model, f.opset}
		if graphs[of] == nil {
			fitted, err := model.New(f.model.Base, spec, f.model.Params)
			if err != nil {
				return err
			}
			graphs[of] = lowered(size, lower.Source{Model: fitted, Quantized: w.Quantized, Inputs: w.Inputs, Logits: w.Logits, MaskBytes: formOf(w.Target).maskBytes, Cuts: w.cuts}, f.opset, w.generation(size))
		}
		for _, g := range graphs[of] {
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
	emitters  []emit.Emitter // of parts, where each has one of its own; see tfliteForm
	opset     int
	model     *model.Model
	weights   *ir.Weights
	shared    string // the file of all graphs, where they are signatures of one; see tfliteForm
}

// emitterOf is the emitter of the i-th part of a graph.
func (f form) emitterOf(i int) emit.Emitter {
	if f.emitters != nil {
		return f.emitters[i]
	}
	return f.emitter
}

// Format is how quantized graphs are written.
type Format string

// The formats.
const (
	FormatQDQ       Format = emit.QDQ
	FormatEncodings Format = emit.Encoded
	FormatTFLite    Format = "tflite" // the float graphs, too
)

// quantizedForms say what stands behind a scheme's name in each format.
var quantizedForms = enum.NewTable[Format, form]("format").
	With(FormatQDQ, form{emitter: emit.Emitters.Get(emit.QDQ), opset: opset}).
	With(FormatEncodings, form{precision: manifest.EncodingsSuffix, suffix: "-encodings", emitter: emit.Emitters.Get(emit.Encoded), opset: encodedOpset}).
	With(FormatTFLite, form{opset: opset, shared: tfliteFile})

// ParseFormat reads a format as the command line has it.
func ParseFormat(s string) (Format, error) {
	_, err := quantizedForms.Find(Format(s))
	return Format(s), err
}

// Formats lists the formats.
func Formats() []Format { return quantizedForms.Names() }

// Precision is that of graphs that are not quantized.
type Precision string

// The precisions.
const (
	Float32 Precision = "float32"
	Float16 Precision = "float16"
)

// floatForms are the forms of graphs that are not quantized.
var floatForms = enum.NewTable[Precision, form]("precision").
	With(Float32, form{precision: manifest.Float, emitter: emit.Emitters.Get(emit.Float), opset: opset}).
	With(Float16, form{precision: manifest.Float16, suffix: "-float16", emitter: emit.Emitters.Get(emit.Float16), opset: opset})

// ParsePrecision reads a precision as the command line has it.
func ParsePrecision(s string) (Precision, error) {
	_, err := floatForms.Find(Precision(s))
	return Precision(s), err
}

// Precisions lists the precisions.
func Precisions() []Precision { return floatForms.Names() }

// floats lists the precisions of the float graphs, each once.
func (o Options) floats() []Precision {
	if len(o.Precisions) == 0 {
		return []Precision{formOf(o.Target).precision}
	}
	return o.Precisions
}

// forms makes those of an export, which all its shapes have.
func (w *writer) forms() []form {
	var list []form
	if !w.QuantizedOnly {
		for _, p := range w.floats() {
			f := floatForms.Get(p)
			if w.Format == FormatTFLite {
				f = w.tfliteForm(f, false)
			}
			f.model, f.weights = w.model, w.weights
			list = append(list, f)
		}
	}
	if w.Quantized != nil {
		scheme, weights := w.Quantized.Scheme.Name, w.weights
		if w.rounded != w.model {
			weights = weights.Under(scheme + "/")
		}
		f := quantizedForms.Get(FormatQDQ)
		if w.Format != "" {
			f = quantizedForms.Get(w.Format)
		}
		if w.Format == FormatTFLite {
			f = w.tfliteForm(f, true)
		}
		f.precision, f.suffix, f.model, f.weights = scheme+f.precision, "-"+scheme+f.suffix, w.rounded, weights
		list = append(list, f)
	}
	return list
}

// loweredGraph is a graph of a size before an emitter gives it a form.
type loweredGraph struct {
	kind, name string
	graph      *ir.Graph
	ports      lower.Ports
}

// generation names what the generation graph of a size depends on: its cache. Layers without slots
// have a cache of their own, which has the segment in it, so that other shapes of the same cache have
// another graph.
func (w *writer) generation(size Size) string {
	s, layers := w.model.Spec, w.model.Base.Layers
	slotless := slices.ContainsFunc(layers, func(l *model.Layer) bool { return lower.Slotless(s, l.Index) })
	if slotless && slices.ContainsFunc(w.Sizes, func(o Size) bool { return o.Cache == size.Cache && o.Tokens != size.Tokens }) {
		return fmt.Sprintf("%dc-%dt", size.Cache, size.Tokens)
	}
	return fmt.Sprintf("%dc", size.Cache)
}

// lowered builds the graphs of a size.
func lowered(size Size, source lower.Source, opset int, generation string) []loweredGraph {
	main := func(tokens int) func(*ir.Graph) lower.Ports {
		return func(g *ir.Graph) lower.Ports { return source.Main(g, tokens) }
	}
	kinds := []struct {
		kind, file string
		build      func(*ir.Graph) lower.Ports
	}{
		{manifest.PromptGraph, fmt.Sprintf("%dt%dc", size.Tokens, size.Cache), main(size.Tokens)},
		{manifest.GenerationGraph, "1t" + generation, main(1)},
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

// add gives a graph a form. Sizes of equal cache share the generation graph where it
// does not depend on T, and so on for the commit graph.
func (w *writer) add(size Size, g loweredGraph, f form) error {
	listed := manifest.Graph{
		Name: fmt.Sprintf("%s_%s_%s", g.kind, size, f.precision), Kind: g.kind, Shape: size.String(), Precision: f.precision,
	}
	if !manifest.IsFloat(f.precision) {
		listed.FloatMACs = g.graph.MACs().FloatShare()
	}
	var cuts []ir.Cut
	for _, c := range g.ports.Cuts {
		cuts = append(cuts, ir.Cut{Name: c.Name, Value: c.Value})
	}
	divided, written := g.graph.Divide(cuts), map[string]*ir.Value{}
	for i, part := range divided {
		p, err := w.addPart(&listed, part, w.partName(size, g, f, i), f.emitterOf(i), f)
		if err != nil {
			return err
		}
		for _, v := range p.Inputs() {
			written[v.Name()] = v
		}
		for _, o := range p.Outputs() {
			written[o.Name] = o.Value
		}
	}
	for i, v := range g.graph.Inputs() {
		listed.Inputs = append(listed.Inputs, describe(g.ports.Inputs[i], written[v.Name()], v.Encoded()))
	}
	for i, o := range g.graph.Outputs() {
		listed.Outputs = append(listed.Outputs, describe(g.ports.Outputs[i], written[o.Name], o.Encoded()))
	}
	for _, c := range g.ports.Cuts {
		if v := written[c.Name]; v != nil { // what is behind the last part has none
			listed.Hidden = append(listed.Hidden, describe(c.Port, v, c.Value.Encoded()))
		}
	}
	if len(divided) == 1 {
		listed.Parts[0].Inputs, listed.Parts[0].Outputs = nil, nil
	}
	w.manifest.Graphs = append(w.manifest.Graphs, listed)
	return nil
}

// partName is the name and the file of the i-th part of a graph, and its signature in a file
// of several.
type partName struct{ name, file, signature string }

func (w *writer) partName(size Size, g loweredGraph, f form, i int) partName {
	part := ""
	if w.cuts != nil && (g.kind != manifest.CommitGraph || f.shared != "") {
		part = fmt.Sprintf("-part%d", i+1)
	}
	if f.shared != "" {
		signature := w.signature(size, g.kind)
		return partName{signature, f.shared + f.suffix + part + f.emitterOf(i).Extension(), signature}
	}
	name := g.name + f.suffix + part
	return partName{name, name + f.emitterOf(i).Extension(), ""}
}

// addPart writes a part with an emitter and puts it on the graph's list.
func (w *writer) addPart(listed *manifest.Graph, part *ir.Graph, n partName, emitter emit.Emitter, f form) (emit.Program, error) {
	p := emitter.Emit(part, n.name, ir.Options{Opset: f.opset, Weights: f.weights})
	ops, err := p.OpCounts()
	if err != nil {
		return nil, err
	}
	entry := manifest.Part{File: n.file, Signature: n.signature, Ops: ops}
	if emitter == emit.Emitters.Get(emit.Encoded) {
		entry.Encodings = emit.EncodingFiles(n.file)
	}
	for _, v := range p.Inputs() {
		entry.Inputs = append(entry.Inputs, v.Name())
	}
	for _, o := range p.Outputs() {
		entry.Outputs = append(entry.Outputs, o.Name)
	}
	listed.Parts = append(listed.Parts, entry)
	if !slices.ContainsFunc(w.files, func(o graphFile) bool { return o.name == n.file }) {
		w.files = append(w.files, graphFile{n.file, p})
	}
	return p, nil
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

// writeTables writes the tables that graphs read rows of.
func (w *writer) writeTables() error {
	err := w.writeEmbeddings(w.manifest.Embeddings, w.model.Base)
	if q := w.manifest.Quantization; err == nil && q != nil {
		err = w.writeEmbeddings(q.Embeddings, w.rounded.Base)
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
	err := fs.WalkDir(os.DirFS(w.dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		return w.manifest.AddFile(w.dir, name)
	})
	if err != nil {
		return err
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
