package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// fuse emits the products of one row with rows of blocks, 64 at a time: it multiplies with the codes of one part of a
// block while it unpacks the part behind that, which takes other units of the core. Both are pieces of the ring, which
// change places with each part, as do the scales with each block. Behind the end of the 64 rows come the next.
//
// A turn multiplies by 32 numbers and unpacks as many codes of 64 rows. Where a block is no longer than that, these are
// all rows' next block; otherwise a part takes four turns, each of which unpacks 16 rows of it.
func fuse(t blockType) {
	f := fusion{t: t, turns: t.count / t.parts() / turnNumbers}
	for _, c := range byteCodes {
		if c.name == t.code {
			f.c = c
		}
	}
	function("fused"+t.name+"AVX512",
		"(c, a *float32, src *byte, srcRow, tiles, turns, first int, alpha float32, add bool, ring *float32)",
		fmt.Sprintf("fused%sAVX512 computes alpha times the products of a with tiles of %d rows of %s blocks, srcRow bytes apart and\n"+
			"turns times %d numbers long, and stores them or adds them to c. The sums are those of the tile kernels: of %d numbers\n"+
			"each, but the first of first times %d. ring has room for %d bytes.",
			t.name, unpackedRows, t.name, turnNumbers, sumTurns*turnNumbers, turnNumbers, f.ringSize()))
	f.emit()
}

// turnNumbers is how many numbers a turn multiplies by, sumTurns how many turns make a sum, quarters how many vectors a line
// of unpacked codes has.
const turnNumbers, sumTurns, quarters = 32, 8, unpackedRows / 16

// fusion is what fuse emits.
type fusion struct {
	t     blockType
	c     byteCode
	turns int // of a part

	a            GPVirtual
	codes, next  GPVirtual // of the part that is multiplied with, of that which is unpacked
	scales, soon GPVirtual // of their blocks
	rows         rowsOfEight
	fetch        GPVirtual
	acc          []VecVirtual
	reader       *byteReader

	start, step       Mem // where the block is that is unpacked; how far fetch moves in a turn
	blocks, tiles     Mem // that are left to unpack: of the 64 rows, of all rows
	turn, sum, packed Mem // turns left of a row and of a sum; blocks of a row
	again             Mem // what add was
}

// Bytes of a part's unpacked codes, of a block's scales, of these with minimums, and of all this with words.
func (f *fusion) codeBytes() int  { return f.turns * turnNumbers / 4 * codeRow }
func (f *fusion) minsAt() int     { return f.t.count / f.t.group * codeRow }
func (f *fusion) wordsAt() int    { return 2 * f.minsAt() }
func (f *fusion) scaleBytes() int { return f.wordsAt() + len(f.t.words)*codeRow }
func (f *fusion) ringSize() int   { return 2*f.codeBytes() + 2*f.scaleBytes() }

// turnBytes are those of the blocks that a turn unpacks.
func (f *fusion) turnBytes() int { return unpackedRows * turnNumbers * f.t.size / f.t.count }

// rolled says whether the turns of a part are a loop.
func (f *fusion) rolled() bool { return f.turns > 1 }

func (f *fusion) emit() {
	f.a, f.codes = Load(Param("a"), GP64()).(GPVirtual), Load(Param("ring"), GP64()).(GPVirtual)
	f.next, f.scales, f.soon, f.fetch = GP64(), GP64(), GP64(), GP64()
	LEAQ(Mem{Base: f.codes, Disp: f.codeBytes()}, f.next)
	LEAQ(Mem{Base: f.codes, Disp: 2 * f.codeBytes()}, f.scales)
	LEAQ(Mem{Base: f.codes, Disp: 2*f.codeBytes() + f.scaleBytes()}, f.soon)
	f.rows = newRowsOfEight(Load(Param("srcRow"), GP64()).(GPVirtual))
	for _, m := range []*Mem{&f.start, &f.step, &f.blocks, &f.tiles, &f.turn, &f.sum, &f.packed, &f.again} {
		*m = AllocLocal(8)
	}
	move(argument("src"), f.start)
	move(argument("tiles"), f.tiles)
	move(argument("turns"), f.turn)
	move(argument("first"), f.sum)
	blocks := Load(Param("turns"), GP64())
	if perBlock := f.t.count / turnNumbers; perBlock == 8 {
		SHRQ(Imm(3), blocks)
	}
	MOVQ(blocks, f.packed)
	MOVQ(blocks, f.blocks)
	MOVB(Load(Param("add"), GP8()), f.again)
	f.reader = newByteReader(avx512, f.c)
	f.acc = make([]VecVirtual, sumVectors)
	for i := range f.acc {
		f.acc[i] = ZMM()
	}
	f.clearSums()

	f.fetchNextRows("first")
	f.rows.begin(f.start)
	i := GP64()
	MOVQ(U32(quarters), i)
	Label("prologue")
	f.copyWords(0)
	for _, emit := range f.unpack(0, 0) {
		emit()
	}
	f.nextQuarter(i, "prologue", 0)
	f.swap(true)
	if f.t.parts() == 1 {
		f.nextBlock("Prologue")
	}

	Label("block")
	for part := range f.t.parts() {
		f.part(part)
	}
	SUBQ(Imm(uint64(f.t.count/turnNumbers)), f.turn)
	JNZ(LabelRef("block"))
	CMPQ(f.sum, Imm(sumTurns)) // then the last sum is stored
	JE(LabelRef("row"))
	f.store("Row")
	Label("row")
	turns := GP64()
	MOVQ(argument("turns"), turns)
	MOVQ(turns, f.turn)
	SHLQ(Imm(7), turns)
	SUBQ(turns, f.a)
	move(argument("first"), f.sum)
	again := GP8()
	MOVB(f.again, again)
	MOVB(again, argument("add"))
	ADDQ(U32(4*unpackedRows), argument("c"))
	DECQ(argument("tiles"))
	JNZ(LabelRef("block"))
	finish()
}

