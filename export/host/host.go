// Package host drives exported graphs in ONNX Runtime or LiteRT the way a phone's host does:
// segment by segment through the prompt graph, token by token through the generation
// graph, with the commit graph at the end of each segment. The host owns the cache: it
// keeps sinks, slots, window and the segment in progress packed in this order, chooses
// the slots by retention score, and fills mask and rotary tables.
package host

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/x448/float16"

	"eisft/export/ir"
	"eisft/export/manifest"
	"eisft/export/ort"
	"eisft/export/tflite/litert"
	"eisft/internal/filehash"
	"eisft/model"
	"eisft/model/schedule"
)

// Options choose what of an exported folder is run.
type Options struct {
	// Shape is the name of one of the folder's shapes, "" for the first.
	Shape string
	// Precision is manifest.Float or a quantization scheme, "" for the last one that
	// the folder has: a quantized one before float.
	Precision string
	// Threads are those of one op; 0 leaves the choice to the runtime.
	Threads int
	// Level is ONNX Runtime's level of optimization.
	Level ort.Level
	// Lean keeps no memory for the next run: see ort.Options.
	Lean bool
	// Alter, if not nil, changes each ONNX graph before it is loaded, and Ran is called after
	// each run with the graph's outputs, those that Alter added among them.
	Alter func(*ir.Model) error
	Ran   func(graph string, outputs []ir.Port, tensor func(name string) ort.Tensor)
}

// Model is an exported model of one shape and precision, loaded. Any number of streams
// may run over it.
type Model struct {
	Shape     manifest.Shape
	Precision string

	plan     schedule.Plan
	kinds    []kind  // of layers
	kindOf   []int   // index in kinds, of each layer
	mask     float32 // value of the mask where there is nothing
	scale    float32 // s of the memory's state
	empty    float64 // the number of tokens that an empty memory stands for
	logTerm  bool    // the mask's last column holds the logarithm of the tokens written
	gated    bool    // the score of a token is the write gate's logit, else the retention score
	decay    bool    // the retention score decays with the token's age
	layers   int
	heads    int // K
	headDim  int // d
	features int // F
	vocab    int // V
	codes    map[state]ir.DType
	hidden   int    // D, 0 where the graphs read ids
	table    *table // embeddings, nil where the graphs read ids

	prompt, generation, commit *graph                   // commit is nil without memory
	files                      map[string]*litert.Model // of TFLite, by name

	ran func(graph string, outputs []ir.Port, tensor func(name string) ort.Tensor) // see Options
}

// state is a layer's "key" or "value", whose numbers are float32 or codes.
type state struct {
	role  string
	layer int
}

// kind is a kind of layers: what they store and see, and how they turn their keys.
type kind struct {
	manifest.Kind
	sizes  schedule.Sizes
	scored bool // a score is kept with every token
}

// graph is a loaded graph and what the manifest says of it.
type graph struct {
	manifest.Graph
	session session
}

