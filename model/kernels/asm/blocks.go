package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Weights in blocks of codes are multiplied in two steps. The first, one kernel a type, unpacks some rows of them: it
// turns the codes into signed bytes, four numbers of a row in a lane with the rows side by side, and what a block says
// of scales into one float32 scale, and for some types a minimum, of each row and group of numbers. The second, one
// kernel for all types, widens these bytes to scale*code, or scale*code + minimum, and multiplies with them or writes
// them to a panel.

// unpackedRows is the number of rows side by side in the buffers, codeRow the bytes of a line of them.
const unpackedRows, codeRow = gemvRows, 4 * gemvRows

// blockType is a type of blocks: how many bytes a block has, of how many numbers, and how many of these have a scale.
type blockType struct {
	name               string
	size, count, group int
	mins               bool
	unpack             func(u *unpacker)
}

func blockTypes() []blockType {
	return []blockType{
		{"Q80", 34, 32, 32, false, func(u *unpacker) {
			u.scale(0, u.halves(0))
			u.columns(0, u.quads(2))
			u.columns(4, u.quads(18))
		}},
		{"Q40", 18, 32, 32, true, func(u *unpacker) { u.block32(false, false) }},
		{"Q41", 20, 32, 32, true, func(u *unpacker) { u.block32(false, true) }},
		{"Q50", 22, 32, 32, true, func(u *unpacker) { u.block32(true, false) }},
		{"Q51", 24, 32, 32, true, func(u *unpacker) { u.block32(true, true) }},
		{"Q4K", 144, 256, 32, true, func(u *unpacker) { u.superblock(false) }},
		{"Q5K", 176, 256, 32, true, func(u *unpacker) { u.superblock(true) }},
		{"Q6K", 210, 256, 16, false, (*unpacker).sixBits},
	}
}

func blockKernels() {
	for _, w := range []vectors{{"AVX2", 8, YMM}, {"AVX512", 16, ZMM}} {
		for _, t := range blockTypes() {
			unpack(t, w)
		}
		for _, mins := range []bool{false, true} {
			gemvCodes(w, mins)
			widenCodes(w, mins)
		}
	}
}

// unpacker emits the unpacking of one block of each of as many rows as vectors have lanes.
type unpacker struct {
	w                   vectors
	rows                rowsOfThree
	codes, scales, mins GPVirtual
}

func unpack(t blockType, w vectors) {
	name := "unpack" + t.name + w.name
	function(name, "(codes *uint32, scales, mins *float32, src *byte, srcRow, n, ahead int)",
		fmt.Sprintf("%s unpacks %d rows of %s blocks, n numbers long, a multiple of %d, and srcRow bytes apart: four codes each\n"+
			"to codes and what they are multiplied by, of each %d, to scales and mins, whose lines hold %d rows. It fetches what\n"+
			"lies ahead bytes behind into the caches.", name, w.lanes, t.name, t.count, t.group, unpackedRows))
	src, srcRow := Load(Param("src"), GP64()).(GPVirtual), Load(Param("srcRow"), GP64()).(GPVirtual)
	u := &unpacker{w: w, rows: newRowsOfThree(src, srcRow, w.lanes)}
	u.codes = Load(Param("codes"), GP64()).(GPVirtual)
	u.scales = Load(Param("scales"), GP64()).(GPVirtual)
	if t.mins {
		u.mins = Load(Param("mins"), GP64()).(GPVirtual)
	}
	n, ahead, fetch := Load(Param("n"), GP64()), Load(Param("ahead"), GP64()).(GPVirtual), GP64()
	Label("block")
	for i := range w.lanes {
		at := u.rows.row(i)
		if i%3 == 0 {
			LEAQ(Mem{Base: at.Base, Index: ahead, Scale: 1}, fetch)
		}
		at.Base = fetch
		for line := 0; line < t.size; line += 64 {
			PREFETCHT1(at.Offset(line))
		}
	}
	t.unpack(u)
	for _, p := range u.rows.pointers {
		ADDQ(U32(uint32(t.size)), p)
	}
	ADDQ(U32(uint32(t.count/4*codeRow)), u.codes)
	ADDQ(U32(uint32(t.count/t.group*codeRow)), u.scales)
	if t.mins {
		ADDQ(U32(uint32(t.count/t.group*codeRow)), u.mins)
	}
	SUBQ(U32(uint32(t.count)), n)
	JNZ(LabelRef("block"))
	finish()
}

