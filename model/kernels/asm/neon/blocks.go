package main

import "fmt"

// Weights in blocks of codes are multiplied in two steps, as on amd64. The first, one kernel a type, unpacks four rows of
// them: it turns the codes into bytes, four numbers of a row in a word with the rows side by side, and what a block says
// of scales into a scale and a minimum, in float32, of each row and group of numbers; of blocks with nothing but a scale
// in half precision, that is copied as it is. The second multiplies with scale*number + minimum, or scale*number where a
// type has no minimum, or writes that to a panel. A byte is a number in two's complement: it is put into the upper byte
// of a word, from which one instruction converts.

// scaling is what unpacked codes are multiplied by: a scale, which is in half precision where a block says nothing else
// of scales, or a scale and a minimum.
type scaling struct {
	name         string
	halves, mins bool
}

var scalings = []scaling{{name: "Scaled"}, {name: "Halves", halves: true}, {name: "Whole", mins: true}}

// codeRow is the bytes of a line of the buffers that unpacked rows are written to.
const codeRow = 4 * unpackedRows

// unpackedRows is the number of rows side by side in the buffers.
const unpackedRows = 64

// blockType is a type of blocks: how many bytes a block has, of how many numbers, and how many of these have a scale.
type blockType struct {
	name               string
	size, count, group int
	unpack             func(u *unpacker)
}

func blockTypes() []blockType {
	return []blockType{
		{"Q80", 34, 32, 32, func(u *unpacker) {
			u.copyScale(0, 2, 0)
			u.columns(0, u.fours(2))
			u.columns(4, u.fours(18))
		}},
		{"Q40", 18, 32, 32, func(u *unpacker) { u.block32(false, false) }},
		{"Q41", 20, 32, 32, func(u *unpacker) { u.block32(false, true) }},
		{"Q50", 22, 32, 32, func(u *unpacker) { u.block32(true, false) }},
		{"Q51", 24, 32, 32, func(u *unpacker) { u.block32(true, true) }},
		{"Q4K", 144, 256, 32, func(u *unpacker) { u.superblock(false) }},
		{"Q5K", 176, 256, 32, func(u *unpacker) { u.superblock(true) }},
		{"Q6K", 210, 256, 16, (*unpacker).sixBits},
		{"I8", 36, 32, 32, func(u *unpacker) {
			u.copyScale(0, 4, 0)
			u.columns(0, u.fours(4))
			u.columns(4, u.fours(20))
		}},
		{"I4", 20, 32, 32, func(u *unpacker) { u.halfBytes(1) }},
		{"I4Two", 24, 32, 16, func(u *unpacker) { u.halfBytes(2) }},
	}
}

func blockKernels() {
	fetchRows()
	for _, t := range blockTypes() {
		unpack(t)
	}
	for _, s := range scalings {
		gemvCodes(s)
		widenCodes(s)
	}
}

// fetchRows emits what brings rows into the caches.
func fetchRows() {
	k := function("fetchRows", "(src *byte, srcRow, rows, n int)",
		"fetchRows fetches rows of n bytes, not 0, which are srcRow bytes apart, into the caches.")
	src, srcRow, rows, n, at, end := k.arg("src"), k.arg("srcRow"), k.arg("rows"), k.arg("n"), k.gp(), k.gp()
	k.mark("row")
	k.emit("MOVD %v, %v", src, at)
	k.emit("ADD %v, %v, %v", n, src, end)
	k.mark("line")
	k.prefetch(at)
	k.advance([]gp{at}, 64)
	k.emit("CMP %v, %v", end, at)
	k.emit("BLO line")
	k.emit("ADD %v, %v, %v", srcRow, src, src)
	k.emit("SUBS $1, %v, %v", rows, rows)
	k.emit("BNE row")
	k.emit("RET")
}

// unpacker emits the unpacking of one block of each of four rows.
type unpacker struct {
	*kernel
	rows                []gp
	codes, scales, mins gp
	fetch, step         gp
	lines               int // of codes that were written
	tmp                 gp
	byteConstants       map[byte]vec
	square              []vec // for transposing
	index               []vec // for number
}

