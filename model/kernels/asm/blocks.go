package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Weights in blocks of codes are multiplied in two steps. The first, one kernel a type, unpacks some rows of them: it
// turns the codes into bytes, four numbers of a row in a lane with the rows side by side, and what a block says of
// scales into a scale and a minimum, in float32, of each row and group of numbers. The second, one kernel for each way
// to read a byte as a number, multiplies with scale*number + minimum or writes that to a panel. With AVX-512 one kernel
// does both for a single row, see fuse.

// unpackedRows is the number of rows side by side in the buffers, codeRow the bytes of a line of them.
const (
	unpackedRows = 64
	codeRow      = 4 * unpackedRows
)

// sumVectors is how many vectors of sums one row is multiplied for at once, to hide each other's latency.
const sumVectors = 4

// blockType is a type of blocks: how many bytes a block has, of how many numbers, and how many of these have a scale.
type blockType struct {
	name               string
	size, count, group int
	code               string                               // how its bytes are read
	scales             func(u *unpacker)                    // emits the unpacking of what a block says of scales
	codes              func(u *unpacker, part int) []func() // that of a part of its codes, step by step
	words              []int                                // of four bytes that these two read, places in a block
}

// partNumbers is how many numbers a part of a block has at most.
const partNumbers = 128

func (t blockType) parts() int { return max(1, t.count/partNumbers) }

// unpack emits the unpacking of a block.
func (t blockType) unpack(u *unpacker) {
	t.scales(u)
	for part := range t.parts() {
		for _, emit := range t.codes(u, part) {
			emit()
		}
		u.codes.Disp += partNumbers / 4 * codeRow
	}
	u.codes.Disp = 0
}

// byteCodes are the ways to read a byte as a number.
//
// Whole reads codes of up to 5 bits as what they are. In the others the byte becomes part of a number's mantissa, which
// takes no conversion. Signed reads a code q of 8 bits in two's complement as 1 + (q+128)/2¹⁵: of d·q the scale is 2¹⁵·d
// and the minimum -(2¹⁵+2⁷)·d. Eights and Sixteens read one of up to 5 bits as 1 + q/2¹⁵: of d·(q-8) and d·(q-16) the
// minimums are -(2¹⁵+2³)·d and -(2¹⁵+2⁴)·d. Centered reads a code q of 6 bits as 1 + q/2⁷: of s·(q-32) the scale is 2⁷·s
// and the minimum -(2⁷+2⁵)·s. All these are exact in float32, and so the multiplication with one rounding gives the number
// that d·q or s·(q-32) is in float32. Where the scale has all bits of a float32, it is not: Scaled reads a code of 8 bits in
// two's complement as 2²³+128+q, takes off what is not q, and multiplies by the scale; there are no minimums.
//
// Of blocks with nothing but a scale in half precision, that is what stands in the line of scales, which takes no
// vector instructions while they are unpacked, and the products read it.
var byteCodes = []byteCode{
	{name: "Whole", mask: 31},
	{name: "Eights", at: 8, mask: 0x1f00, with: 0x3f800000, halves: true, scale: 1 << 15, min: -(1<<15 + 1<<3)},
	{name: "Sixteens", at: 8, mask: 0x1f00, with: 0x3f800000, halves: true, scale: 1 << 15, min: -(1<<15 + 1<<4)},
	{name: "Signed", at: 8, mask: 0xff00, with: 0x3f808000, halves: true, scale: 1 << 15, min: -(1<<15 + 1<<7)},
	{name: "Centered", at: 16, mask: 0x3f0000, with: 0x3f800000, scale: 1 << 7, min: -(1<<7 + 1<<5)},
	{name: "Scaled", mask: 0xff, with: 0x4b000080, less: 1<<23 + 128},
}

// byteCode is one of them: the byte is read to the bits from at on, those of mask are kept and those of with turned.
type byteCode struct {
	name       string
	at         int
	mask, with uint32
	less       float32 // than what is read is the number, if not 0
	halves     bool    // the line of scales is in half precision
	scale, min float32 // times the line of scales are scale and minimum; 0: lines have both, or there are no minimums
}