// row is the place disp bytes into the block of row i.
func (u *unpacker) row(i, disp int) Mem { return u.rows.row(i).Offset(disp) }

// quads reads the 16 bytes at disp of all rows and returns four vectors: the first four bytes of every row, the next
// four, and so on.
func (u *unpacker) quads(disp int) []VecVirtual {
	v := make([]VecVirtual, 4)
	for i := range v {
		v[i] = u.w.new()
		if u.w.lanes == 8 {
			VBROADCASTI128(u.row(i, disp), v[i])
			VINSERTI128(Imm(1), u.row(i+4, disp), v[i], v[i])
			continue
		}
		VBROADCASTI32X4(u.row(i, disp), v[i])
		for quarter := 1; quarter < 4; quarter++ {
			VINSERTI32X4(Imm(uint64(quarter)), u.row(i+4*quarter, disp), v[i], v[i])
		}
	}
	var pairs [4]VecVirtual
	for i := 0; i < 4; i += 2 {
		pairs[i], pairs[i+1] = u.w.new(), u.w.new()
		VPUNPCKLDQ(v[i+1], v[i], pairs[i])
		VPUNPCKHDQ(v[i+1], v[i], pairs[i+1])
	}
	for i := range 2 {
		VPUNPCKLQDQ(pairs[2+i], pairs[i], v[2*i])
		VPUNPCKHQDQ(pairs[2+i], pairs[i], v[2*i+1])
	}
	return v
}

// halves reads the half-precision number at disp of every row.
func (u *unpacker) halves(disp int) VecVirtual {
	x := make([]VecVirtual, u.w.lanes/8)
	for i := range x {
		x[i] = YMM()
		VPXOR(x[i], x[i], x[i])
		for j := range 8 {
			VPINSRW(Imm(uint64(j)), u.row(8*i+j, disp), x[i].AsX(), x[i].AsX())
		}
	}
	v := u.w.new()
	if len(x) == 1 {
		VCVTPH2PS(x[0].AsX(), v)
		return v
	}
	VINSERTI128(Imm(1), x[1].AsX(), x[0], x[0])
	VCVTPH2PS(x[0], v)
	return v
}

// words reads the four bytes at disp of every row.
func (u *unpacker) words(disp int) VecVirtual {
	v := u.w.new()
	VPBROADCASTD(u.row(0, disp), v)
	for quarter := range u.w.lanes / 4 {
		x := v.AsX()
		if quarter > 0 {
			x = XMM()
			VMOVD(u.row(4*quarter, disp), x)
		}
		for j := 1; j < 4; j++ {
			VPINSRD(Imm(uint64(j)), u.row(4*quarter+j, disp), x, x)
		}
		switch {
		case quarter > 0 && u.w.lanes == 8:
			VINSERTI128(Imm(1), x, v, v)
		case quarter > 0:
			VINSERTI32X4(Imm(uint64(quarter)), x, v, v)
		}
	}
	return v
}

// columns stores four vectors of codes from the i-th four of a block on, scale and min what group i is multiplied by.
func (u *unpacker) columns(i int, v []VecVirtual) {
	for j, c := range v {
		VMOVUPS(c, Mem{Base: u.codes, Disp: codeRow * (i + j)})
	}
}
func (u *unpacker) scale(i int, v VecVirtual) { VMOVUPS(v, Mem{Base: u.scales, Disp: codeRow * i}) }
func (u *unpacker) min(i int, v VecVirtual)   { VMOVUPS(v, Mem{Base: u.mins, Disp: codeRow * i}) }