func unpack(t blockType) {
	name := "unpack" + t.name + "NEON"
	k := function(name, "(codes *uint32, scales, mins *float32, src *byte, srcRow, n int, fetch *byte, step int)",
		fmt.Sprintf("%s unpacks 4 rows of %s blocks, n numbers long, a multiple of %d, and srcRow bytes apart: four codes each\n"+
			"to codes and what they are multiplied by, of each %d, to scales and mins, whose lines hold %d rows. For each 64\n"+
			"numbers of all rows together it fetches a byte into the caches, step bytes behind the one before.", name, t.name, t.count, t.group, gemvRows))
	u := &unpacker{kernel: k, rows: []gp{k.arg("src")}, byteConstants: map[byte]vec{}}
	stride := k.arg("srcRow")
	for i := 1; i < lanes; i++ {
		u.rows = append(u.rows, k.gp())
		k.emit("ADD %v, %v, %v", stride, u.rows[i-1], u.rows[i])
	}
	u.codes, u.scales, u.mins, u.tmp = k.arg("codes"), k.arg("scales"), k.arg("mins"), k.gp()
	n := k.arg("n")
	u.fetch, u.step = k.arg("fetch"), k.arg("step")
	for _, b := range []byte{0x0f, 0x3f, 0x10, 0x30, 8, 16, 32} {
		u.byteConstants[b] = k.byteConstant(b)
	}
	u.square, u.index = k.vecsOf(4), k.bytesOfWords()
	k.mark("block")
	t.unpack(u)
	k.advance(u.rows, t.size)
	k.advance([]gp{u.codes}, t.count/4*codeRow)
	k.advance([]gp{u.scales, u.mins}, t.count/t.group*codeRow)
	k.emit("SUBS $%d, %v, %v", t.count, n, n)
	k.emit("BNE block")
	k.emit("RET")
}

// fours reads the 16 bytes at disp of all rows and returns four vectors: the first four bytes of every row, the next
// four, and so on.
func (u *unpacker) fours(disp int) []vec {
	v := u.vecsOf(4)
	for i, row := range u.rows {
		u.read(row, disp, v[i])
	}
	u.transpose(v, u.square)
	return v
}

// copyScale copies two or four bytes at disp of every row to the scales of group i.
func (u *unpacker) copyScale(disp, bytes, i int) {
	load, store := "MOVHU", "MOVH"
	if bytes == 4 {
		load, store = "MOVWU", "MOVW"
	}
	for j, row := range u.rows {
		u.emit("%s %d(%v), %v", load, disp, row, u.tmp)
		u.emit("%s %v, %d(%v)", store, u.tmp, codeRow*i+bytes*j, u.scales)
	}
}

// halfOf widens the half-precision number at disp of every row, wordOf reads four bytes.
func (u *unpacker) halfOf(disp int) vec {
	v := u.vec()
	for i, row := range u.rows {
		u.emit("ADD $%d, %v, %v", disp, row, u.tmp)
		u.emit("VLD1 (%v), V%d.H[%d]", u.tmp, int(v), i)
	}
	u.widen(v, v)
	return v
}

func (u *unpacker) wordOf(disp int) vec {
	v := u.vec()
	for i, row := range u.rows {
		u.emit("ADD $%d, %v, %v", disp, row, u.tmp)
		u.emit("VLD1 (%v), V%d.S[%d]", u.tmp, int(v), i)
	}
	return v
}

// half widens the half-precision number in the lower or upper half of each word.
func (u *unpacker) half(v vec, upper int) vec {
	d := u.vec()
	u.emit("VUZP%d %s, %s, %s", 1+upper, v.halves(), v.halves(), d.halves())
	u.widen(d, d)
	return d
}

// columns stores vectors of codes from the i-th four of a block on and gives them back, scale and min what group i is
// multiplied by.
func (u *unpacker) columns(i int, v []vec) {
	for j, c := range v {
		u.write(c, u.codes, codeRow*(i+j))
		if u.lines++; u.lines%4 == 0 {
			u.fetchNext(u.fetch, u.step)
		}
	}
	u.free(v...)
}
func (u *unpacker) scale(i int, v vec) { u.write(v, u.scales, codeRow*i) }
func (u *unpacker) min(i int, v vec)   { u.write(v, u.mins, codeRow*i) }

// fetchNext fetches what p points to, which it moves a step on.
func (k *kernel) fetchNext(p, step gp) {
	k.prefetch(p)
	k.emit("ADD %v, %v, %v", step, p, p)
}

// shifted returns v shifted to the left, or right if by is negative, and of that the bits that each byte has in keep.
func (u *unpacker) shifted(v vec, by int, keep byte) vec {
	d := u.vec()
	if by == 0 {
		u.and(v, u.byteConstants[keep], d)
		return d
	}
	u.shift(v, by, d)
	u.and(d, u.byteConstants[keep], d)
	return d
}

// set sets those bits of keep in d that v has when it is shifted.
func (u *unpacker) set(v vec, by int, keep byte, d vec) {
	bits := u.shifted(v, by, keep)
	u.or(d, bits, d)
	u.free(bits)
}

// less takes a number from all bytes.
func (u *unpacker) less(b byte, d vec) { u.subBytes(d, u.byteConstants[b], d) }