// Open loads an exported folder. It fails if a file is not the one that was exported: an
// altered weight would only be seen in what the model writes.
func Open(dir string, o Options) (*Model, error) {
	info, err := manifest.Read(dir)
	if err != nil {
		return nil, err
	}
	if errs := info.VerifyFiles(dir, filehash.Sum); errs != nil {
		return nil, fmt.Errorf("open %s: %w; export again, or copy the folder again", dir, errors.Join(errs...))
	}
	m := &Model{logTerm: info.MemoryColumn == manifest.ColumnLogTokens, features: info.Features, scale: float32(info.MemoryScale), decay: info.RetentionDecay, empty: info.EmptyTokens, ran: o.Ran}
	if err := m.choose(info, o); err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	m.mask = float32(info.MaskOf(m.Precision))
	if err := m.load(dir, info, o); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// load opens the graphs and the embedding table.
func (m *Model) load(dir string, info *manifest.Manifest, o Options) error {
	// Every session has threads of its own; those of the graphs that are idle must not
	// take the cores from the one that runs.
	// Above level basic, products with 4-bit weights round the activations to 8 bits unless
	// told otherwise.
	options := ort.Options{Level: o.Level, Threads: o.Threads, Lean: o.Lean, Config: map[string]string{ort.AllowSpinning: "0", ort.AccuracyLevel: "1"}}
	graphs := info.Of(m.Shape.Name, m.Precision)
	for _, g := range []struct {
		kind string
		into **graph
	}{{manifest.PromptGraph, &m.prompt}, {manifest.GenerationGraph, &m.generation}, {manifest.CommitGraph, &m.commit}} {
		listed, ok := graphs[g.kind]
		if !ok && g.kind == manifest.CommitGraph && info.Features == 0 {
			continue
		}
		if !ok {
			return fmt.Errorf("open %s: the manifest must list a %s graph for %s in %s", dir, g.kind, m.Shape.Name, m.Precision)
		}
		session, err := m.open(dir, listed, o.Alter, options)
		if err != nil {
			return err
		}
		*g.into = &graph{listed, session}
	}
	if err := errors.Join(m.readSizes(), m.readKinds(info)); err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	return m.readTable(dir, info)
}

// choose finds shape and precision in the manifest.
func (m *Model) choose(info *manifest.Manifest, o Options) error {
	names := []string{}
	for _, s := range info.Shapes {
		names = append(names, s.Name)
		if s.Name == o.Shape || o.Shape == "" && m.Shape.Name == "" {
			m.Shape = s
		}
	}
	if m.Shape.Name == "" {
		return fmt.Errorf("there is no shape %q; the folder has %s", o.Shape, strings.Join(names, ", "))
	}
	precisions := info.Precisions()
	m.Precision = o.Precision
	if o.Precision == "" {
		m.Precision = precisions[len(precisions)-1]
	}
	if !slices.Contains(precisions, m.Precision) {
		return fmt.Errorf("there are no graphs in %q; the folder has %s", o.Precision, strings.Join(precisions, ", "))
	}
	return nil
}

// readSizes takes the sizes of the model from the generation graph's ports, to which
// every tensor is held when it is bound.
func (m *Model) readSizes() error {
	g := m.generation.Graph
	key, hasKey := find(g.Inputs, "key", 0)
	logits, hasLogits := find(g.Outputs, "logits", none)
	if !hasKey || len(key.Shape) != 4 || !hasLogits || len(logits.Shape) != 3 {
		return errors.New("the generation graph must have a key cache of four axes and logits of three")
	}
	for _, p := range g.Inputs {
		if p.Role == "key" {
			m.layers++
		}
	}
	m.heads, m.headDim, m.vocab = key.Shape[0], key.Shape[2], logits.Shape[2]
	if embeds, ok := find(g.Inputs, "embeds", none); ok && len(embeds.Shape) == 3 {
		m.hidden = embeds.Shape[2]
	}
	m.codes = map[state]ir.DType{}
	for _, p := range g.Inputs {
		if p.Layer == nil {
			continue
		}
		dtype, err := ir.ParseDType(p.DType)
		if err != nil {
			return err
		}
		m.codes[state{p.Role, *p.Layer}] = dtype
	}
	_, m.gated = find(g.Outputs, "write", 0)
	return nil
}

// readKinds takes what the manifest says of the kinds of layers that there are.
func (m *Model) readKinds(info *manifest.Manifest) error {
	m.kindOf = slices.Repeat([]int{none}, m.layers)
	for i, k := range info.Kinds {
		if 2*len(k.Rope.InvFreq) > m.headDim {
			return fmt.Errorf("kinds[%d].rope.inv_freq has %d frequencies for heads of %d; want at most half as many", i, len(k.Rope.InvFreq), m.headDim)
		}
		for _, l := range k.Layers {
			if l >= m.layers {
				return fmt.Errorf("kinds[%d] has layer %d, but the graphs have layers 0 to %d", i, l, m.layers-1)
			}
			m.kindOf[l] = i
		}
		sizes := m.Shape.Sizes()
		if k.Slotless {
			sizes.Slots = 0
		}
		m.kinds = append(m.kinds, kind{k, sizes, sizes.Slots > 0 || m.gated})
	}
	if l := slices.Index(m.kindOf, none); l >= 0 {
		return fmt.Errorf("layer %d is of none of the kinds", l)
	}
	m.plan = schedule.Plan{Absolute: info.Positions == string(model.PositionsAbsolute), Routing: true}
	for l := range m.layers {
		m.plan.Layers = append(m.plan.Layers, m.layerKind(l).sizes)
	}
	return nil
}

// layerKind returns the kind of a layer.
func (m *Model) layerKind(layer int) kind { return m.kinds[m.kindOf[layer]] }

// readTable opens the embedding table where the graphs need one.
func (m *Model) readTable(dir string, info *manifest.Manifest) error {
	if m.hidden == 0 {
		return nil
	}
	var err error
	file := info.EmbeddingsOf(m.Precision)
	if m.table, err = openTable(dir, file); err != nil {
		return err
	}
	if m.table.size != m.hidden {
		return fmt.Errorf("%s: tensor %s has shape [%d %d], but the graphs read rows of %d", file, manifest.Embedding, m.table.rows, m.table.size, m.hidden)
	}
	return nil
}

// none stands for the layer of a port that belongs to none.
const none = -1

// find returns the port of a role and a layer.
func find(ports []manifest.Port, role string, layer int) (manifest.Port, bool) {
	for _, p := range ports {
		if p.Role == role && (p.Layer == nil && layer == none || p.Layer != nil && *p.Layer == layer) {
			return p, true
		}
	}
	return manifest.Port{}, false
}

// Close frees the graphs. Streams over them must be closed before.
func (m *Model) Close() error {
	var open []io.Closer
	for _, g := range []*graph{m.prompt, m.generation, m.commit} {
		if g != nil {
			open = append(open, g.session)
		}
	}
	for _, f := range m.files {
		open = append(open, f)
	}
	if m.table != nil {
		open = append(open, m.table.file)
	}
	return closeAll(open...)
}

// bind makes tensors for a graph's inputs and outputs, sharing those given.
func (m *Model) bind(g *graph, given map[string]ort.Tensor) (*bound, error) {
	binding, err := g.session.Bind(given)
	if err != nil {
		return nil, err
	}
	return &bound{binding: binding, graph: g.Graph, codes: m.codes, ran: m.ran, outputs: g.session.Outputs()}, nil
}

// bound is a graph with its tensors. The first tensor that is missing or of another
// shape than it should be is kept in err.
type bound struct {
	binding
	graph   manifest.Graph
	codes   map[state]ir.DType
	given   []numbers // what the host writes anew for each run
	made    []numbers // what it reads after each run
	outputs []ir.Port
	ran     func(graph string, outputs []ir.Port, tensor func(name string) ort.Tensor) // see Options
	err     error
}

// Run stores what the host has written, runs the graph, and reads what it made.
func (b *bound) Run() error {
	for _, n := range b.given {
		n.store()
	}
	if err := b.binding.Run(); err != nil {
		return err
	}
	for _, n := range b.made {
		n.read()
	}
	if b.ran != nil {
		b.ran(b.graph.Name, b.outputs, b.Tensor)
	}
	return nil
}

func (b *bound) input(role string, layer int, shape ...int) ort.Tensor {
	return b.tensor(b.graph.Inputs, role, layer, shape)
}

func (b *bound) output(role string, layer int, shape ...int) ort.Tensor {
	return b.tensor(b.graph.Outputs, role, layer, shape)
}

func (b *bound) tensor(ports []manifest.Port, role string, layer int, shape []int) ort.Tensor {
	p, ok := find(ports, role, layer)
	t := b.Tensor(p.Name)
	same := slices.EqualFunc(t.Shape, shape, func(x int64, y int) bool { return x == int64(y) })
	if b.err == nil && (!ok || !same) {
		b.err = fmt.Errorf("graph %s: the %s of layer %d (%q) has the shape %v, want %v", b.graph.Name, role, layer, p.Name, t.Shape, shape)
	}
	return t
}

// write returns the numbers of an input for the host to write before each run.
func (b *bound) write(role string, layer int, shape ...int) []float32 {
	n := b.numbers(b.graph.Inputs, role, layer, shape)
	b.given = append(b.given, n)
	return n.floats
}

// read returns the numbers of an output after each run.
func (b *bound) read(role string, layer int, shape ...int) []float32 {
	n := b.numbers(b.graph.Outputs, role, layer, shape)
	b.made = append(b.made, n)
	return n.floats
}

// numbers returns those of a port.
func (b *bound) numbers(ports []manifest.Port, role string, layer int, shape []int) numbers {
	t := b.tensor(ports, role, layer, shape)
	if b.err != nil {
		return numbers{}
	}
	if x, ok := t.Data.([]float32); ok {
		return numbers{floats: x}
	}
	p, _ := find(ports, role, layer)
	_, half := t.Data.([]float16.Float16)
	if !half && p.Encoding == nil {
		b.err = fmt.Errorf("graph %s: the %s (%q) holds %T, want float32, float16, or codes with an encoding in the manifest", b.graph.Name, role, p.Name, t.Data)
		return numbers{}
	}
	n := numbers{stored: t.Data}
	if !half {
		n.encoding = *p.Encoding
	}
	size := 1
	for _, s := range shape {
		size *= s
	}
	n.floats = make([]float32, size)
	return n
}

// keyTokens returns a tensor [K,1,d,n] of a layer as tokens, valueTokens one of [K,1,n,d].
func (b *bound) keyTokens(get func(role string, layer int, shape ...int) ort.Tensor, layer int, shape ...int) tokens {
	return b.tokens(get("key", layer, shape...), state{"key", layer}, 3, 2, true)
}

func (b *bound) valueTokens(get func(role string, layer int, shape ...int) ort.Tensor, layer int, shape ...int) tokens {
	return b.tokens(get("value", layer, shape...), state{"value", layer}, 2, 3, false)
}

func (b *bound) tokens(t ort.Tensor, s state, n, d int, transposed bool) tokens {
	dtype, _, err := ir.DataType(t.Data)
	if want := b.codes[s]; b.err == nil && (err != nil || dtype != want) {
		b.err = fmt.Errorf("graph %s: the %s of layer %d is %T, want %s as in the cache", b.graph.Name, s.role, s.layer, t.Data, want)
	}
	if b.err != nil {
		return tokens{}
	}
	return tokens{data: t.Data, n: int(t.Shape[n]), d: int(t.Shape[d]), transposed: transposed}
}

// shared picks the input tensors that another graph has under the same names.
func (b *bound) shared(other manifest.Graph, roles ...string) map[string]ort.Tensor {
	given := map[string]ort.Tensor{}
	for _, p := range other.Inputs {
		if t := b.Tensor(p.Name); slices.Contains(roles, p.Role) && t.Data != nil {
			given[p.Name] = t
		}
	}
	return given
}