// and, or, xor, times and plus combine dst with a vector of one number, or or with another vector.
func (u *unpacker) and(bits uint32, dst VecVirtual) {
	if c := constantBits(bits); u.w.lanes == 16 {
		VPANDD_BCST(c, dst, dst)
	} else {
		VPAND(c, dst, dst)
	}
}

func (u *unpacker) or(v, dst VecVirtual) {
	if u.w.lanes == 16 {
		VPORD(v, dst, dst)
	} else {
		VPOR(v, dst, dst)
	}
}

func (u *unpacker) negate(dst VecVirtual) {
	if sign := constantBits(1 << 31); u.w.lanes == 16 {
		VPXORD_BCST(sign, dst, dst)
	} else {
		VPXOR(sign, dst, dst)
	}
}

func (u *unpacker) times(number float32, dst VecVirtual) {
	if c := constant(number); u.w.lanes == 16 {
		VMULPS_BCST(c, dst, dst)
	} else {
		VMULPS(c, dst, dst)
	}
}

// shifted returns v shifted to the left, or right if by is negative, of which bits are kept.
func (u *unpacker) shifted(v VecVirtual, by int, bits uint32) VecVirtual {
	s := u.w.new()
	switch {
	case by > 0:
		VPSLLD(Imm(uint64(by)), v, s)
	case by < 0:
		VPSRLD(Imm(uint64(-by)), v, s)
	case u.w.lanes == 16:
		VPANDD_BCST(constantBits(bits), v, s)
		return s
	default:
		VPAND(constantBits(bits), v, s)
		return s
	}
	u.and(bits, s)
	return s
}

const (
	lowHalves = 0x0f0f0f0f
	fifthBits = 0x10101010
	upperTwo  = 0x30303030
	sixBits   = 0x3f
)

// block32 is Q4_0, Q4_1, Q5_0 or Q5_1: a scale, a minimum or none, the fifth bits of all codes, and halves of bytes.
func (u *unpacker) block32(fifths, hasMin bool) {
	scale := u.halves(0)
	u.scale(0, scale)
	at, low := 2, scale
	switch {
	case hasMin:
		low = u.halves(2)
		at = 4
	case fifths:
		u.times(-16, low)
	default:
		u.times(-8, low)
	}
	u.min(0, low)
	var bits VecVirtual
	if fifths {
		bits = u.words(at)
		at += 4
	}
	bytes := u.quads(at)
	for i := range 8 {
		v := u.shifted(bytes[i%4], -4*(i/4), lowHalves)
		if fifths {
			// Bit j of four goes to bit 4 of byte j: it is one of the four places that each is multiplied to.
			four := u.shifted(bits, -4*i, 15)
			spread := constantBits(0x02040810)
			if u.w.lanes == 16 {
				VPMULLD_BCST(spread, four, four)
			} else {
				VPMULLD(spread, four, four)
			}
			u.and(fifthBits, four)
			u.or(four, v)
		}
		u.columns(i, []VecVirtual{v})
	}
}

// superblock is Q4_K or Q5_K.
func (u *unpacker) superblock(fifths bool) {
	u.scalesAndMins()
	at := 16
	if fifths {
		at += 32
	}
	for half := range 2 { // of the 32 codes of a group
		var bits []VecVirtual
		if fifths {
			bits = u.quads(16 + 16*half)
		}
		for pair := range 4 { // of groups, whose codes are halves of the same bytes
			bytes := u.quads(at + 32*pair + 16*half)
			for upper := range 2 {
				group := 2*pair + upper
				for i, b := range bytes {
					v := u.shifted(b, -4*upper, lowHalves)
					if fifths {
						u.or(u.shifted(bits[i], 4-group, fifthBits), v)
					}
					u.columns(8*group+4*half+i, []VecVirtual{v})
				}
			}
		}
	}
}

