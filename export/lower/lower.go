// Package lower turns a model with its block into ONNX graphs of fixed shape. The
// main graph is the block's own description (model.Forward) carried out with ONNX
// nodes for steps; the commit graph is the memory's write. Both use only the ops that
// phone runtimes have, so their formulas are worded in those. All is computed in float:
// encodings are attributes of values, and how they are written is the emitter's choice
// (export/emit).
package lower

import (
	"fmt"
	"slices"
	"strings"

	"eisft/export/ir"
	"eisft/export/manifest"
	"eisft/internal/enum"
	"eisft/model"
	"eisft/quant"
)

// MaskValue is what the additive mask of float graphs holds where there is nothing to see.
// It is finite, since a row of -Inf would become NaN, and within float16. That of graphs with
// integer attention follows from their scores (quant.Quantized.MaskValue).
const MaskValue = -1e4

// Inputs says what the main graphs read.
type Inputs string

// Logits says of which tokens the prompt graph computes logits. The generation graph
// always has those of its one token.
type Logits string

// The values of the options.
const (
	InputEmbeds Inputs = "embeds" // rows of the embedding table, looked up by the host
	InputIDs    Inputs = "ids"    // token ids

	LogitsAll  Logits = "all"
	LogitsLast Logits = "last"
	LogitsNone Logits = "none" // the generation graph reads the prompt's last token
)

// ParseInputs reads the option as the command line has it.
func ParseInputs(s string) (Inputs, error) {
	return Inputs(s), enum.Check("inputs", Inputs(s), InputEmbeds, InputIDs)
}

// ParseLogits reads the option as the command line has it.
func ParseLogits(s string) (Logits, error) {
	return Logits(s), enum.Check("logits", Logits(s), LogitsAll, LogitsLast, LogitsNone)
}

// Source is what graphs are made from.
type Source struct {
	Model     *model.Model     // its Spec has the sizes of the shape: C = S+R+W+L
	Quantized *quant.Quantized // gives values their encodings; nil: they have none
	Inputs    Inputs
	Logits    Logits
	// MaskBytes is the most that the mask may take as it is added to a layer's scores, of all
	// heads in 16 bits: more is added in pieces of fewer tokens. 0: no bound.
	MaskBytes int
	// Cuts are the layers before which main graphs are to be cut ([Ports.Cuts]): 0 is behind the
	// embedding, which needs graphs that read ids, and as many as there are layers is before
	// lm_head and its norm.
	Cuts []int
}

// Ports say what a graph's inputs and outputs carry, in order. Their types are for the
// emitter to choose.
type Ports struct {
	Inputs, Outputs []Port
	// Cuts are the values of the residual stream at Source.Cuts, with the ports that they become.
	Cuts []Cut
}

// Cut is where a graph may be divided.
type Cut struct {
	Port
	Value *ir.Value
}

// Port is an input or output; a nil layer is none.
type Port struct {
	Name, Role string
	Layer      *int
	Axes       []string // what each axis counts
}

// Main builds the graph that reads the given number of new tokens beside a cache of
// C. An error of its construction stays in g.
func (s Source) Main(g *ir.Graph, tokens int) Ports {
	b := &builder{Graph: g, src: s, tokens: tokens}
	x := b.tokenInput()
	b.positionInputs()
	b.stateInputs()
	defer b.FloatRegion()()
	for _, v := range b.views {
		b.prepare(v)
	}
	for i, l := range s.Model.Base.Layers {
		b.cutBefore(i, x)
		x = b.forward(i, l, x)
	}
	b.cutBefore(len(s.Model.Base.Layers), x)
	b.logits(x, tokens)
	for i, st := range b.states {
		b.output(b.port("past_key_%d_out", "key", keyAxes, i), st.newKey)
		b.output(b.port("past_value_%d_out", "value", valueAxes, i), st.newValue)
	}
	for i, st := range b.states {
		if st.score != nil {
			name, role := scoreName(s.Model.Spec)
			b.output(port{name: fmt.Sprintf(name, i), role: role, axes: "kv_head batch token one", layer: &i}, st.score)
		}
	}
	return b.ports
}

