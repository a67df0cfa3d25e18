package main

import (
	"fmt"
	"math"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// vectors are those of one instruction set.
type vectors struct {
	name  string
	lanes int // float32 in one
	new   func() VecVirtual
}

var avx2, avx512 = vectors{"AVX2", 8, YMM}, vectors{"AVX512", 16, ZMM}

// lanes is the number of float32 in a vector of AVX2.
const lanes = 8

// isa is the instruction set of the kernels that are being emitted.
var isa = avx2

// forEachISA emits kernels for both.
func forEachISA(emit func()) {
	defer func(was vectors) { isa = was }(isa)
	for _, isa = range []vectors{avx2, avx512} {
		emit()
	}
}

func wide() bool { return isa.lanes > lanes }

// instruction is one that can read an operand from memory: a whole vector, or one number for all lanes.
type instruction struct{ whole, one func(ops ...Op) }

// The instructions that have constants for an operand.
var (
	mulPS       = instruction{VMULPS, VMULPS_BCST}
	addPS       = instruction{VADDPS, VADDPS_BCST}
	fmadd213PS  = instruction{VFMADD213PS, VFMADD213PS_BCST}
	fnmadd231PS = instruction{VFNMADD231PS, VFNMADD231PS_BCST}
	orBits      = instruction{VORPS, VPORD_BCST}
	addInt      = instruction{VPADDD, VPADDD_BCST}
)

// with emits the instruction with the constant c for the operand in memory.
func (i instruction) with(c float32, ops ...Op) { i.withBits(math.Float32bits(c), ops...) }

func (i instruction) withBits(c uint32, ops ...Op) {
	ops = append([]Op{constantBits(c)}, ops...)
	if wide() {
		i.one(ops...)
	} else {
		i.whole(ops...)
	}
}

// filled returns a vector of copies of c.
func filled(c float32) VecVirtual {
	v := isa.new()
	if wide() {
		VBROADCASTSS(constant(c), v)
	} else {
		VMOVUPS(constant(c), v)
	}
	return v
}

// function starts a kernel. sig is its Go signature, doc its comment.
func function(name, sig, doc string) {
	TEXT(name, NOSPLIT, "func"+sig)
	Pragma("noescape")
	Doc(strings.Split(doc, "\n")...)
}

// pointer loads the address of a slice parameter's first element, length its number of elements.
func pointer(param string) GPVirtual { return Load(Param(param).Base(), GP64()).(GPVirtual) }
func length(param string) GPVirtual  { return Load(Param(param).Len(), GP64()).(GPVirtual) }

// broadcast fills a vector with a float32 parameter.
func broadcast(param string) VecVirtual {
	v := isa.new()
	VBROADCASTSS(argument(param), v)
	return v
}

// argument is where a parameter stands that is one word or less.
func argument(param string) Mem {
	at, err := Param(param).Resolve()
	if err != nil {
		panic(err)
	}
	return at.Addr
}

// zeros returns n vectors of zeros.
func zeros(n int) []VecVirtual {
	v := make([]VecVirtual, n)
	for i := range v {
		v[i] = zero()
	}
	return v
}

func zero() VecVirtual {
	v := isa.new()
	if wide() {
		VPXORD(v, v, v)
	} else {
		VXORPS(v, v, v)
	}
	return v
}

var constants = map[string]Mem{}

// constant returns a vector of eight copies of v in memory.
func constant(v float32) Mem { return constantBits(math.Float32bits(v)) }

func constantBits(v uint32) Mem {
	name := fmt.Sprintf("c%08x", v)
	if m, ok := constants[name]; ok {
		return m
	}
	m := GLOBL(name, RODATA|NOPTR)
	for i := range lanes {
		DATA(4*i, U32(v))
	}
	constants[name] = m
	return m
}

// access reads and writes the vector a loop is at: disp bytes behind element index. In the last, masked step only the
// first lanes exist: others read as zero and are not written.
type access struct {
	index GPVirtual
	disp  int
	mask  Register // nil when all lanes exist
}

func (a access) at(p Register) Mem { return Mem{Base: p, Index: a.index, Scale: 4, Disp: a.disp} }

func (a access) load(p Register) VecVirtual {
	v := isa.new()
	switch {
	case a.mask == nil:
		VMOVUPS(a.at(p), v)
	case wide():
		VMOVUPS_Z(a.at(p), a.mask, v)
	default:
		VMASKMOVPS(a.at(p), a.mask, v)
	}
	return v
}

// loadOver is load with the lanes of other where there are none.
func (a access) loadOver(p Register, other VecVirtual) VecVirtual {
	if a.mask != nil && wide() {
		v := isa.new()
		VMOVAPS(other, v)
		VMOVUPS(a.at(p), a.mask, v)
		return v
	}
	v := a.load(p)
	if a.mask != nil {
		VBLENDVPS(a.mask, v, other, v)
	}
	return v
}

// clear makes zeros of the lanes of v that do not exist.
func (a access) clear(v VecVirtual) {
	switch {
	case a.mask == nil:
	case wide():
		VMOVAPS_Z(v, a.mask, v)
	default:
		VANDPS(a.mask, v, v)
	}
}

func (a access) store(v VecVirtual, p Register) {
	switch {
	case a.mask == nil:
		VMOVUPS(v, a.at(p))
	case wide():
		VMOVUPS(v, a.mask, a.at(p))
	default:
		VMASKMOVPS(v, a.mask, a.at(p))
	}
}

// eachVector emits a loop over n elements: that of wholeVectors, then one step for the rest, masked. body emits the
// work on one vector; u numbers the vectors of an unrolled step.
func eachVector(n GPVirtual, unroll int, body func(a access, u int)) {
	i := wholeVectors(n, unroll, body)
	rest := GP64()
	MOVQ(n, rest)
	SUBQ(i, rest)
	JZ(LabelRef("rest_done"))
	body(access{index: i, mask: restMask(rest)}, 0)
	Label("rest_done")
}

// wholeVectors emits a loop over n elements as far as they fill vectors, unroll vectors a step and then one vector a
// step. It returns the index of the first element left.
func wholeVectors(n GPVirtual, unroll int, body func(a access, u int)) GPVirtual {
	i, end := GP64(), GP64()
	XORQ(i, i)
	steps := []int{1}
	if unroll > 1 {
		steps = []int{unroll, 1}
	}
	for _, step := range steps {
		loop, done := fmt.Sprintf("loop%d", step), fmt.Sprintf("loop%d_done", step)
		LEAQ(Mem{Base: i, Disp: step * isa.lanes}, end)
		Label(loop)
		CMPQ(end, n)
		JG(LabelRef(done))
		for u := range step {
			body(access{index: i, disp: 4 * isa.lanes * u}, u)
		}
		MOVQ(end, i)
		ADDQ(Imm(uint64(step*isa.lanes)), end)
		JMP(LabelRef(loop))
		Label(done)
	}
	return i
}

// restMask returns a mask of the first rest lanes. It changes rest.
func restMask(rest GPVirtual) Register {
	if wide() {
		return restBits(rest)
	}
	table, ok := constants["mask"]
	if !ok {
		table = GLOBL("mask", RODATA|NOPTR)
		for i := range 2 * lanes {
			DATA(4*i, U32(0xffffffff*uint32(1-i/lanes)))
		}
		constants["mask"] = table
	}
	base, mask := GP64(), YMM()
	LEAQ(table, base)
	NEGQ(rest)
	VMOVUPS(Mem{Base: base, Index: rest, Scale: 4, Disp: 4 * lanes}, mask)
	return mask
}

// restBits is restMask for AVX-512.
func restBits(rest GPVirtual) Register {
	table, ok := constants["bits"]
	if !ok {
		table = GLOBL("bits", RODATA|NOPTR)
		for i := range avx512.lanes {
			DATA(2*i, U16(1<<i-1))
		}
		constants["bits"] = table
	}
	base, mask := GP64(), K()
	LEAQ(table, base)
	KMOVW(Mem{Base: base, Index: rest, Scale: 2}, mask)
	return mask
}

// sum adds up vectors and their lanes; the result is in the first lane.
func sum(v []VecVirtual) VecVirtual { return reduce(v, VADDPS) }

// reduce folds vectors and then their lanes with op; the result is in the first lane. A vector of AVX-512 is two of
// AVX2, and the order is theirs.
func reduce(v []VecVirtual, op func(ops ...Op)) VecVirtual {
	if wide() {
		var halves []VecVirtual
		for _, z := range v {
			halves = append(halves, z.AsY().(VecVirtual), upperHalf(z))
		}
		v = halves
	}
	for n := len(v); n > 1; n = (n + 1) / 2 {
		for i := range n / 2 {
			op(v[n-1-i], v[i], v[i])
		}
	}
	lo, hi := v[0].AsX(), XMM()
	VEXTRACTF128(Imm(1), v[0].AsY(), hi)
	op(hi, lo, lo)
	VMOVHLPS(lo, lo, hi)
	op(hi, lo, lo)
	VMOVSHDUP(lo, hi)
	op(hi, lo, lo)
	return v[0]
}

// upperHalf returns the upper half of a vector of AVX-512, the upper half of which is zero.
func upperHalf(v VecVirtual) VecVirtual {
	h := YMM()
	VEXTRACTF64X4(Imm(1), v, h)
	return h
}

// returnFirst returns the first lane of v and ends the kernel.
func returnFirst(v VecVirtual) {
	Store(v.AsX(), ReturnIndex(0))
	finish()
}

// finish ends the kernel. The upper halves of the registers are cleared since SSE code would be slow with them.
func finish() {
	VZEROUPPER()
	RET()
}