// scalesAndMins unpacks 6 bits of a scale and of a minimum for each of eight groups and multiplies them by those of the
// whole block; see scaleAndMin of package hf for where they are.
func (u *unpacker) scalesAndMins() {
	scale, low, bytes := u.halves(0), u.halves(2), u.quads(0)[1:]
	u.negate(low)
	for group := range 8 {
		shift := 8 * (group % 4)
		var s, m VecVirtual
		if group < 4 {
			s, m = u.shifted(bytes[0], -shift, sixBits), u.shifted(bytes[1], -shift, sixBits)
		} else {
			s, m = u.shifted(bytes[2], -shift, 15), u.shifted(bytes[2], -shift-4, 15)
			u.or(u.shifted(bytes[0], -shift-2, 0x30), s)
			u.or(u.shifted(bytes[1], -shift-2, 0x30), m)
		}
		VCVTDQ2PS(s, s)
		VMULPS(scale, s, s)
		u.scale(group, s)
		VCVTDQ2PS(m, m)
		VMULPS(low, m, m)
		u.min(group, m)
	}
}

// sixBits is Q6_K.
func (u *unpacker) sixBits() {
	scale, bytes := u.halves(208), u.quads(192)
	for group := range 16 {
		s := u.w.new()
		signedByte(bytes[group/4], group%4, s)
		VCVTDQ2PS(s, s)
		VMULPS(scale, s, s)
		u.scale(group, s)
	}
	for half := range 2 { // of 128 numbers
		for part := range 2 { // 16 of the 32 bytes that hold the same two bits
			upper := u.quads(128 + 32*half + 16*part)
			for pair := range 2 {
				lower := u.quads(64*half + 32*pair + 16*part)
				for nibble := range 2 {
					quarter := pair + 2*nibble
					for i, b := range lower {
						v := u.shifted(b, -4*nibble, lowHalves)
						u.or(u.shifted(upper[i], 4-2*quarter, upperTwo), v)
						if c := constantBits(0x20202020); u.w.lanes == 16 {
							// VPSUBB has no operand of one number for all lanes.
							VPSUBB(u.thirtyTwo(), v, v)
						} else {
							VPSUBB(c, v, v)
						}
						u.columns(32*half+8*quarter+4*part+i, []VecVirtual{v})
					}
				}
			}
		}
	}
}

// thirtyTwo is a vector of bytes of 32.
func (u *unpacker) thirtyTwo() VecVirtual {
	v := u.w.new()
	VPBROADCASTD(constantBits(0x20202020), v)
	return v
}

// signedByte writes the j-th byte of each lane to dst.
func signedByte(v VecVirtual, j int, dst VecVirtual) {
	if j < 3 {
		VPSLLD(Imm(uint64(24-8*j)), v, dst)
		v = dst
	}
	VPSRAD(Imm(24), v, dst)
}

// minsName and minsDoc tell the kernels with minimums from those without.
func minsName(mins bool) string { return map[bool]string{true: "Mins"}[mins] }

func minsDoc(mins bool) string {
	return map[bool]string{false: "scale*code", true: "scale*code + minimum"}[mins]
}

