package ir

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"eisft/quant/encoding"
)

// MaxRank is the highest rank the phone runtimes take.
const MaxRank = 4

// inlineBytes is the size up to which a constant stays inside the .onnx file.
const inlineBytes = 1024

// Options of a graph.
type Options struct {
	// Opset is 21 (IR 10, the default) or 17 (IR 8: float graphs and 8-bit Q/DQ only).
	Opset int
	// Weights holds the constants above 1 KiB. Nil keeps all of them in the .onnx file.
	Weights *Weights
	// Half makes everything float16 that is float32 in the graph that is copied.
	Half bool
}

// Graph is an ONNX graph under construction. Every op returns its result at once,
// with type and shape. The first error sticks: later ops do nothing, and Err, Model
// and WriteFile return it.
type Graph struct {
	name      string
	opset     int
	weights   *Weights
	inputs    []*Value
	outputs   []*Output
	constants []*Value
	nodes     []*Node
	metadata  map[string]string

	names     map[string]int    // names in use, with the next suffix to try
	shared    map[string]*Value // inline constants by content, stored ones by name
	scope     []string
	keepFloat bool // in a FloatRegion
	composite *Composite
	point     string // what the Q and DQ nodes being added encode
	half      bool   // see Options
	err       error
}

// Value is a tensor of a graph: an input, a constant or a node's result.
type Value struct {
	graph    *Graph
	name     string
	dtype    DType
	shape    []int
	producer *Node
	constant *constant
	encoded  *Encoded
}

// Encoded is the encoding of a value, an attribute that every emitter writes in its own
// way: as Q and DQ nodes, as types of tensors, as a file beside the graph, or not at all.
type Encoded struct {
	encoding.Encoding
	Point string  // what is encoded, as the quantized model calls it
	codes *source // of a constant: its codes
}

// Output is an output of a graph. It carries what Value holds under a name of its own
// and, where it is encoded, as codes.
type Output struct {
	Name    string
	Value   *Value
	encoded *Encoded
}

// source makes a constant when it is needed.
type source struct {
	name string
	load func() (Tensor, error)
}

type constant struct {
	Tensor
	stored string  // name in the weights file, "" for a constant inside the .onnx file
	source *source // nil where the tensor is there
}

// Node is an op of a graph with what it reads and makes.
type Node struct {
	op        string
	inputs    []*Value
	outputs   []*Value
	attrs     []attr
	keepFloat bool
	composite *Composite
	scope     []string
	point     string // of Q and DQ
}

// attr is a node attribute: an int or a []int.
type attr struct {
	name  string
	value any
}

// Name is the value's name in the ONNX file.
func (v *Value) Name() string { return v.name }

// DType is the value's element type.
func (v *Value) DType() DType { return v.dtype }

// Shape is the value's shape; it must not be changed.
func (v *Value) Shape() []int { return v.shape }

// Dim is the size along axis; a negative axis counts from the end. It is 0 where
// there is no such axis or an error came before.
func (v *Value) Dim(axis int) int {
	if axis < 0 {
		axis += len(v.shape)
	}
	if axis < 0 || axis >= len(v.shape) {
		return 0
	}
	return v.shape[axis]
}

// NewGraph starts a graph. Its name appears in error messages and in the file.
func NewGraph(name string, o Options) *Graph {
	g := &Graph{
		name: name, opset: o.Opset, weights: o.Weights, half: o.Half,
		names: map[string]int{}, shared: map[string]*Value{}, metadata: map[string]string{},
	}
	if g.opset == 0 {
		g.opset = 21
	}
	if g.opset != 17 && g.opset != 21 {
		g.fail("opset %d: want 17 or 21", g.opset)
	}
	return g
}

// Err returns the first error of the graph's construction.
func (g *Graph) Err() error { return g.err }

