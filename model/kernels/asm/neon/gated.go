package main

// An activation is g*sigmoid(z(g)): argument emits z, and slope z's derivative or nil where it is one.
type activation struct {
	name            string
	constants       []float32
	argument, slope func(k *kernel, g vec) vec
}

const geluScale, geluCubic = 2 * 0.7978845608028654, 0.044715 // 2*sqrt(2/pi) and the weight of x³

// geluPolynomial emits scale*(1 + cubic*g²).
func geluPolynomial(k *kernel, g vec, cubic float32) vec {
	t, v := k.vec(), k.filled(geluScale)
	k.mulLane(g, k.constant(geluScale*cubic), t)
	k.fma(t, g, v)
	k.free(t)
	return v
}

var activations = []activation{
	{name: "silu", argument: func(_ *kernel, g vec) vec { return g }},
	{
		name:      "geluTanh",
		constants: []float32{geluScale, geluScale * float32(geluCubic), geluScale * float32(3*geluCubic)},
		argument: func(k *kernel, g vec) vec {
			v := geluPolynomial(k, g, geluCubic)
			k.mul(v, g, v)
			return v
		},
		slope: func(k *kernel, g vec) vec { return geluPolynomial(k, g, 3*geluCubic) },
	},
}

func gatedKernels() {
	for _, f := range activations {
		gated(f)
		gatedGrad(f)
	}
}

func gated(f activation) {
	name := f.name + "MulNEON"
	k := function(name, "(dst, gate, up []float32)", name+" writes "+f.name+"(gate)*up to dst over len(dst) elements.")
	dst, gate, up := k.pointer("dst"), k.pointer("gate"), k.pointer("up")
	k.useExp(false)
	k.use(f.constants...)
	k.eachVector(k.length("dst"), 1, []gp{dst, gate, up}, func(at access, _ int) {
		g := at.load(gate)
		v := k.sigmoid(f.argument(k, g))
		k.mul(v, g, v)
		k.mul(v, at.load(up), v)
		at.store(v, dst)
	})
	k.emit("RET")
}

func gatedGrad(f activation) {
	name := f.name + "MulGradNEON"
	k := function(name, "(dGate, dUp, dy, gate, up []float32)", name+" writes the gradients of "+f.name+"(gate)*up over len(dy) elements.")
	dGate, dUp, dy, gate, up := k.pointer("dGate"), k.pointer("dUp"), k.pointer("dy"), k.pointer("gate"), k.pointer("up")
	k.useExp(false)
	k.use(f.constants...)
	k.eachVector(k.length("dy"), 1, []gp{dGate, dUp, dy, gate, up}, func(at access, _ int) {
		g, d, u := at.load(gate), at.load(dy), at.load(up)
		s, rest, one := k.sigmoid(f.argument(k, g)), k.vec(), k.filled(1)
		k.mul(d, s, d) // dy*s
		k.mul(d, u, u)
		k.move(g, rest)
		k.fms(g, s, rest) // g*(1-s)
		k.mul(d, g, d)
		at.store(d, dUp)
		if f.slope != nil {
			k.mul(rest, f.slope(k, g), rest)
		}
		k.add(rest, one, rest)
		k.mul(rest, u, rest) // dy*s*up*(1 + g*(1-s)*slope)
		at.store(rest, dGate)
	})
	k.emit("RET")
}