func blockTypes() []blockType {
	block32 := func(name string, size int, code string, fifths, hasMin bool, words ...int) blockType {
		return blockType{
			name, size, 32, 32, code,
			func(u *unpacker) { u.scales32(hasMin) },
			func(u *unpacker, _ int) []func() { return []func(){func() { u.codes32(fifths, hasMin) }} },
			words,
		}
	}
	return []blockType{
		wholeBytes("Q80", 34, "Signed", 2),
		block32("Q40", 18, "Eights", false, false),
		block32("Q41", 20, "Whole", false, true, 0),
		block32("Q50", 22, "Sixteens", true, false, 2),
		block32("Q51", 24, "Whole", true, true, 0, 4),
		{"Q4K", 144, 256, 32, "Whole", (*unpacker).scalesAndMins, func(u *unpacker, part int) []func() { return u.superblock(false, part) }, nil},
		{"Q5K", 176, 256, 32, "Whole", (*unpacker).scalesAndMins, func(u *unpacker, part int) []func() { return u.superblock(true, part) }, nil},
		{"Q6K", 210, 256, 16, "Centered", (*unpacker).scales16, (*unpacker).sixBits, nil},
		wholeBytes("I8", 36, "Scaled", 4),
		halfBytes("I4", 20, 1),
		halfBytes("I4Two", 24, 2),
	}
}

// wholeBytes are blocks of 32 codes of 8 bits behind a scale of so many bytes.
func wholeBytes(name string, size int, code string, scale int) blockType {
	return blockType{
		name, size, 32, 32, code,
		func(u *unpacker) { u.copy(0, scale, 0) },
		func(u *unpacker, _ int) []func() {
			return []func(){
				func() { u.columns(0, u.fours(scale)) },
				func() { u.columns(4, u.fours(scale+16)) },
			}
		},
		nil,
	}
}

// halfBytes are blocks of 32 codes of 4 bits, 8 greater than what they stand for, behind some float32 scales.
func halfBytes(name string, size, scales int) blockType {
	return blockType{
		name, size, 32, 32 / scales, "Scaled",
		func(u *unpacker) {
			for i := range scales {
				u.copy(4*i, 4, i)
			}
		},
		func(u *unpacker, _ int) []func() {
			return []func(){func() {
				bytes := u.fours(4 * scales)
				for i := range 8 {
					v := u.shifted(bytes[i%4], -4*(i/4), lowHalves)
					VPSUBB(table("eights", func(int) uint32 { return 0x08080808 }), v, v)
					u.columns(i, []VecVirtual{v})
				}
			}}
		},
		nil,
	}
}

func blockKernels() {
	fetchRows()
	for _, w := range []vectors{avx2, avx512} {
		for _, t := range blockTypes() {
			unpack(t, w)
		}
		for _, c := range byteCodes {
			widenCodes(w, c)
		}
	}
	for _, c := range byteCodes {
		gemvCodes(c)
	}
	for _, t := range blockTypes() {
		fuse(t)
	}
}

// fetchRows emits what brings rows into the caches.
func fetchRows() {
	function("fetchRows", "(src *byte, srcRow, rows, n int)",
		"fetchRows fetches rows of n bytes, not 0, which are srcRow bytes apart, into the caches.")
	src, srcRow, rows, n := Load(Param("src"), GP64()), Load(Param("srcRow"), GP64()), Load(Param("rows"), GP64()), Load(Param("n"), GP64())
	at, end := GP64(), GP64()
	Label("row")
	MOVQ(src, at)
	LEAQ(Mem{Base: src, Index: n, Scale: 1}, end)
	Label("line")
	PREFETCHT1(Mem{Base: at})
	ADDQ(Imm(64), at)
	CMPQ(at, end)
	JLT(LabelRef("line"))
	ADDQ(srcRow, src)
	DECQ(rows)
	JNZ(LabelRef("row"))
	RET()
}

// unpacker emits the unpacking of one block of each of as many rows as vectors have lanes.
type unpacker struct {
	w                   vectors
	row                 func(i int) Mem // the present block of a row
	codes, scales, mins Mem
	copied              map[int]Mem // lines that have what words reads at some place
	columnsDone         func()      // is called for each vector of codes that was written, if not nil
}