// fail records the first error and returns a value that stands for the missing result.
func (g *Graph) fail(format string, args ...any) *Value {
	if g.err == nil {
		where := "graph " + g.name
		if len(g.scope) > 0 {
			where += ", " + strings.Join(g.scope, "/")
		}
		g.err = fmt.Errorf(where+": "+format, args...)
	}
	return &Value{graph: g}
}

// Scope puts name before the names of what is added until leave is called; scopes
// nest: defer g.Scope("layers.0")().
func (g *Graph) Scope(name string) (leave func()) {
	before := g.scope
	g.scope = append(slices.Clone(g.scope), name)
	return func() { g.scope = before }
}

// FloatRegion marks the nodes added until leave is called as unquantized by design
// (norms, gates, memory). Check asks for Q and DQ around all others. The mark is
// node metadata and needs opset 21; a float graph of opset 17 goes without.
func (g *Graph) FloatRegion() (leave func()) { return g.mark(true) }

// Quantizable interrupts a FloatRegion until leave is called.
func (g *Graph) Quantizable() (leave func()) { return g.mark(false) }

func (g *Graph) mark(keepFloat bool) (leave func()) {
	before := g.keepFloat
	g.keepFloat = keepFloat
	return func() { g.keepFloat = before }
}

// Composite is a step for which runtimes may have a kernel of their own: its nodes follow one another,
// the first of them reads what the step reads, and the last one multiplies by its weight.
type Composite struct {
	Name    string
	Epsilon float32
}

// Composite makes the nodes that are added until leave is called those of a step. Only emitters
// that have a word for it take notice.
func (g *Graph) Composite(c *Composite) (leave func()) {
	g.composite = c
	return func() { g.composite = nil }
}

// Point says what the Q and DQ nodes added until leave is called encode. The name is
// node metadata, by which a check finds the encoding that they should have; it needs
// opset 21, too.
func (g *Graph) Point(name string) (leave func()) {
	before := g.point
	g.point = name
	return func() { g.point = before }
}

// OpCounts counts the nodes of each op that the file will have.
func (g *Graph) OpCounts() (map[string]int, error) {
	pb, err := g.Model()
	if err != nil {
		return nil, err
	}
	return (&Model{Proto: pb}).OpCounts(), nil
}

// SetMetadata adds a metadata_props entry to the file.
func (g *Graph) SetMetadata(key, value string) { g.metadata[key] = value }

// Input adds a graph input. Inputs appear in the file in the order of these calls.
func (g *Graph) Input(name string, dtype DType, shape ...int) *Value {
	if g.err != nil {
		return &Value{graph: g}
	}
	if err := g.reserve(name); err != nil {
		return g.fail("input: %w", err)
	}
	v := g.newValue(name, dtype, shape)
	g.inputs = append(g.inputs, v)
	return v
}

// Output makes v a graph output called name. v must be a node's result and not an
// output already, since a second name would need an op that copies.
func (g *Graph) Output(name string, v *Value) *Output {
	o := &Output{Name: name, Value: v}
	if !g.usable("output "+name, v) {
		return o
	}
	if v.producer == nil || g.isOutput(v) {
		g.fail("output %s: %q is an input, a constant or an output already; an output needs a node of its own", name, v.name)
		return o
	}
	if v.name != name {
		if err := g.reserve(name); err != nil {
			g.fail("output: %w", err)
			return o
		}
	}
	g.outputs = append(g.outputs, o)
	return o
}

func (g *Graph) isOutput(v *Value) bool {
	return slices.ContainsFunc(g.outputs, func(o *Output) bool { return o.Value == v })
}

// Encode gives the output an encoding: a quantized graph gives its codes.
func (o *Output) Encode(point string, e encoding.Encoding) *Output {
	o.encoded = o.Value.graph.encoded(o.Value, point, e)
	return o
}

// Encode gives v an encoding and returns it. In a quantized graph, all that reads v reads
// what its codes stand for; an input takes codes.
func (v *Value) Encode(point string, e encoding.Encoding) *Value {
	if v.encoded != nil {
		return v.graph.fail("%s has the encoding of %s; it cannot have that of %s too", v, v.encoded.Point, point)
	}
	v.encoded = v.graph.encoded(v, point, e)
	return v
}

