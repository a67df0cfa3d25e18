package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// weightKernels emits, for each type of numbers and width of vectors, what reads rows of a weight: that which turns
// them into a panel, and that which multiplies them with one row at once.
func weightKernels() {
	for _, t := range []stored{
		{name: "F32", doc: "float32", bytes: 4, load: func(m Mem, v VecVirtual) { VMOVUPS(m, v) }},
		{name: "F16", doc: "half-precision", bytes: 2, load: func(m Mem, v VecVirtual) { VCVTPH2PS(m, v) }},
		{name: "BF16", doc: "bfloat16", bytes: 2, pairs: true, load: func(m Mem, v VecVirtual) { VMOVUPS(m, v) }},
	} {
		for _, w := range []vectors{avx2, avx512} {
			transpose(t, w)
			gemv(t, w)
		}
	}
}

// stored is a type of numbers and how a vector of them is read as float32. Of pairs, two numbers are read into each
// lane and taken apart when they are where they belong.
type stored struct {
	name, doc string
	bytes     int
	pairs     bool
	load      func(m Mem, v VecVirtual)
}

// goType is how a parameter is declared that points to them.
func (t stored) goType() string {
	if t.bytes == 4 {
		return "float32"
	}
	return "byte"
}

// square reads squares of numbers: as many rows as vectors have lanes.
type square struct {
	t       stored
	w       vectors
	rows    rowsOfThree
	ahead   GPVirtual
	numbers int // read of each row at once
}

// newSquare reads at the parameters src, srcRow and ahead.
func newSquare(t stored, w vectors) square {
	src, srcRow := Load(Param("src"), GP64()).(GPVirtual), Load(Param("srcRow"), GP64()).(GPVirtual)
	s := square{t: t, w: w, rows: newRowsOfThree(src, srcRow, w.lanes), numbers: w.lanes}
	s.ahead = Load(Param("ahead"), GP64()).(GPVirtual)
	if t.pairs {
		s.numbers *= 2
	}
	return s
}

// lanes reads the u-th square beside the present one and calls f for its transpose: columns, or pairs of them.
func (s square) lanes(u int, f func(i int, v VecVirtual)) {
	v := make([]VecVirtual, s.w.lanes)
	fetch := GP64()
	for i := range v {
		v[i] = s.w.new()
		at := s.rows.row(i)
		at.Disp += u * s.numbers * s.t.bytes
		s.t.load(at, v[i])
		if u > 0 {
			continue
		}
		if i%3 == 0 {
			LEAQ(Mem{Base: at.Base, Index: s.ahead, Scale: 1}, fetch)
		}
		at.Base = fetch
		PREFETCHT1(at)
	}
	transposed(s.w, v, f)
}

// first writes the first of a pair of columns to dst, second turns the pair into the second.
func (s square) first(pair, dst VecVirtual) { VPSLLD(Imm(16), pair, dst) }

func (s square) second(pair VecVirtual) {
	if upper := constantBits(0xffff0000); s.w.lanes == 16 {
		VPANDD_BCST(upper, pair, pair)
	} else {
		VPAND(upper, pair, pair)
	}
}

// move goes to a place so many bytes from the present one.
func (s square) move(bytes Op) {
	for _, p := range s.rows.pointers {
		ADDQ(bytes, p)
	}
}

// transpose emits a loop over squares side by side.
func transpose(t stored, w vectors) {
	name := "transpose" + t.name + w.name
	numbers := w.lanes
	if t.pairs {
		numbers *= 2
	}
	function(name, "(dst *float32, src *"+t.goType()+", srcRow, n, ahead int)",
		fmt.Sprintf("%s writes the columns of the %d rows of %s numbers of src, n long and srcRow bytes apart, as float32 to\n"+
			"dst, whose rows are 16 long; n is a multiple of %d. It fetches what lies ahead bytes behind into the caches.",
			name, w.lanes, t.doc, numbers))
	s, dst, n := newSquare(t, w), Load(Param("dst"), GP64()), Load(Param("n"), GP64())
	Label("block")
	s.lanes(0, func(i int, v VecVirtual) {
		if !t.pairs {
			VMOVUPS(v, Mem{Base: dst, Disp: 64 * i})
			return
		}
		first := w.new()
		s.first(v, first)
		VMOVUPS(first, Mem{Base: dst, Disp: 128 * i})
		s.second(v)
		VMOVUPS(v, Mem{Base: dst, Disp: 128*i + 64})
	})
	ADDQ(U32(uint32(64*numbers)), dst)
	s.move(Imm(uint64(t.bytes * numbers)))
	SUBQ(Imm(uint64(numbers)), n)
	JNZ(LabelRef("block"))
	finish()
}

// gemvRows is the number of rows of a weight that are multiplied side by side. Their sums hide each other's latency.
const gemvRows = 32