func unpack(t blockType, w vectors) {
	name := "unpack" + t.name + w.name
	function(name, "(codes *uint32, scales, mins *float32, src *byte, srcRow, n int, fetch *byte, step int)",
		fmt.Sprintf("%s unpacks %d rows of %s blocks, n numbers long, a multiple of %d, and srcRow bytes apart: four codes each\n"+
			"to codes and what they are multiplied by, of each %d, to scales and mins, whose lines hold %d rows. For each 64\n"+
			"numbers of all rows together it fetches a byte into the caches, step bytes behind the one before.",
			name, w.lanes, t.name, t.count, t.group, unpackedRows))
	src, srcRow := Load(Param("src"), GP64()).(GPVirtual), Load(Param("srcRow"), GP64()).(GPVirtual)
	rows := newRowsOfThree(src, srcRow, w.lanes)
	codes, scales, mins := Load(Param("codes"), GP64()), Load(Param("scales"), GP64()), Load(Param("mins"), GP64())
	n, fetch, step := Load(Param("n"), GP64()), Load(Param("fetch"), GP64()), Load(Param("step"), GP64())
	lines := 0
	u := &unpacker{
		w: w, row: rows.row,
		codes: Mem{Base: codes}, scales: Mem{Base: scales}, mins: Mem{Base: mins},
		columnsDone: func() {
			if lines++; lines*w.lanes%16 == 0 {
				PREFETCHT1(Mem{Base: fetch})
				ADDQ(step, fetch)
			}
		},
	}
	Label("block")
	t.unpack(u)
	for _, p := range rows.pointers {
		ADDQ(U32(uint32(t.size)), p)
	}
	ADDQ(U32(uint32(t.count/4*codeRow)), codes)
	ADDQ(U32(uint32(t.count/t.group*codeRow)), scales)
	ADDQ(U32(uint32(t.count/t.group*codeRow)), mins)
	SUBQ(U32(uint32(t.count)), n)
	JNZ(LabelRef("block"))
	finish()
}

// copy copies two or four bytes of each row to the i-th line of scales.
func (u *unpacker) copy(disp, bytes, i int) { u.copyTo(u.scales.Offset(codeRow*i), disp, bytes) }

func (u *unpacker) copyTo(line Mem, disp, bytes int) {
	for row := range u.w.lanes {
		x, to := GP32(), line.Offset(bytes*row)
		if bytes == 2 {
			MOVWLZX(u.at(row, disp), x)
			MOVW(x.As16(), to)
		} else {
			MOVL(u.at(row, disp), x)
			MOVL(x, to)
		}
	}
}

// at is the place disp bytes into the block of row i.
func (u *unpacker) at(i, disp int) Mem { return u.row(i).Offset(disp) }