// HiddenPrefix begins the names of what passes between parts; the number of the layer before
// which the cut is follows.
const HiddenPrefix = "hidden_"

// cutBefore notes a cut in the residual stream before a layer, where there is to be one.
func (b *builder) cutBefore(layer int, x *ir.Value) {
	if slices.Contains(b.src.Cuts, layer) {
		p := port{name: fmt.Sprintf("%s%d", HiddenPrefix, layer), role: manifest.Hidden, axes: "batch token hidden"}
		b.ports.Cuts = append(b.ports.Cuts, Cut{p.describe(), x})
	}
}

// scoreName gives name and role of the score that is kept with every token.
func scoreName(s model.Spec) (name, role string) {
	if s.Slots > 0 {
		return "retention_%d_out", "retention"
	}
	return "write_%d_out", "write"
}

// What the axes of keys, values and the memory count.
const (
	keyAxes    = "kv_head batch head_dim token"
	valueAxes  = "kv_head batch token head_dim"
	memoryAxes = "kv_head batch feature head_dim"
	massAxes   = "kv_head batch feature one"
)

// builder holds what the layers of one graph share.
type builder struct {
	*ir.Graph
	src    Source
	tokens int // T
	ports  Ports
	states []*state // of the layers

	views                  []*view // of the kinds of layers
	pastKey, pastValue     []*ir.Value
	pastMemory, pastWeight []*ir.Value
}

// port describes an input or output; a nil layer is none, a point "" has no encoding.
type port struct {
	name, role, axes string
	layer            *int
	point            string
}

// port is that of a layer's key or value, which is carried in codes where the cache is
// quantized.
func (b *builder) port(name, role, axes string, i int) port {
	l := b.src.Model.Base.Layers[i]
	point := quant.ValuePoint(l)
	if role == "key" {
		point = quant.KeyPoint(l)
	}
	return port{name: fmt.Sprintf(name, i), role: role, axes: axes, layer: &i, point: point}
}

// input adds a float32 input with the encoding of its point.
func (b *builder) input(p port, shape ...int) *ir.Value {
	v := b.Input(p.name, ir.Float32, shape...)
	b.ports.Inputs = append(b.ports.Inputs, p.describe())
	if p.point != "" {
		return b.encode(v, p.point)
	}
	return v
}

// output makes v an output with the encoding of its point.
func (b *builder) output(p port, v *ir.Value) {
	o := b.Output(p.name, v)
	if e := b.point(p.point); e != nil {
		o.Encode(p.point, e.Encoding)
	}
	b.ports.Outputs = append(b.ports.Outputs, p.describe())
}

// point returns a point of the quantized model, nil where there is none.
func (b *builder) point(name string) *quant.Point {
	if b.src.Quantized == nil {
		return nil
	}
	return b.src.Quantized.Point(name)
}

func (p port) describe() Port {
	return Port{Name: p.name, Role: p.role, Layer: p.layer, Axes: strings.Fields(p.axes)}
}

// tokenInput adds what the graph reads and returns the embeddings [1,T,D].
func (b *builder) tokenInput() *ir.Value {
	base := b.src.Model.Base
	if b.src.Inputs == InputEmbeds {
		return b.input(port{name: "input_embeds", role: "embeds", axes: "batch token hidden", point: quant.EmbeddingPoint}, 1, b.tokens, base.Dims.Hidden)
	}
	ids := b.Input("input_ids", ir.Int32, 1, b.tokens)
	b.ports.Inputs = append(b.ports.Inputs, port{name: "input_ids", role: "ids", axes: "batch token"}.describe())
	shape := []int{base.Embed.Out, base.Embed.In}
	table := b.Stored(manifest.Embedding, ir.Float32, shape, func() (ir.Tensor, error) {
		return ir.NewTensor(shape, Embeddings(base))
	})
	defer b.FloatRegion()()
	return b.encode(b.Gather(table, ids), quant.EmbeddingPoint)
}