// gemv emits the products of one row with squares of rows below each other, which it transposes first.
func gemv(t stored, w vectors) {
	name := "gemv" + t.name + w.name
	numbers := w.lanes
	if t.pairs {
		numbers *= 2
	}
	beside := max(1, 64/(numbers*t.bytes)) // squares that a cache line reaches over
	numbers *= beside
	function(name, "(c, a *float32, src *"+t.goType()+", srcRow, n, ahead int, alpha float32, add bool, tmp *float32)",
		fmt.Sprintf("%s computes alpha times the products of a with %d rows of %s numbers, n long and srcRow bytes apart, and\n"+
			"stores them or adds them to c; n is a multiple of %d. It fetches what lies ahead bytes behind into the caches.\n"+
			"The sums are those of the tile kernels. tmp has room for 2 KiB.", name, gemvRows, t.doc, numbers))
	s, a, n, tmp := newSquare(t, w), Load(Param("a"), GP64()), Load(Param("n"), GP64()), Load(Param("tmp"), GP64())
	acc := make([]VecVirtual, gemvRows/w.lanes)
	down, back := GP64(), GP64() // to the next square, and from the last one to the first of the next columns
	MOVQ(s.rows.stride, down)
	SHLQ(Imm(map[int]uint64{8: 3, 16: 4}[w.lanes]), down)
	MOVQ(U32(uint32(t.bytes*numbers)), back)
	for i := range acc {
		acc[i] = w.new()
		if i > 0 {
			SUBQ(down, back)
		}
	}
	for _, v := range acc {
		if w.lanes == 16 {
			VPXORD(v, v, v)
		} else {
			VXORPS(v, v, v)
		}
	}
	Label("block")
	place := func(q, u, i int) Mem { return Mem{Base: tmp, Disp: 4 * w.lanes * ((q*beside+u)*w.lanes + i)} }
	for q := range acc {
		for u := range beside {
			s.lanes(u, func(i int, v VecVirtual) { VMOVUPS(v, place(q, u, i)) })
		}
		if q < len(acc)-1 {
			s.move(down)
		} else {
			s.move(back)
		}
	}
	for u := range beside {
		for i := range w.lanes {
			s.addProducts(Mem{Base: a, Disp: 4 * (u*s.numbers + i*s.numbers/w.lanes)}, acc, func(q int) Mem { return place(q, u, i) })
		}
	}
	ADDQ(Imm(uint64(4*numbers)), a)
	SUBQ(Imm(uint64(numbers)), n)
	JNZ(LabelRef("block"))
	storeSums(w, acc)
	finish()
}

// addProducts adds to each sum the product of a number and its square's column, or of two numbers and a pair of columns.
func (s square) addProducts(number Mem, acc []VecVirtual, column func(q int) Mem) {
	x := s.w.new()
	VBROADCASTSS(number, x)
	if !s.t.pairs {
		for q, sum := range acc {
			VFMADD231PS(column(q), x, sum)
		}
		return
	}
	y := s.w.new()
	VBROADCASTSS(number.Offset(4), y)
	for q, sum := range acc {
		pair, first := s.w.new(), s.w.new()
		VMOVUPS(column(q), pair)
		s.first(pair, first)
		VFMADD231PS(first, x, sum)
		s.second(pair)
		VFMADD231PS(pair, y, sum)
	}
}

// storeSums stores alpha times the sums to c or adds them to it.
func storeSums(w vectors, acc []VecVirtual) { storeSumsOf(w, acc, "") }

// storeSumsOf is storeSums where it stands several times in a kernel, each with a name of its own.
func storeSumsOf(w vectors, acc []VecVirtual, name string) {
	alpha, c, add := w.new(), Load(Param("c"), GP64()), Load(Param("add"), GP8())
	VBROADCASTSS(argument("alpha"), alpha)
	TESTB(add, add)
	JZ(LabelRef("store" + name))
	for i, v := range acc {
		at := Mem{Base: c, Disp: 4 * w.lanes * i}
		VFMADD213PS(at, alpha, v)
		VMOVUPS(v, at)
	}
	JMP(LabelRef("stored" + name))
	Label("store" + name)
	for i, v := range acc {
		VMULPS(alpha, v, v)
		VMOVUPS(v, Mem{Base: c, Disp: 4 * w.lanes * i})
	}
	Label("stored" + name)
}

// transposed transposes as many vectors as they have lanes, pairs of rows, then pairs of pairs, then quarters of
// vectors, and calls f for the columns in their order.
func transposed(w vectors, v []VecVirtual, f func(i int, v VecVirtual)) {
	pairs := make([]VecVirtual, w.lanes)
	for i := 0; i < w.lanes; i += 2 {
		pairs[i], pairs[i+1] = w.new(), w.new()
		VUNPCKLPS(v[i+1], v[i], pairs[i])
		VUNPCKHPS(v[i+1], v[i], pairs[i+1])
	}
	quads := make([]VecVirtual, w.lanes) // 4q+i has of rows 4q to 4q+3 the columns i, i+4, ...
	for i := range w.lanes {
		quads[i] = w.new()
		from := i/4*4 + i%4/2 // columns 0 1 come from the low unpack, 2 3 from the high one
		VSHUFPS(Imm(uint64(0x44+0xaa*(i%2))), pairs[from+2], pairs[from], quads[i])
	}
	if w.lanes == 8 {
		for i := range w.lanes {
			u := w.new()
			VPERM2F128(Imm(uint64(0x20+0x11*(i/4))), quads[i%4+4], quads[i%4], u)
			f(i, u)
		}
		return
	}
	// 8o+4h+i has of rows 8h to 8h+7 the columns i and i+8, or i+4 and i+12 if o is 1.
	eights := make([]VecVirtual, w.lanes)
	for i := range w.lanes {
		eights[i] = w.new()
		from := i/4%2*8 + i%4
		VSHUFF32X4(Imm(uint64(0x88+0x55*(i/8))), quads[from+4], quads[from], eights[i])
	}
	for i := range w.lanes {
		u := w.new()
		from := i/4%2*8 + i%4
		VSHUFF32X4(Imm(uint64(0x88+0x55*(i/8))), eights[from+4], eights[from], u)
		f(i, u)
	}
}
