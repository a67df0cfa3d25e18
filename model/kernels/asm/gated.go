package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/reg"
)

// An activation is g*sigmoid(z(g)): argument emits z, and slope z's derivative or nil where it is one.
type activation struct {
	name            string
	argument, slope func(g VecVirtual) VecVirtual
}

const geluScale, geluCubic = 2 * 0.7978845608028654, 0.044715 // 2*sqrt(2/pi) and the weight of x³

// geluPolynomial emits scale*(1 + cubic*g²).
func geluPolynomial(g VecVirtual, cubic float32) VecVirtual {
	v := isa.new()
	mulPS.with(geluScale*cubic, g, v)
	VFMADD213PS(filled(geluScale), g, v)
	return v
}

var activations = []activation{
	{name: "silu", argument: func(g VecVirtual) VecVirtual { return g }},
	{
		name: "geluTanh",
		argument: func(g VecVirtual) VecVirtual {
			v := geluPolynomial(g, geluCubic)
			VMULPS(g, v, v)
			return v
		},
		slope: func(g VecVirtual) VecVirtual { return geluPolynomial(g, 3*geluCubic) },
	},
}

func gatedKernels() {
	for _, f := range activations {
		gated(f)
		gatedGrad(f)
	}
}

func gated(f activation) {
	name := f.name + "Mul" + isa.name
	function(name, "(dst, gate, up []float32)", name+" writes "+f.name+"(gate)*up to dst over len(dst) elements.")
	dst, gate, up := pointer("dst"), pointer("gate"), pointer("up")
	eachVector(length("dst"), 1, func(at access, _ int) {
		g := at.load(gate)
		v := sigmoid(f.argument(g))
		VMULPS(g, v, v)
		VMULPS(at.load(up), v, v)
		at.store(v, dst)
	})
	finish()
}

func gatedGrad(f activation) {
	name := f.name + "MulGrad" + isa.name
	function(name, "(dGate, dUp, dy, gate, up []float32)", name+" writes the gradients of "+f.name+"(gate)*up over len(dy) elements.")
	dGate, dUp, dy, gate, up := pointer("dGate"), pointer("dUp"), pointer("dy"), pointer("gate"), pointer("up")
	eachVector(length("dy"), 1, func(at access, _ int) {
		g, d, u := at.load(gate), at.load(dy), at.load(up)
		s, t := sigmoid(f.argument(g)), isa.new()
		VMULPS(s, d, d) // dy*s
		VMULPS(u, d, u)
		VFNMADD213PS(g, g, s) // g*(1-s)
		VMULPS(g, d, t)
		at.store(t, dUp)
		if f.slope != nil {
			VMULPS(f.slope(g), s, s)
		}
		addPS.with(1, s, s)
		VMULPS(u, s, s) // dy*s*up*(1 + g*(1-s)*slope)
		at.store(s, dGate)
	})
	finish()
}