// EncodeAs is Encode of a constant, of which load makes the codes, called name.
func (v *Value) EncodeAs(point string, e encoding.Encoding, name string, load func() (Tensor, error)) *Value {
	if v.Encode(point, e); v.encoded != nil {
		v.encoded.codes = &source{name, load}
	}
	return v
}

// encoded checks that v can have an encoding.
func (g *Graph) encoded(v *Value, point string, e encoding.Encoding) *Encoded {
	if !g.floats("encoding of "+point, v) {
		return nil
	}
	if _, err := e.ParamShape(v.shape); err != nil {
		g.fail("encoding of %s, %s: %w", point, v, err)
		return nil
	}
	return &Encoded{Encoding: e, Point: point}
}

// Named gives v a name within the current scope and returns it; a number is added
// where the name is taken.
func (v *Value) Named(name string) *Value {
	if v.graph.err == nil && v.producer != nil {
		v.name = v.graph.unique(v.graph.scoped(name))
	}
	return v
}

// Const adds a constant; data is as in NewTensor. Equal small constants are one
// initializer, named after the first. A large one goes to the weights file under
// exactly this name, without the scope, so that other graphs find it.
func (g *Graph) Const(name string, shape []int, data any) *Value {
	if g.err != nil {
		return &Value{graph: g}
	}
	t, err := NewTensor(shape, data)
	if err != nil {
		return g.fail("constant %s: %w", name, err)
	}
	return g.tensor(name, t)
}

// Stored adds the constant name from the weights file. Where the file does not have
// it yet, load makes it; so the second graph over the same weights converts nothing. In
// a graph without a weights file load is called when the graph is written, if it is.
func (g *Graph) Stored(name string, dtype DType, shape []int, load func() (Tensor, error)) *Value {
	if g.err != nil {
		return &Value{graph: g}
	}
	if g.weights != nil && g.weights.Has(name) {
		return g.fromWeights(name)
	}
	if g.weights == nil {
		return g.deferred(dtype, shape, &source{name, load})
	}
	t, err := (&source{name, load}).tensor(dtype, shape)
	if err != nil {
		return g.fail("%w", err)
	}
	return g.tensor(name, t)
}

// deferred adds a constant that is not made yet.
func (g *Graph) deferred(dtype DType, shape []int, s *source) *Value {
	if v, ok := g.shared[s.name]; ok {
		return v
	}
	if err := g.reserve(s.name); err != nil {
		return g.fail("constant: %w", err)
	}
	v := g.newValue(s.name, dtype, shape)
	v.constant = &constant{source: s}
	return g.addConstant(s.name, v)
}

// tensor makes the constant.
func (s *source) tensor(dtype DType, shape []int) (Tensor, error) {
	t, err := s.load()
	if err == nil {
		err = t.validate()
	}
	if err == nil && (t.DType != dtype || !slices.Equal(t.Shape, shape)) {
		err = fmt.Errorf("it is %s %v, want %s %v", t.DType, t.Shape, dtype, shape)
	}
	if err != nil {
		return t, fmt.Errorf("constant %s: %w", s.name, err)
	}
	return t, nil
}

// Scalar adds a float32 constant of shape [1].
func (g *Graph) Scalar(v float32) *Value {
	return g.Const(fmt.Sprintf("const_%g", v), []int{1}, []float32{v})
}

func (g *Graph) tensor(name string, t Tensor) *Value {
	if len(t.Raw) > inlineBytes {
		return g.large(name, t)
	}
	key := fmt.Sprintf("%d %v %s", t.DType, t.Shape, t.Raw)
	if v, ok := g.shared[key]; ok {
		return v
	}
	v := g.newValue(g.unique(name), t.DType, t.Shape)
	v.constant = &constant{Tensor: t}
	return g.addConstant(key, v)
}