// block32 is Q4_0, Q4_1, Q5_0 or Q5_1: a scale, a minimum or none, the fifth bits of all codes, and halves of bytes.
// Without a minimum, half of what codes reach to is taken off.
func (u *unpacker) block32(fifths, hasMin bool) {
	at := 2
	if hasMin {
		both := u.wordOf(0)
		u.scale(0, u.half(both, 0))
		u.min(0, u.half(both, 1))
		at = 4
	} else {
		u.copyScale(0, 2, 0)
	}
	var bits vec
	var masks []vec
	if fifths {
		bits = u.wordOf(at)
		at += 4
		masks = []vec{u.vec(), u.vec()} // of even fours, which have the lower half of a byte of bits, and of odd ones
		u.quad(masks[0], []uint32{0x08040201, 0x08040201, 0x08040201, 0x08040201})
		u.quad(masks[1], []uint32{0x80402010, 0x80402010, 0x80402010, 0x80402010})
	}
	bytes := u.fours(at)
	for i := range 8 {
		v := u.shifted(bytes[i%4], -4*(i/4), 0x0f)
		if fifths {
			four, index := u.vec(), u.vec()
			var w []uint32
			for l := range lanes {
				w = append(w, 0x01010101*uint32(4*l+i/2))
			}
			u.quad(index, w)
			u.pick(bits, index, four)
			u.emit("VCMTST %s, %s, %s", masks[i%2].bytes(), four.bytes(), four.bytes())
			u.set(four, 0, 0x10, v)
			u.free(four, index)
		}
		if !hasMin {
			u.less(map[bool]byte{false: 8, true: 16}[fifths], v)
		}
		u.columns(i, []vec{v})
	}
}

// halfBytes are codes of 4 bits, 8 greater than what they stand for, with some scales.
func (u *unpacker) halfBytes(scales int) {
	for i := range scales {
		u.copyScale(4*i, 4, i)
	}
	bytes := u.fours(4 * scales)
	for i := range 8 {
		v := u.shifted(bytes[i%4], -4*(i/4), 0x0f)
		u.less(8, v)
		u.columns(i, []vec{v})
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
		var bits []vec
		if fifths {
			bits = u.fours(16 + 16*half)
		}
		for pair := range 4 { // of groups, whose codes are halves of the same bytes
			bytes := u.fours(at + 32*pair + 16*half)
			for upper := range 2 {
				group := 2*pair + upper
				for i, b := range bytes {
					v := u.shifted(b, -4*upper, 0x0f)
					if fifths {
						u.set(bits[i], 4-group, 0x10, v)
					}
					u.columns(8*group+4*half+i, []vec{v})
				}
			}
			u.free(bytes...)
		}
		u.free(bits...)
	}
}

// scalesAndMins unpacks 6 bits of a scale and of a minimum for each of eight groups and multiplies them by those of the
// whole block; see scaleAndMin of package hf for where they are.
func (u *unpacker) scalesAndMins() {
	defer u.keep()()
	bytes := u.fours(0)
	scale, low := u.half(bytes[0], 0), u.half(bytes[0], 1)
	bytes = bytes[1:]
	u.neg(low, low)
	// Bytes of four groups each, a group in a byte of a word: 6 bits of them.
	four := func(group int) (s, m vec) {
		if group == 0 {
			return u.shifted(bytes[0], 0, 0x3f), u.shifted(bytes[1], 0, 0x3f)
		}
		s, m = u.shifted(bytes[2], 0, 0x0f), u.shifted(bytes[2], -4, 0x0f)
		u.set(bytes[0], -2, 0x30, s)
		u.set(bytes[1], -2, 0x30, m)
		return s, m
	}
	for group := 0; group < 8; group += 4 {
		s, m := four(group)
		for i := range 4 {
			v := u.vec()
			u.number(s, i, v)
			u.mul(v, scale, v)
			u.scale(group+i, v)
			u.number(m, i, v)
			u.mul(v, low, v)
			u.min(group+i, v)
			u.free(v)
		}
		u.free(s, m)
	}
}

// number converts the i-th byte of each word.
func (u *unpacker) number(v vec, i int, d vec) {
	u.pick(v, u.index[i], d)
	u.signedByte(d, d)
}