// Embeddings returns the rows that enter the first layer [V,D]: the embedding table,
// scaled where the family scales it.
func Embeddings(b *model.Base) []float32 {
	table := make([]float32, b.Embed.Out*b.Embed.In)
	EmbeddingRows(b, table, 0, b.Embed.Out)
	return table
}

// EmbeddingRows writes rows [lo,hi) of Embeddings [hi-lo,D].
func EmbeddingRows(b *model.Base, dst []float32, lo, hi int) {
	b.Embed.Rows(dst, lo, hi)
	b.FinishEmbeddings(dst)
}

// Suffix stands behind the names of the mask and the rotary tables of a layer's kind:
// layers with a sliding window see less than the others, and may turn their keys
// otherwise; some layers do not turn theirs; layers without slots, in a block that has
// them, store less.
func Suffix(m *model.Model, l *model.Layer) string {
	return manifest.Suffix(l.SlidingWindow > 0, l.Rotary.None(), Slotless(m.Spec, l.Index))
}

// Slotless says whether a layer has no slots though the block has them.
func Slotless(s model.Spec, layer int) bool { return s.Slots > 0 && s.At(layer).Slots == 0 }

// positionInputs adds the masks and rotary tables of each kind of layers, in the order
// in which the kinds come.
func (b *builder) positionInputs() {
	for _, l := range b.src.Model.Base.Layers {
		if b.viewOf(l) == nil {
			b.views = append(b.views, b.viewInputs(l))
		}
	}
}

// viewOf returns what a layer sees.
func (b *builder) viewOf(l *model.Layer) *view {
	for _, v := range b.views {
		if v.suffix == Suffix(b.src.Model, l) {
			return v
		}
	}
	return nil
}

// viewInputs adds the inputs of a layer's kind.
func (b *builder) viewInputs(l *model.Layer) *view {
	spec, suffix, pairs := b.src.Model.Spec.At(l.Index), Suffix(b.src.Model, l), len(l.Rotary.InvFreq)
	c := spec.Capacity()
	table := func(name string, n int) *ir.Value {
		return b.input(port{name: name + suffix, role: name + suffix, axes: "batch head token pair", point: quant.RotaryPoint}, 1, 1, n, pairs)
	}
	v := &view{suffix: suffix, cache: c}
	v.mask = b.input(port{name: "attention_mask" + suffix, role: "mask" + suffix, axes: "batch head token key", point: quant.MaskPoint}, 1, 1, b.tokens, c+b.tokens+1)
	if pairs == 0 {
		return v
	}
	v.cos, v.sin = table("position_cos", b.tokens), table("position_sin", b.tokens)
	if spec.Positions == model.PositionsCompact {
		v.cacheCos, v.cacheSin = table("cache_cos", c), table("cache_sin", c)
	}
	return v
}

// stateInputs adds the caches of all layers, and after them the memories.
func (b *builder) stateInputs() {
	d := b.src.Model.Base.Dims
	for i := range b.src.Model.Base.Layers {
		c := b.src.Model.Spec.At(i).Capacity()
		b.pastKey = append(b.pastKey, b.input(b.port("past_key_%d_in", "key", keyAxes, i), d.KVHeads, 1, d.HeadDim, c))
		b.pastValue = append(b.pastValue, b.input(b.port("past_value_%d_in", "value", valueAxes, i), d.KVHeads, 1, c, d.HeadDim))
	}
	b.memoryInputs()
}

// memoryInputs adds the memories of all layers, where the block has one.
func (b *builder) memoryInputs() {
	if !b.src.Model.Spec.HasMemory() {
		return
	}
	d := b.src.Model.Base.Dims
	features := b.src.Model.Spec.FeatureSize(d.HeadDim)
	for i := range b.src.Model.Base.Layers {
		b.pastMemory = append(b.pastMemory, b.input(port{name: fmt.Sprintf("past_mem_%d_in", i), role: "memory", axes: memoryAxes, layer: &i}, d.KVHeads, 1, features, d.HeadDim))
		b.pastWeight = append(b.pastWeight, b.input(port{name: fmt.Sprintf("past_memz_%d_in", i), role: "memory_mass", axes: massAxes, layer: &i}, d.KVHeads, 1, features, 1))
	}
}
