package check

import (
	"math"
	"path/filepath"
	"slices"

	"eisft/export/ir"
	"eisft/export/onnxpb"
)

// partBytes is the size of a part above which phone runtimes refuse or map badly.
const partBytes = 2 << 30

// allowedOps maps each op of fixed-shape graphs to the index of its first input
// that must be constant; -1 where none has to be.
var allowedOps = map[string]int{
	"MatMul": -1, "Conv": 1,
	"Add": -1, "Sub": -1, "Mul": -1, "Div": -1, "Max": -1, "Min": -1,
	"Sqrt": -1, "Sigmoid": -1, "Relu": -1, "Tanh": -1, "Softmax": -1,
	"ReduceMean": 1, "ReduceSum": 1,
	"Concat": -1, "Slice": 1, "Split": 1, "Reshape": 1, "Transpose": -1, "Gather": -1,
	"QuantizeLinear": 1, "DequantizeLinear": 1,
}

// checkOpset: the default domain is imported, and new enough for the types in use.
func checkOpset(g *graph) {
	opset := int64(0)
	for _, o := range g.Proto.GetOpsetImport() {
		if o.GetDomain() == "" || o.GetDomain() == "ai.onnx" {
			opset = o.GetVersion()
		}
	}
	if opset < 17 {
		g.report(Error, "", "opset %d of ONNX's own domain, want 17 or above", opset)
		return
	}
	for _, n := range g.nodes {
		if e, ok := g.encodings[n]; ok && opset < 21 && (e.Bits != 8 || e.Block > 0) {
			g.report(Error, nodeName(n), "%s codes or blocks need opset 21, the file has %d", e.Type(), opset)
		}
	}
}

// checkNodes: only ops of the subset, each reading values that exist by then.
func checkNodes(g *graph) {
	known := map[string]bool{"": true}
	for name := range g.ports {
		if g.isConstant(name) {
			known[name] = true
		}
	}
	for _, p := range g.Inputs {
		known[p.Name] = true
	}
	for _, n := range g.nodes {
		g.checkOp(n)
		for _, name := range n.GetInput() {
			if !known[name] {
				g.report(Error, nodeName(n), "it reads %q, which nothing before it makes", name)
			}
		}
		for _, name := range n.GetOutput() {
			if known[name] && name != "" {
				g.report(Error, nodeName(n), "its result %q exists already", name)
			}
			known[name] = true
		}
	}
	for _, p := range g.Outputs {
		if !known[p.Name] {
			g.report(Error, p.Name, "nothing makes this output")
		}
	}
}

func (g *graph) checkOp(n *onnxpb.NodeProto) {
	op := n.GetOpType()
	constant, ok := allowedOps[op]
	if !ok || n.GetDomain() != "" && n.GetDomain() != "ai.onnx" {
		if n.GetDomain() != "" {
			op = n.GetDomain() + "." + op
		}
		g.report(Error, nodeName(n), "%s is not in the op subset of fixed-shape graphs", op)
		return
	}
	for i := constant; i >= 0 && i < len(n.GetInput()); i++ {
		if name := input(n, i); name != "" && !g.isConstant(name) {
			g.report(Error, nodeName(n), "%s: input %d, %q, must be a constant", op, i, name)
		}
	}
	rank := len(g.ports[input(n, 0)].Shape)
	switch axis := intAttr(n, "axis", -1); {
	case op == "Softmax" && axis != -1 && axis != rank-1:
		g.report(Error, nodeName(n), "Softmax along axis %d of %d: only the last one is allowed", axis, rank)
	case op == "Conv" && slices.ContainsFunc(g.kernel(n), func(k int64) bool { return k != 1 }):
		g.report(Error, nodeName(n), "Conv with the kernel %v: only 1x1 is allowed", g.kernel(n))
	case op == "Gather" && !g.isInput(input(n, 1)):
		g.report(Error, nodeName(n), "Gather by %q: only the lookup of the input ids is allowed", input(n, 1))
	}
}

// kernel is a Conv's kernel: the attribute, or else the weight's axes from 2 on.
func (g *graph) kernel(n *onnxpb.NodeProto) []int64 {
	if k := intsAttr(n, "kernel_shape"); k != nil {
		return k
	}
	shape := g.ports[input(n, 1)].Shape
	return shape[min(2, len(shape)):]
}

func (g *graph) isInput(name string) bool {
	return slices.ContainsFunc(g.Inputs, func(p ir.Port) bool { return p.Name == name })
}

// checkShapes: every value's shape is in the file, static, of rank 4 at most; its
// type is one of the contract's, and int64 is for constants alone.
func checkShapes(g *graph) {
	check := func(name string) {
		p, ok := g.ports[name]
		switch {
		case !ok || p.Shape == nil:
			g.report(Error, name, "the file gives no shape for it")
		case !p.Static() || slices.Contains(p.Shape, 0):
			g.report(Error, name, "shape %v: every size must be a fixed number above 0", p.Shape)
		case len(p.Shape) > ir.MaxRank:
			g.report(Error, name, "shape %v has rank %d, above %d", p.Shape, len(p.Shape), ir.MaxRank)
		}
		if ok && (p.DType.Bits() == 0 || p.DType == ir.Int64) {
			g.report(Error, name, "it is of %s, which fixed-shape graphs do not compute with", p.DType)
		}
	}
	for _, p := range g.Inputs {
		check(p.Name)
	}
	for _, n := range g.nodes {
		for _, name := range n.GetOutput() {
			check(name)
		}
	}
}

// checkConstants: the bytes of every constant are there, and small float constants
// are finite, since a mask of -inf turns an empty row into NaN.
func checkConstants(g *graph) {
	folder := filepath.Dir(g.Path)
	for _, pb := range g.Proto.GetGraph().GetInitializer() {
		if pb.GetDataLocation() == onnxpb.TensorProto_EXTERNAL {
			at, err := ir.ExternalOf(pb)
			if err == nil {
				err = at.Verify(folder)
			}
			if err != nil {
				g.report(Error, pb.GetName(), "%v", err)
			}
			continue
		}
		t, err := g.Tensor(pb.GetName())
		if err != nil {
			g.report(Error, pb.GetName(), "%v", err)
			continue
		}
		if values, err := t.Floats(); err == nil && slices.ContainsFunc(values, infinite) {
			g.report(Error, pb.GetName(), "the constant holds a value that is not finite")
		}
	}
}

func infinite(x float32) bool { return math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) }

// checkSize: a part and the weights it refers to stay below 2 GiB.
func checkSize(g *graph) {
	size, seen := g.Bytes, map[ir.External]bool{}
	for _, pb := range g.Proto.GetGraph().GetInitializer() {
		if pb.GetDataLocation() != onnxpb.TensorProto_EXTERNAL {
			continue
		}
		if at, err := ir.ExternalOf(pb); err == nil && !seen[at] {
			seen[at] = true
			size += at.Length
		}
	}
	if size > partBytes {
		g.report(Warning, "", "graph and weights take %.1f GiB, above 2 GiB: split the export into more parts", float64(size)/(1<<30))
	}
}