// sixBits is Q6_K.
func (u *unpacker) sixBits() {
	release := u.keep()
	scale, bytes := u.halfOf(208), u.fours(192)
	for group := range 16 {
		s := u.vec()
		u.number(bytes[group/4], group%4, s)
		u.mul(s, scale, s)
		u.scale(group, s)
		u.free(s)
	}
	release()
	for half := range 2 { // of 128 numbers
		for part := range 2 { // 16 of the 32 bytes that hold the same two bits
			upper := u.fours(128 + 32*half + 16*part)
			for pair := range 2 {
				lower := u.fours(64*half + 32*pair + 16*part)
				for nibble := range 2 {
					quarter := pair + 2*nibble
					for i, b := range lower {
						v := u.shifted(b, -4*nibble, 0x0f)
						u.set(upper[i], 4-2*quarter, 0x30, v)
						u.less(32, v)
						u.columns(32*half+8*quarter+4*part+i, []vec{v})
					}
				}
				u.free(lower...)
			}
			u.free(upper...)
		}
	}
}

// bytesOfWords returns the indexes for pick that put the first byte of each word into its upper byte, the second, and so
// on.
func (k *kernel) bytesOfWords() []vec {
	v := make([]vec, 4)
	for i := range v {
		v[i] = k.upperByte(func(lane int) int { return 4*lane + i })
	}
	return v
}

// codesSig are the parameters of what reads unpacked codes.
const codesSig = ", codes *uint32, scales, mins *float32, groups, fours int"

// gemvCodes emits the products of one row with unpacked codes.
func gemvCodes(s scaling) {
	name := "gemv" + s.name + "NEON"
	k := function(name, "(c, a *float32"+codesSig+", alpha float32, add bool, fetch *byte, step int)",
		fmt.Sprintf("%s computes alpha times the products of a with %d rows of unpacked codes, in groups of four times as many\n"+
			"as given that have a scale, and stores them or adds them to c. The sums are those of the tile kernels. For each 64\n"+
			"numbers of all rows together it fetches a byte into the caches, step bytes behind the one before.", name, gemvRows))
	fetch, step := k.arg("fetch"), k.arg("step")
	a, acc, factors, codes := k.arg("a"), k.zeros(gemvRows/lanes), k.vec(), k.vec()
	k.eachFour(s, len(acc), func(at gp, number func(codes vec, j, q int) vec) {
		k.read(a, 0, factors)
		for q, sum := range acc {
			k.read(at, 16*q, codes)
			for j := range 4 {
				v := number(codes, j, q)
				k.fmaLane(v, lane{factors, j}, sum)
			}
		}
		k.advance([]gp{a}, 16)
		k.fetchNext(fetch, step)
		k.fetchNext(fetch, step)
	})
	k.storeSums(acc, factors, codes)
}

// widenCodes emits what writes unpacked codes to a panel.
func widenCodes(s scaling) {
	name := "widen" + s.name + "NEON"
	k := function(name, "(dst *float32"+codesSig+")",
		fmt.Sprintf("%s writes %d rows of unpacked codes, in groups of four times as many as given that have a scale, as\n"+
			"columns to dst, whose rows are 16 long.", name, lanes))
	dst, codes := k.arg("dst"), k.vec()
	k.eachFour(s, 1, func(at gp, number func(codes vec, j, q int) vec) {
		k.read(at, 0, codes)
		for j := range 4 {
			k.write(number(codes, j, 0), dst, 64*j)
		}
		k.advance([]gp{dst}, 256)
	})
	k.emit("RET")
}

// eachFour emits a loop over lines of unpacked codes, n vectors of each. number emits the j-th number of each word of
// codes, which are the q-th vector; what it returns is overwritten by the next.
func (k *kernel) eachFour(s scaling, n int, f func(at gp, number func(codes vec, j, q int) vec)) {
	at, scalesAt, minsAt, groups, fours := k.arg("codes"), k.arg("scales"), k.arg("mins"), k.arg("groups"), k.gp()
	scales, index, v := k.vecsOf(n), k.bytesOfWords(), k.vec()
	var least []vec
	if s.mins {
		least = append(k.vecsOf(n), k.vec())
	}
	k.mark("group")
	for q := range n {
		k.read(scalesAt, 16*q, scales[q])
		switch {
		case s.halves: // four of them, where there is room for four float32
			k.widen(scales[q], scales[q])
		case s.mins:
			k.read(minsAt, 16*q, least[q])
		}
	}
	k.reload(fours, "fours", "")
	k.mark("four")
	f(at, func(codes vec, j, q int) vec {
		k.pick(codes, index[j], v)
		k.signedByte(v, v)
		if !s.mins {
			k.mul(v, scales[q], v)
			return v
		}
		k.move(least[q], least[n])
		k.fma(v, scales[q], least[n])
		return least[n]
	})
	k.advance([]gp{at}, codeRow)
	k.emit("SUBS $1, %v, %v", fours, fours)
	k.emit("BNE four")
	k.advance([]gp{scalesAt, minsAt}, codeRow)
	k.emit("SUBS $1, %v, %v", groups, groups)
	k.emit("BNE group")
}