// part emits the turns of a part of a block, in which the next part is unpacked.
func (f *fusion) part(part int) {
	next := (part + 1) % f.t.parts()
	name := fmt.Sprint("Part", part)
	f.rows.begin(f.start)
	i := GP64()
	var unpacking []func()
	if f.rolled() {
		MOVQ(U32(quarters), i)
		Label(name)
		unpacking = f.unpack(next, 0)
	} else {
		if len(f.t.words) > 0 {
			for q := range quarters {
				unpacking = append(unpacking, func() { f.copyWords(q) }, f.rows.skip)
			}
			unpacking = append(unpacking, func() { f.rows.begin(f.start) })
		}
		for q := range quarters {
			unpacking = append(unpacking, f.unpack(next, q)...)
			if q < quarters-1 {
				unpacking = append(unpacking, f.rows.skip)
			}
		}
	}
	together(f.products(), unpacking)
	ADDQ(Imm(4*turnNumbers), f.a) // 128 would be -128 in a byte
	ADDQ(f.step, f.fetch)
	DECQ(f.sum)
	JNZ(LabelRef("sum" + name))
	f.store(name)
	MOVQ(U32(sumTurns), f.sum)
	Label("sum" + name)
	if f.rolled() {
		ADDQ(U32(turnNumbers/4*codeRow), f.codes)
		ADDQ(U32(uint32(turnNumbers/f.t.group*codeRow)), f.scales)
		f.nextQuarter(i, name, next)
		SUBQ(U32(uint32(f.codeBytes())), f.codes)
	}
	last := part == f.t.parts()-1
	if last && f.rolled() {
		SUBQ(U32(uint32(f.minsAt())), f.scales)
	}
	f.swap(last)
	if next == f.t.parts()-1 {
		f.nextBlock(name)
	}
}

// copyWords copies the words of 16 rows to the q-th vectors of lines, for unpack to read them when that has been written.
func (f *fusion) copyWords(q int) {
	u := f.unpacker(q)
	for _, word := range f.t.words {
		u.copyTo(u.copied[word], word, 4)
	}
}

// unpacker returns that of 16 rows to the q-th vectors of lines.
func (f *fusion) unpacker(q int) *unpacker {
	u := &unpacker{
		w: avx512, row: f.rows.row,
		codes:  Mem{Base: f.next, Disp: 64 * q},
		scales: Mem{Base: f.soon, Disp: 64 * q},
		mins:   Mem{Base: f.soon, Disp: f.minsAt() + 64*q},
		copied: map[int]Mem{},
	}
	for i, word := range f.t.words {
		u.copied[word] = Mem{Base: f.soon, Disp: f.wordsAt() + codeRow*i + 64*q}
	}
	return u
}

// unpack returns what unpacks a part of 16 rows to the q-th vectors of lines.
func (f *fusion) unpack(part, q int) []func() {
	u := f.unpacker(q)
	steps := f.t.codes(u, part)
	if part == 0 {
		steps = append([]func(){func() { f.t.scales(u) }}, steps...)
	}
	return steps
}

// nextQuarter goes to the next 16 rows and their vectors of lines, and back to the first behind the last.
func (f *fusion) nextQuarter(i GPVirtual, loop string, part int) {
	f.rows.skip()
	ADDQ(Imm(64), f.next)
	if part == 0 {
		ADDQ(Imm(64), f.soon)
	}
	DECQ(i)
	JNZ(LabelRef(loop))
	SUBQ(U32(codeRow), f.next)
	if part == 0 {
		SUBQ(U32(codeRow), f.soon)
	}
}

// swap changes the places of what is multiplied with and what is unpacked.
func (f *fusion) swap(block bool) {
	XCHGQ(f.codes, f.next)
	if block {
		XCHGQ(f.scales, f.soon)
	}
}

