package plan

import (
	"strings"

	"eisft/export"
	"eisft/export/ir"
	"eisft/export/lower"
	"eisft/model"
	"eisft/quant"
)

// cost is what a run of a graph takes, in seconds: each op the larger of its products and of the
// bytes that it waits for (a roofline, doi:10.1145/1498765.1498785), and its start.
type cost struct {
	seconds         float64
	products, bytes float64 // of all ops: what each would take alone
}

func (c cost) plus(o cost) cost {
	return cost{c.seconds + o.seconds, c.products + o.products, c.bytes + o.bytes}
}

// graphCosts are those of the graphs of a shape.
type graphCosts struct{ prompt, generation, commit cost }

// graphCosts adds up the ops of the graphs that an export would write.
func (p *predictor) graphCosts() (graphCosts, error) {
	source := lower.Source{Model: p.model, Inputs: lower.InputEmbeds, Logits: lower.LogitsLast, MaskBytes: export.MaskBytes(p.device.Target)}
	var all graphCosts
	for _, g := range []struct {
		into  *cost
		build func(*ir.Graph) lower.Ports
	}{
		{&all.prompt, func(g *ir.Graph) lower.Ports { return source.Main(g, p.model.Spec.Segment) }},
		{&all.generation, func(g *ir.Graph) lower.Ports { return source.Main(g, 1) }},
		{&all.commit, source.Commit},
	} {
		if g.into == &all.commit && !p.model.Spec.HasMemory() {
			continue
		}
		graph := ir.NewGraph("plan", ir.Options{})
		g.build(graph)
		if err := graph.Err(); err != nil {
			return all, err
		}
		*g.into = p.graph(graph)
	}
	return all, nil
}

// graph is the cost of a run.
func (p *predictor) graph(g *ir.Graph) cost {
	total := cost{seconds: p.device.Start / 1e3}
	for _, n := range g.Live() {
		total = total.plus(p.op(n))
	}
	return total
}

// op is the cost of an op: see Ops for what is known of a device.
func (p *predictor) op(n *ir.Node) cost {
	d := p.device
	c := cost{}
	switch {
	case n.Products() > 0:
		c.products, c.bytes = p.product(n)
	case n.Op() == "Reshape":
	case n.Op() == "Softmax" && d.Ops.Softmax > 0:
		c.bytes = numbers(n.Outputs()) / (1e9 * d.Ops.Softmax)
	default:
		c.bytes = d.Ops.seconds(float64(p.activationBytes()) * moved(n))
	}
	c.seconds = max(c.products, c.bytes) + d.Ops.Each/1e6
	return c
}

// nearBytes is what an op may read and make for its values to come from caches.
const nearBytes = 4 << 20

// seconds is the time of moving bytes, 0 where nothing is known.
func (o Ops) seconds(bytes float64) float64 {
	rate := o.Moved
	if bytes <= nearBytes && o.Near > 0 {
		rate = o.Near
	}
	if rate == 0 {
		return 0
	}
	return bytes / (1e9 * rate)
}

// product is the time of a product, and that of reading its second factor.
func (p *predictor) product(n *ir.Node) (products, bytes float64) {
	k, size := p.factor(n.Inputs()[1])
	rate, _ := p.device.rate(k) // there is one, see lacks
	if own := p.device.Ops.Products; own > 0 && !n.Inputs()[1].IsConstant() {
		rate = own * 1e12
	}
	return 2 * n.Products() / rate, size / (p.device.Bandwidth * 1e9 * p.device.BandwidthShare)
}

// factor is what is multiplied where v is the second factor, and the bytes of that: weights of a
// map or of the head, keys or values of the cache and the new tokens, or something of the memory.
func (p *predictor) factor(v *ir.Value) (kind, float64) {
	maps, head, attention := kindsOf(p.scheme)
	_, _, _, cache := p.bits()
	float := float64(p.floatBytes())
	name, frozen := strings.CutSuffix(v.Name(), ".weight")
	switch l := p.maps[name]; {
	case frozen && l == p.model.Base.Head:
		return head, float64(p.mapBytes(l))
	case frozen && l != nil:
		return maps, float64(p.mapBytes(l))
	case p.ofPlaces(v):
		return attention, numbers([]*ir.Value{v}) * float64(bytesOf(cache, p.floatBytes()))
	}
	return kind{}, numbers([]*ir.Value{v}) * float
}

// ofPlaces tells whether v are keys [K,1,d,C+T] or values [K,1,C+T,d].
func (p *predictor) ofPlaces(v *ir.Value) bool {
	if v.IsConstant() || len(v.Shape()) != 4 {
		return false
	}
	for i := range p.model.Base.Layers {
		c := p.model.Spec.At(i).Capacity()
		for _, tokens := range []int{1, p.model.Spec.Segment} {
			if n, d := c+tokens, p.model.Base.Dims.HeadDim; v.Dim(2) == d && v.Dim(3) == n || v.Dim(2) == n && v.Dim(3) == d {
				return true
			}
		}
	}
	return false
}

// activationBytes is the size of a number between ops.
func (p *predictor) activationBytes() int {
	activation, _, _, _ := p.bits()
	return bytesOf(activation, p.floatBytes())
}

// moved counts the numbers that an op reads and makes.
func moved(n *ir.Node) float64 { return numbers(n.Inputs()) + numbers(n.Outputs()) }

func numbers(values []*ir.Value) float64 {
	total := 0.0
	for _, v := range values {
		if v.DType() == ir.Int64 {
			continue // axes and shapes
		}
		n := 1.0
		for _, size := range v.Shape() {
			n *= float64(size)
		}
		total += n
	}
	return total
}

// mapsOf are a base's maps by the names of their weights in graphs.
func mapsOf(b *model.Base) map[string]*model.Linear {
	all := map[string]*model.Linear{quant.HeadName: b.Head}
	for _, l := range b.Layers {
		for _, m := range l.Maps() {
			all[m.Name] = m
		}
	}
	return all
}