// fours reads the 16 bytes at disp of all rows and returns four vectors: the first four bytes of every row, the next
// four, and so on.
func (u *unpacker) fours(disp int) []VecVirtual {
	v := make([]VecVirtual, 4)
	for i := range v {
		v[i] = u.w.new()
		if u.w.lanes == 8 {
			VBROADCASTI128(u.at(i, disp), v[i])
			VINSERTI128(Imm(1), u.at(i+4, disp), v[i], v[i])
			continue
		}
		VBROADCASTI32X4(u.at(i, disp), v[i])
		for quarter := 1; quarter < 4; quarter++ {
			VINSERTI32X4(Imm(uint64(quarter)), u.at(i+4*quarter, disp), v[i], v[i])
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

// halves widens the half-precision number at disp of every row.
func (u *unpacker) halves(disp int) VecVirtual {
	x := make([]VecVirtual, u.w.lanes/8)
	for i := range x {
		x[i] = YMM()
		if u.w.lanes == 16 {
			VPXORD(x[i], x[i], x[i])
		} else {
			VPXOR(x[i], x[i], x[i])
		}
		for j := range 8 {
			VPINSRW(Imm(uint64(j)), u.at(8*i+j, disp), x[i].AsX(), x[i].AsX())
		}
	}
	v := u.w.new()
	if len(x) == 1 {
		VCVTPH2PS(x[0].AsX(), v)
		return v
	}
	VINSERTI32X4(Imm(1), x[1].AsX(), x[0], x[0])
	VCVTPH2PS(x[0], v)
	return v
}

// words reads the four bytes at disp of every row.
func (u *unpacker) words(disp int) VecVirtual {
	v := u.w.new()
	if at, ok := u.copied[disp]; ok {
		VMOVDQU32(at, v)
		return v
	}
	VPBROADCASTD(u.at(0, disp), v)
	for quarter := range u.w.lanes / 4 {
		x := v.AsX()
		if quarter > 0 {
			x = XMM()
			VMOVD(u.at(4*quarter, disp), x)
		}
		for j := 1; j < 4; j++ {
			VPINSRD(Imm(uint64(j)), u.at(4*quarter+j, disp), x, x)
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

// half widens the half-precision number in the lower or upper half of each lane.
func (u *unpacker) half(v VecVirtual, upper bool) VecVirtual {
	wide, narrow := u.w.new(), YMM()
	switch {
	case u.w.lanes == 16 && upper:
		VPSRLD(Imm(16), v, wide)
		VPMOVDW(wide, narrow)
	case u.w.lanes == 16:
		VPMOVDW(v, narrow)
	default:
		if upper {
			VPSRLD(Imm(16), v, narrow)
		} else {
			VPAND(constantBits(0xffff), v, narrow)
		}
		VPACKUSDW(narrow, narrow, narrow)
		VPERMQ(Imm(8), narrow, narrow)
		VCVTPH2PS(narrow.AsX(), wide)
		return wide
	}
	VCVTPH2PS(narrow, wide)
	return wide
}

// columns stores four vectors of codes from the i-th four of a block on, scale and min what group i is multiplied by.
func (u *unpacker) columns(i int, v []VecVirtual) {
	for j, c := range v {
		VMOVUPS(c, u.codes.Offset(codeRow*(i+j)))
		if u.columnsDone != nil {
			u.columnsDone()
		}
	}
}
func (u *unpacker) scale(i int, v VecVirtual) { VMOVUPS(v, u.scales.Offset(codeRow*i)) }
func (u *unpacker) min(i int, v VecVirtual)   { VMOVUPS(v, u.mins.Offset(codeRow*i)) }

// and keeps bits of dst, negate turns the sign of numbers.
func (u *unpacker) and(bits uint32, dst VecVirtual) {
	if c := constantBits(bits); u.w.lanes == 16 {
		VPANDD_BCST(c, dst, dst)
	} else {
		VPAND(c, dst, dst)
	}
}

func (u *unpacker) negate(dst VecVirtual) {
	if sign := constantBits(1 << 31); u.w.lanes == 16 {
		VPXORD_BCST(sign, dst, dst)
	} else {
		VPXOR(sign, dst, dst)
	}
}

// orBits sets those of bits in dst that v has.
func (u *unpacker) orBits(v VecVirtual, bits uint32, dst VecVirtual) {
	if c := constantBits(bits); u.w.lanes == 16 {
		VPTERNLOGD_BCST(Imm(0xf8), c, v, dst) // dst | v & c
		return
	}
	masked := u.w.new()
	VPAND(constantBits(bits), v, masked)
	VPOR(masked, dst, dst)
}

// multiplied writes number times v to p.
func multiplied(w vectors, number float32, v, p VecVirtual) {
	if c := constant(number); w.lanes == 16 {
		VMULPS_BCST(c, v, p)
	} else {
		VMULPS(c, v, p)
	}
}

// shift returns v shifted to the left, or right if by is negative; shifted keeps bits of that.
func (u *unpacker) shift(v VecVirtual, by int) VecVirtual {
	s := u.w.new()
	switch {
	case by > 0:
		VPSLLD(Imm(uint64(by)), v, s)
	case by < 0:
		VPSRLD(Imm(uint64(-by)), v, s)
	default:
		return v
	}
	return s
}

func (u *unpacker) shifted(v VecVirtual, by int, bits uint32) VecVirtual {
	s := u.shift(v, by)
	if by != 0 {
		u.and(bits, s)
		return s
	}
	s = u.w.new()
	if c := constantBits(bits); u.w.lanes == 16 {
		VPANDD_BCST(c, v, s)
	} else {
		VPAND(c, v, s)
	}
	return s
}

const (
	lowHalves = 0x0f0f0f0f
	fifthBits = 0x10101010
	upperTwo  = 0x30303030
	sixBits   = 0x3f
)

// scales32 and codes32 are of Q4_0, Q4_1, Q5_0 or Q5_1: a scale, a minimum or none, the fifth bits of all codes, and
// halves of bytes.
func (u *unpacker) scales32(hasMin bool) {
	if !hasMin {
		u.copy(0, 2, 0)
		return
	}
	both := u.words(0)
	u.scale(0, u.half(both, false))
	u.min(0, u.half(both, true))
}

func (u *unpacker) codes32(fifths, hasMin bool) {
	at := 2
	if hasMin {
		at = 4
	}
	var fifth Mem
	var bits [2]VecVirtual // those of odd fours, and those of even fours where odd ones' are
	if fifths {
		bits[1] = u.words(at)
		bits[0] = u.shift(bits[1], 4)
		fifth = table("fifths", func(int) uint32 { return fifthBits })
		at += 4
	}
	bytes := u.fours(at)
	for i := range 8 {
		v := u.shifted(bytes[i%4], -4*(i/4), lowHalves)
		if fifths {
			// Of the byte that has the fifth bits of four codes in its upper half, each code takes one.
			four := u.w.new()
			VPSHUFB(table(fmt.Sprint("byte", i/2), func(lane int) uint32 { return 0x01010101 * uint32(4*(lane%4)+i/2) }), bits[i%2], four)
			u.and(0x80402010, four)
			VPMINUB(fifth, four, four)
			u.orBits(four, fifthBits, v)
		}
		u.columns(i, []VecVirtual{v})
	}
}

// superblock is Q4_K or Q5_K: a part has the codes of two pairs of groups, each pair in halves of the same bytes.
func (u *unpacker) superblock(fifths bool, part int) (steps []func()) {
	at := 16
	if fifths {
		at += 32
	}
	for half := range 2 { // of the 32 codes of a group
		var bits []VecVirtual
		if fifths {
			steps = append(steps, func() { bits = u.fours(16 + 16*half) })
		}
		for pair := 2 * part; pair < 2*part+2; pair++ {
			steps = append(steps, func() {
				bytes := u.fours(at + 32*pair + 16*half)
				for upper := range 2 {
					group := 2*pair + upper
					for i, b := range bytes {
						v := u.shifted(b, -4*upper, lowHalves)
						if fifths {
							u.orBits(u.shift(bits[i], 4-group), fifthBits, v)
						}
						u.columns(8*(group-4*part)+4*half+i, []VecVirtual{v})
					}
				}
			})
		}
	}
	return steps
}

// scalesAndMins unpacks 6 bits of a scale and of a minimum for each of eight groups and multiplies them by those of the
// whole block; see scaleAndMin of package hf for where they are.
func (u *unpacker) scalesAndMins() {
	bytes := u.fours(0)
	scale, low := u.half(bytes[0], false), u.half(bytes[0], true)
	bytes = bytes[1:]
	u.negate(low)
	for group := range 8 {
		shift := 8 * (group % 4)
		var s, m VecVirtual
		if group < 4 {
			s, m = u.shifted(bytes[0], -shift, sixBits), u.shifted(bytes[1], -shift, sixBits)
		} else {
			s, m = u.shifted(bytes[2], -shift, 15), u.shifted(bytes[2], -shift-4, 15)
			u.orBits(u.shift(bytes[0], -shift-2), 0x30, s)
			u.orBits(u.shift(bytes[1], -shift-2), 0x30, m)
		}
		VCVTDQ2PS(s, s)
		VMULPS(scale, s, s)
		u.scale(group, s)
		VCVTDQ2PS(m, m)
		VMULPS(low, m, m)
		u.min(group, m)
	}
}

// scales16 and sixBits are of Q6_K: a part has half of the codes.
func (u *unpacker) scales16() {
	scale, bytes := u.halves(208), u.fours(192)
	for group := range 16 {
		s := u.w.new()
		signedByte(bytes[group/4], group%4, s)
		VCVTDQ2PS(s, s)
		VMULPS(scale, s, s)
		u.scale(group, s)
	}
}

func (u *unpacker) sixBits(half int) (steps []func()) {
	for part := range 2 { // 16 of the 32 bytes that hold the same two bits
		var upper []VecVirtual
		steps = append(steps, func() { upper = u.fours(128 + 32*half + 16*part) })
		for pair := range 2 {
			steps = append(steps, func() {
				lower := u.fours(64*half + 32*pair + 16*part)
				for nibble := range 2 {
					quarter := pair + 2*nibble
					for i, b := range lower {
						v := u.shifted(b, -4*nibble, lowHalves)
						u.orBits(u.shift(upper[i], 4-2*quarter), upperTwo, v)
						u.columns(8*quarter+4*part+i, []VecVirtual{v})
					}
				}
			})
		}
	}
	return steps
}

// signedByte writes the j-th byte of each lane to dst.
func signedByte(v VecVirtual, j int, dst VecVirtual) {
	if j < 3 {
		VPSLLD(Imm(uint64(24-8*j)), v, dst)
		v = dst
	}
	VPSRAD(Imm(24), v, dst)
}

// gemvCodes emits the products of one row with unpacked codes, for AVX2: fuse does it for AVX-512.
func gemvCodes(c byteCode) {
	w := avx2
	name := "gemv" + c.name + w.name
	function(name, "(c, a *float32, codes *uint32, scales, mins *float32, groups, fours int, alpha float32, add bool, fetch *byte, step int)",
		fmt.Sprintf("%s computes alpha times the products of a with %d rows of unpacked codes, in groups of four times as many\n"+
			"as given that have a scale, and stores them or adds them to c. The sums are those of the tile kernels. For each 64\n"+
			"numbers of all rows together it fetches a byte into the caches, step bytes behind the one before.", name, sumVectors*w.lanes))
	a := Load(Param("a"), GP64())
	fetch, step := Load(Param("fetch"), GP64()), Load(Param("step"), GP64())
	acc := zeros(sumVectors)
	eachFour(w, c, len(acc), func(number func(j, q int) VecVirtual) {
		for j := range 4 {
			x := w.new()
			VBROADCASTSS(Mem{Base: a, Disp: 4 * j}, x)
			for q, sum := range acc {
				VFMADD231PS(x, number(j, q), sum)
			}
		}
		ADDQ(Imm(16), a)
		for range sumVectors * w.lanes * 4 / 64 / 2 {
			PREFETCHT1(Mem{Base: fetch})
			PREFETCHT1(Mem{Base: fetch, Index: step, Scale: 1})
			LEAQ(Mem{Base: fetch, Index: step, Scale: 2}, fetch)
		}
	})
	storeSums(w, acc)
	finish()
}

// widenCodes emits what writes unpacked codes to a panel.
func widenCodes(w vectors, c byteCode) {
	name := "widen" + c.name + w.name
	function(name, "(dst *float32, codes *uint32, scales, mins *float32, groups, fours int)",
		fmt.Sprintf("%s writes %d rows of unpacked codes, in groups of four times as many as given that have a scale, as\n"+
			"columns to dst, whose rows are 16 long.", name, w.lanes))
	dst := Load(Param("dst"), GP64())
	eachFour(w, c, 1, func(number func(j, q int) VecVirtual) {
		for j := range 4 {
			VMOVUPS(number(j, 0), Mem{Base: dst, Disp: 64 * j})
		}
		ADDQ(U32(256), dst)
	})
	finish()
}

// eachFour emits a loop over lines of unpacked codes, n vectors of each. number emits the j-th number of each lane of
// the q-th vector.
func eachFour(w vectors, c byteCode, n int, f func(number func(j, q int) VecVirtual)) {
	codes, scales, mins := Load(Param("codes"), GP64()), Load(Param("scales"), GP64()), Load(Param("mins"), GP64())
	groups, fours := Load(Param("groups"), GP64()), GP64()
	r := newByteReader(w, c)
	Label("group")
	r.readScales(n, Mem{Base: scales}, Mem{Base: mins})
	Load(Param("fours"), fours)
	Label("four")
	f(func(j, q int) VecVirtual {
		v := w.new()
		at := Mem{Base: codes, Disp: 4*w.lanes*q + j - c.at/8} // which puts byte j where it is wanted
		if w.lanes == 16 {
			VMOVDQU32(at, v)
		} else {
			VMOVDQU(at, v)
		}
		r.number(v, q)
		return v
	})
	ADDQ(U32(codeRow), codes)
	DECQ(fours)
	JNZ(LabelRef("four"))
	ADDQ(U32(codeRow), scales)
	ADDQ(U32(codeRow), mins)
	DECQ(groups)
	JNZ(LabelRef("group"))
}

// byteReader reads bytes as numbers.
type byteReader struct {
	w            vectors
	c            byteCode
	constants    [2]VecVirtual // of AVX-512: a table, or what bytes are masked and turned with
	scales, mins []VecVirtual
}

func newByteReader(w vectors, c byteCode) *byteReader {
	r := &byteReader{w: w, c: c}
	switch {
	case w.lanes == 8:
	case c.with == 0:
		r.constants = [2]VecVirtual{numbers(0), numbers(16)}
	default:
		r.constants = [2]VecVirtual{ZMM(), ZMM()}
		VPBROADCASTD(constantBits(c.mask), r.constants[0])
		VPBROADCASTD(constantBits(c.with), r.constants[1])
	}
	return r
}

// readScales reads n vectors of scales and minimums from their lines.
func (r *byteReader) readScales(n int, scales, mins Mem) {
	c := r.c
	r.scales, r.mins = make([]VecVirtual, n), make([]VecVirtual, n)
	for q := range n {
		scale, at := r.w.new(), 4*r.w.lanes*q
		r.scales[q] = scale
		if c.halves {
			VCVTPH2PS(scales.Offset(at), scale)
		} else {
			VMOVUPS(scales.Offset(at), scale)
		}
		if c.less != 0 {
			continue
		}
		r.mins[q] = r.w.new()
		if c.scale == 0 {
			VMOVUPS(mins.Offset(at), r.mins[q])
			continue
		}
		multiplied(r.w, c.min, scale, r.mins[q])
		if c.scale != 1 {
			multiplied(r.w, c.scale, scale, scale)
		}
	}
}

// number turns v, which has the bytes where they are wanted, into numbers of the q-th vector.
func (r *byteReader) number(v VecVirtual, q int) {
	switch {
	case r.w.lanes == 16 && r.c.with == 0:
		VPERMI2PS(r.constants[1], r.constants[0], v)
	case r.w.lanes == 16:
		VPTERNLOGD(Imm(0x6c), r.constants[0], r.constants[1], v) // with ^ mask & v
	case r.c.with == 0:
		VPAND(constantBits(r.c.mask), v, v)
		VCVTDQ2PS(v, v)
	default:
		VPAND(constantBits(r.c.mask), v, v)
		VPXOR(constantBits(r.c.with), v, v)
	}
	if r.c.less == 0 {
		VFMADD213PS(r.mins[q], r.scales[q], v)
		return
	}
	if less := constant(r.c.less); r.w.lanes == 16 {
		VSUBPS_BCST(less, v, v)
	} else {
		VSUBPS(less, v, v)
	}
	VMULPS(r.scales[q], v, v)
}

// numbers is a vector of 16 whole numbers.
func numbers(from int) VecVirtual {
	v := ZMM()
	VMOVUPS(table(fmt.Sprint("numbers", from), func(lane int) uint32 { return math.Float32bits(float32(from + lane)) }), v)
	return v
}

// table returns a vector of 16 lanes in memory.
func table(name string, lane func(i int) uint32) Mem {
	m, ok := constants[name]
	if !ok {
		m = GLOBL(name, RODATA|NOPTR)
		for i := range 16 {
			DATA(4*i, U32(lane(i)))
		}
		constants[name] = m
	}
	return m
}
