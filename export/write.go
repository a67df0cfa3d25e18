package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"eisft/internal/atomicfile"
	"eisft/export/ir"
	"eisft/export/lower"
	"eisft/export/manifest"
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

// opset is that of all graphs: the first one whose Q/DQ have 16-bit types.
const opset = 21

// writer is one call of write.
type writer struct {
	Options
	dir      string
	model    *model.Model
	weights  *ir.Weights
	manifest *manifest.Manifest
	files    []graphFile
}

// graphFile is a graph that is not written yet: the manifest, which each file repeats,
// must be complete before.
type graphFile struct {
	name  string
	graph *ir.Graph
}

// write fills the folder dir: graphs of every size and precision over one weights file,
// the embedding table, the base's text files and the manifest.
func write(dir string, m *model.Model, o Options) (*manifest.Manifest, error) {
	weights, err := ir.CreateWeights(filepath.Join(dir, WeightsFile))
	if err != nil {
		return nil, err
	}
	defer weights.Abort()
	w := &writer{Options: o, dir: dir, model: m, weights: weights}
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
		Schema: manifest.Schema, Producer: "eisft", Model: w.Name, Opset: opset, Positions: string(spec.Positions),
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
		m.Quantization = &manifest.Quantization{Scheme: w.Quantized.Scheme.Name, Calibration: w.Quantized.Calibration.Hash}
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
			record := from.Base.Config.Rope
			if l.SlidingWindow > 0 {
				record = from.Base.Config.RopeLocal
			}
			rope, err := ropeOf(record, l.Rotary)
			if err != nil {
				return err
			}
			at = len(m.Kinds)
			m.Kinds = append(m.Kinds, manifest.Kind{Suffix: suffix, Window: l.SlidingWindow, Slotless: lower.Slotless(from.Spec, l.Index), Rope: rope})
		}
		m.Kinds[at].Layers = append(m.Kinds[at].Layers, l.Index)
	}
	return nil
}

func ropeOf(record hf.Rope, r *model.Rotary) (manifest.Rope, error) {
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
	fitted, err := model.New(w.model.Base, spec, w.model.Params)
	if err != nil {
		return err
	}
	w.manifest.Shapes = append(w.manifest.Shapes, manifest.Shape{
		Name: size.String(), Tokens: size.Tokens, Cache: size.Cache,
		Sinks: spec.Sink, Slots: spec.Slots, Window: spec.Window, Segment: spec.Segment,
	})
	source := lower.Source{Model: fitted, Inputs: w.Inputs, Logits: w.Logits}
	if !w.QuantizedOnly {
		if err := w.addGraphs(size, source, manifest.Float, ""); err != nil {
			return err
		}
	}
	if w.Quantized == nil {
		return nil
	}
	source.Quantized = w.Quantized
	return w.addGraphs(size, source, w.Quantized.Scheme.Name, "-"+w.Quantized.Scheme.Name)
}

// addGraphs builds the graphs of a size and a precision. Sizes of equal cache share the
// generation graph, since it does not depend on T, and so on for the commit graph.
func (w *writer) addGraphs(size Size, source lower.Source, precision, suffix string) error {
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
	for _, k := range kinds {
		name := k.file + suffix
		g := ir.NewGraph(name, ir.Options{Opset: opset, Weights: w.weights})
		ports := k.build(g)
		ops, err := g.OpCounts()
		if err != nil {
			return err
		}
		w.manifest.Graphs = append(w.manifest.Graphs, manifest.Graph{
			Name: fmt.Sprintf("%s_%s_%s", k.kind, size, precision), Kind: k.kind, Shape: size.String(), Precision: precision,
			Parts: []manifest.Part{{File: name + ".onnx", Ops: ops}}, Inputs: ports.Inputs, Outputs: ports.Outputs,
		})
		if !slices.ContainsFunc(w.files, func(f graphFile) bool { return f.name == name+".onnx" }) {
			w.files = append(w.files, graphFile{name + ".onnx", g})
		}
	}
	return nil
}

// writeGraphs writes every graph with the manifest in its metadata.
func (w *writer) writeGraphs() error {
	mirror, err := w.manifest.Mirror()
	if err != nil {
		return err
	}
	for _, f := range w.files {
		f.graph.SetMetadata(manifest.Key, mirror)
		if err := f.graph.WriteFile(filepath.Join(w.dir, f.name)); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) writeEmbeddings() error {
	if w.Inputs != lower.InputEmbeds {
		return nil
	}
	table := w.model.Base.Embed
	return hf.WriteFile(filepath.Join(w.dir, EmbeddingsFile), []hf.Entry{
		{Name: manifest.Embedding, Shape: []int{table.Out, table.In}, Data: lower.Embeddings(w.model.Base)},
	}, nil)
}

// copyBaseFiles copies what a host needs to turn text into ids and back, and to know
// where an answer ends; of a GGUF file, what it says of these.
func (w *writer) copyBaseFiles() error {
	if w.BaseDir == "" {
		return nil
	}
	files, err := tokenizer.Files(w.BaseDir)
	if err != nil {
		return err
	}
	if files[hf.ConfigFile], err = hf.ConfigText(w.BaseDir); err != nil {
		return err
	}
	if text, err := os.ReadFile(filepath.Join(w.BaseDir, hf.GenerationFile)); err == nil { // few models need one
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