// products returns what multiplies by the 32 numbers of a turn, and fetches.
func (f *fusion) products() (steps []func()) {
	fetch := f.fetches()
	for line := range turnNumbers / 4 {
		var codes [sumVectors]VecVirtual
		for j := range 4 {
			steps = append(steps, func() {
				if group := 4 * line / f.t.group; j == 0 && 4*line%f.t.group == 0 {
					f.reader.readScales(sumVectors, Mem{Base: f.scales, Disp: codeRow * group}, Mem{Base: f.scales, Disp: f.minsAt() + codeRow*group})
				}
				fetch(4*line + j)
				x := ZMM()
				VBROADCASTSS(Mem{Base: f.a, Disp: 16*line + 4*j}, x)
				for q, sum := range f.acc {
					if j == 0 {
						codes[q] = ZMM()
						VMOVDQU32(Mem{Base: f.codes, Disp: codeRow*line + 64*q}, codes[q])
					}
					v := ZMM()
					switch by := f.c.at - 8*j; {
					case by > 0:
						VPSLLD(Imm(uint64(by)), codes[q], v)
					case by < 0:
						VPSRLD(Imm(uint64(-by)), codes[q], v)
					default:
						VMOVDQA32(codes[q], v)
					}
					f.reader.number(v, q)
					VFMADD231PS(x, v, sum)
				}
			})
		}
	}
	return steps
}

// fetches returns what fetches, in the i-th of 32 steps of a turn, the next rows' bytes into the nearest cache.
func (f *fusion) fetches() func(i int) {
	bytes := f.turnBytes()
	lines := (bytes + 63) / 64
	return func(i int) {
		for line := i * lines / turnNumbers; line < (i+1)*lines/turnNumbers; line++ {
			PREFETCHT0(Mem{Base: f.fetch, Disp: line * bytes / lines})
		}
	}
}

// fetchNextRows begins to fetch the rows behind those that are unpacked, and nothing behind the last.
func (f *fusion) fetchNextRows(name string) {
	MOVQ(argument("ring"), f.fetch)
	MOVQ(U32(0), f.step)
	CMPQ(f.tiles, Imm(1))
	JE(LabelRef("fetch" + name))
	MOVQ(argument("srcRow"), f.fetch)
	SHLQ(Imm(6), f.fetch)
	ADDQ(f.start, f.fetch)
	MOVQ(U32(uint32(f.turnBytes())), f.step)
	Label("fetch" + name)
}

// nextBlock goes to the block that is unpacked next: behind the last of all rows, to that one again.
func (f *fusion) nextBlock(name string) {
	size := U32(uint32(f.t.size))
	ADDQ(size, f.start)
	DECQ(f.blocks)
	JNZ(LabelRef("next" + name))
	DECQ(f.tiles)
	JNZ(LabelRef("rows" + name))
	SUBQ(size, f.start)
	MOVQ(U32(1), f.tiles)
	MOVQ(U32(1), f.blocks)
	JMP(LabelRef("next" + name))
	Label("rows" + name)
	blocks, down := GP64(), GP64()
	MOVQ(f.packed, blocks)
	MOVQ(blocks, f.blocks)
	IMUL3Q(size, blocks, blocks)
	MOVQ(argument("srcRow"), down)
	SHLQ(Imm(6), down)
	SUBQ(blocks, down)
	ADDQ(down, f.start)
	f.fetchNextRows(name)
	Label("next" + name)
}

// store stores or adds the sums and begins new ones.
func (f *fusion) store(name string) {
	storeSumsOf(avx512, f.acc, name)
	MOVB(Imm(1), argument("add"))
	f.clearSums()
}

func (f *fusion) clearSums() {
	for _, v := range f.acc {
		VPXORD(v, v, v)
	}
}

// together emits two lists of steps side by side.
func together(a, b []func()) {
	for i, step := range a {
		for _, other := range b[i*len(b)/len(a) : (i+1)*len(b)/len(a)] {
			other()
		}
		step()
	}
}

// move copies a word from memory to memory.
func move(from, to Mem) {
	x := GP64()
	MOVQ(from, x)
	MOVQ(x, to)
}

// rowsOfEight are addresses of 16 rows: pointers to the first and the ninth, and odd multiples of the stride.
type rowsOfEight struct {
	first, ninth GPVirtual
	stride       [4]GPVirtual // times 1, 3, 5 and 7
}

func newRowsOfEight(stride GPVirtual) rowsOfEight {
	r := rowsOfEight{first: GP64(), ninth: GP64()}
	r.stride[0] = stride
	for i := 1; i < len(r.stride); i++ {
		r.stride[i] = GP64()
		LEAQ(Mem{Base: r.stride[i-1], Index: stride, Scale: 2}, r.stride[i])
	}
	return r
}

// begin goes to the rows at start, skip to those behind the present ones.
func (r rowsOfEight) begin(start Mem) {
	MOVQ(start, r.first)
	LEAQ(Mem{Base: r.first, Index: r.stride[0], Scale: 8}, r.ninth)
}

func (r rowsOfEight) skip() {
	LEAQ(Mem{Base: r.ninth, Index: r.stride[0], Scale: 8}, r.first)
	LEAQ(Mem{Base: r.first, Index: r.stride[0], Scale: 8}, r.ninth)
}

func (r rowsOfEight) row(i int) Mem {
	m := Mem{Base: r.first}
	if i >= 8 {
		m.Base = r.ninth
	}
	odd := i % 8
	if odd == 0 {
		return m
	}
	m.Scale = 1
	for odd%2 == 0 {
		odd /= 2
		m.Scale *= 2
	}
	m.Index = r.stride[odd/2]
	return m
}