// large adds a constant under exactly its name.
func (g *Graph) large(name string, t Tensor) *Value {
	if g.weights != nil {
		if err := g.weights.put(name, t); err != nil {
			return g.fail("%w", err)
		}
		return g.fromWeights(name)
	}
	if v, ok := g.shared[name]; ok {
		if c := v.constant; v.dtype != t.DType || !slices.Equal(v.shape, t.Shape) || !bytes.Equal(c.Raw, t.Raw) {
			return g.fail("constant %s: it is there already with other content (%s)", name, v)
		}
		return v
	}
	if err := g.reserve(name); err != nil {
		return g.fail("constant: %w", err)
	}
	v := g.newValue(name, t.DType, t.Shape)
	v.constant = &constant{Tensor: t}
	return g.addConstant(name, v)
}

func (g *Graph) fromWeights(name string) *Value {
	if v, ok := g.shared[name]; ok {
		return v
	}
	if err := g.reserve(name); err != nil {
		return g.fail("constant: %w", err)
	}
	at := g.weights.at(name)
	v := g.newValue(name, at.dtype, at.shape)
	v.constant = &constant{stored: name}
	return g.addConstant(name, v)
}

func (g *Graph) addConstant(key string, v *Value) *Value {
	g.shared[key] = v
	g.constants = append(g.constants, v)
	return v
}

// newValue checks type and shape against the contract: static, rank at most 4.
func (g *Graph) newValue(name string, dtype DType, shape []int) *Value {
	if dtype.Bits() == 0 {
		return g.fail("%s: %s is not a type of fixed-shape graphs", name, dtype)
	}
	if len(shape) > MaxRank {
		return g.fail("%s: shape %v has rank %d, above %d", name, shape, len(shape), MaxRank)
	}
	if slices.ContainsFunc(shape, func(s int) bool { return s < 1 }) {
		return g.fail("%s: shape %v: every size must be at least 1", name, shape)
	}
	if _, err := elements(shape); err != nil {
		return g.fail("%s: %w", name, err)
	}
	return &Value{graph: g, name: name, dtype: dtype, shape: slices.Clone(shape)}
}

func (g *Graph) scoped(name string) string {
	return strings.Join(append(slices.Clone(g.scope), name), "/")
}

// unique reserves name, or name_1, name_2, ... where it is taken.
func (g *Graph) unique(name string) string {
	candidate := name
	for g.reserve(candidate) != nil {
		g.names[name]++
		candidate = fmt.Sprintf("%s_%d", name, g.names[name])
	}
	return candidate
}

func (g *Graph) reserve(name string) error {
	if name == "" {
		return fmt.Errorf("a name is empty")
	}
	if _, taken := g.names[name]; taken {
		return fmt.Errorf("the name %q is taken", name)
	}
	g.names[name] = 0
	return nil
}

// usable tells whether an op may go on with these operands.
func (g *Graph) usable(what string, vs ...*Value) bool {
	for i, v := range vs {
		if g.err != nil {
			return false
		}
		if v == nil || v.graph != g {
			g.fail("%s: operand %d is not a value of this graph", what, i)
		}
	}
	return g.err == nil
}

// add appends a node with one result.
func (g *Graph) add(op string, inputs []*Value, attrs []attr, dtype DType, shape []int) *Value {
	return g.addMulti(op, inputs, attrs, dtype, [][]int{shape})[0]
}

func (g *Graph) addMulti(op string, inputs []*Value, attrs []attr, dtype DType, shapes [][]int) []*Value {
	n := &Node{op: op, inputs: inputs, attrs: attrs, keepFloat: g.keepFloat, composite: g.composite, scope: g.scope}
	for _, shape := range shapes {
		v := g.newValue(g.unique(g.scoped(op)), dtype, shape)
		v.producer = n
		n.outputs = append(n.outputs, v)
	}
	g.nodes = append(g.nodes, n)
	return n.outputs
}