// gemvCodes emits the products of one row with unpacked codes.
func gemvCodes(w vectors, mins bool) {
	name := "gemvCodes" + minsName(mins) + w.name
	function(name, "(c, a *float32, codes *uint32, scales, mins *float32, groups, fours int, alpha float32, add bool)",
		fmt.Sprintf("%s computes alpha times the products of a with %d rows of unpacked codes, each %s, in groups of\n"+
			"four times as many as given that have a scale, and stores them or adds them to c. The sums are those of the tile kernels.",
			name, unpackedRows, minsDoc(mins)))
	a, codes, scales := Load(Param("a"), GP64()), Load(Param("codes"), GP64()), Load(Param("scales"), GP64())
	groups, fours := Load(Param("groups"), GP64()), GP64()
	acc := make([]VecVirtual, unpackedRows/w.lanes)
	for i := range acc {
		acc[i] = w.new()
		if w.lanes == 16 {
			VPXORD(acc[i], acc[i], acc[i])
		} else {
			VXORPS(acc[i], acc[i], acc[i])
		}
	}
	group := newGroup(w, mins, len(acc), scales)
	Label("group")
	group.load()
	Load(Param("fours"), fours)
	Label("four")
	for j := range 4 {
		x := w.new()
		VBROADCASTSS(Mem{Base: a, Disp: 4 * j}, x)
		for q, sum := range acc {
			VFMADD231PS(x, group.number(Mem{Base: codes, Disp: 4 * w.lanes * q}, j, q), sum)
		}
	}
	ADDQ(Imm(16), a)
	ADDQ(U32(codeRow), codes)
	DECQ(fours)
	JNZ(LabelRef("four"))
	group.next()
	DECQ(groups)
	JNZ(LabelRef("group"))
	storeSums(w, acc)
	finish()
}

// widenCodes emits what writes unpacked codes to a panel.
func widenCodes(w vectors, mins bool) {
	name := "widenCodes" + minsName(mins) + w.name
	function(name, "(dst *float32, codes *uint32, scales, mins *float32, groups, fours int)",
		fmt.Sprintf("%s writes %d rows of unpacked codes, each %s, in groups of four times as many as given that have a\n"+
			"scale, as columns to dst, whose rows are 16 long.", name, w.lanes, minsDoc(mins)))
	dst, codes, scales := Load(Param("dst"), GP64()), Load(Param("codes"), GP64()), Load(Param("scales"), GP64())
	groups, fours := Load(Param("groups"), GP64()), GP64()
	group := newGroup(w, mins, 1, scales)
	Label("group")
	group.load()
	Load(Param("fours"), fours)
	Label("four")
	for j := range 4 {
		VMOVUPS(group.number(Mem{Base: codes}, j, 0), Mem{Base: dst, Disp: 64 * j})
	}
	ADDQ(U32(256), dst)
	ADDQ(U32(codeRow), codes)
	DECQ(fours)
	JNZ(LabelRef("four"))
	group.next()
	DECQ(groups)
	JNZ(LabelRef("group"))
	finish()
}

// group holds what codes of a group are multiplied by: vectors for some of the rows beside each other.
type group struct {
	w            vectors
	scalesAt     Register
	minsAt       Register // nil: none
	scales, mins []VecVirtual
}

func newGroup(w vectors, mins bool, n int, scales Register) *group {
	g := &group{w: w, scalesAt: scales}
	if mins {
		g.minsAt = Load(Param("mins"), GP64())
	}
	for range n {
		g.scales = append(g.scales, w.new())
		if mins {
			g.mins = append(g.mins, w.new())
		}
	}
	return g
}

func (g *group) load() {
	for q, v := range g.scales {
		VMOVUPS(Mem{Base: g.scalesAt, Disp: 4 * g.w.lanes * q}, v)
		if g.minsAt != nil {
			VMOVUPS(Mem{Base: g.minsAt, Disp: 4 * g.w.lanes * q}, g.mins[q])
		}
	}
}

func (g *group) next() {
	ADDQ(U32(codeRow), g.scalesAt)
	if g.minsAt != nil {
		ADDQ(U32(codeRow), g.minsAt)
	}
}

// number widens the j-th of the four codes at m, those of the q-th vector.
func (g *group) number(m Mem, j, q int) VecVirtual {
	v := g.w.new()
	VMOVUPS(m, v)
	signedByte(v, j, v)
	VCVTDQ2PS(v, v)
	if g.minsAt != nil {
		VFMADD213PS(g.mins[q], g.scales[q], v)
	} else {
		VMULPS(g.scales[q], v, v)
	}
	return v
}
