package main

import (
	"fmt"
	"math"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// lanes is the number of float32 in a vector register.
const lanes = 8

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
	addr, err := Param(param).Resolve()
	if err != nil {
		panic(err)
	}
	v := YMM()
	VBROADCASTSS(addr.Addr, v)
	return v
}

// zeros returns n vectors of zeros.
func zeros(n int) []VecVirtual {
	v := make([]VecVirtual, n)
	for i := range v {
		v[i] = YMM()
		VXORPS(v[i], v[i], v[i])
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
	mask  VecVirtual // nil when all lanes exist
}

func (a access) at(p Register) Mem { return Mem{Base: p, Index: a.index, Scale: 4, Disp: a.disp} }

func (a access) load(p Register) VecVirtual {
	v := YMM()
	if a.mask == nil {
		VMOVUPS(a.at(p), v)
	} else {
		VMASKMOVPS(a.at(p), a.mask, v)
	}
	return v
}

func (a access) store(v VecVirtual, p Register) {
	if a.mask == nil {
		VMOVUPS(v, a.at(p))
	} else {
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
		LEAQ(Mem{Base: i, Disp: step * lanes}, end)
		Label(loop)
		CMPQ(end, n)
		JG(LabelRef(done))
		for u := range step {
			body(access{index: i, disp: 4 * lanes * u}, u)
		}
		MOVQ(end, i)
		ADDQ(Imm(uint64(step*lanes)), end)
		JMP(LabelRef(loop))
		Label(done)
	}
	return i
}

// restMask returns a mask of the first rest lanes. It changes rest.
func restMask(rest GPVirtual) VecVirtual {
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

// sum adds up vectors and their lanes; the result is in the first lane.
func sum(v []VecVirtual) VecVirtual { return reduce(v, VADDPS) }

// reduce folds vectors and then their lanes with op; the result is in the first lane.
func reduce(v []VecVirtual, op func(ops ...Op)) VecVirtual {
	for n := len(v); n > 1; n = (n + 1) / 2 {
		for i := range n / 2 {
			op(v[n-1-i], v[i], v[i])
		}
	}
	lo, hi := v[0].AsX(), XMM()
	VEXTRACTF128(Imm(1), v[0], hi)
	op(hi, lo, lo)
	VMOVHLPS(lo, lo, hi)
	op(hi, lo, lo)
	VMOVSHDUP(lo, hi)
	op(hi, lo, lo)
	return v[0]
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
