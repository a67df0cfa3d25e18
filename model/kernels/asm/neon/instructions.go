package main

// The instructions of the Advanced SIMD set that the kernels use, on four float32 or words unless it says otherwise. Of
// many of them Go 1.26's assembler knows no floating-point form: these are encoded here (Arm Architecture Reference
// Manual for A-profile, C7.2).

func (k *kernel) three(code uint32, name string, n, m, d vec) {
	k.word(code|uint32(m)<<16|uint32(n)<<5|uint32(d), "%s v%d.4s, v%d.4s, v%d.4s", name, d, n, m)
}

// add is d = n + m; sub, mul, div, min and max alike. The last two give NaN if either is.
func (k *kernel) add(n, m, d vec) { k.three(0x4e20d400, "fadd", n, m, d) }
func (k *kernel) sub(n, m, d vec) { k.three(0x4ea0d400, "fsub", n, m, d) }
func (k *kernel) mul(n, m, d vec) { k.three(0x6e20dc00, "fmul", n, m, d) }
func (k *kernel) div(n, m, d vec) { k.three(0x6e20fc00, "fdiv", n, m, d) }
func (k *kernel) min(n, m, d vec) { k.three(0x4ea0f400, "fmin", n, m, d) }
func (k *kernel) max(n, m, d vec) { k.three(0x4e20f400, "fmax", n, m, d) }

// maxInt is d = max(n, m) of integers without a sign, maxIntOf writes the largest of n's to the first lane of d.
func (k *kernel) maxInt(n, m, d vec) { k.three(0x6ea06400, "umax", n, m, d) }
func (k *kernel) maxIntOf(n, d vec)  { k.two(0x6eb0a800, "umaxv s%d, v%d.4s", n, d) }

// greater is d = n > m, all bits of a lane or none; greaterInt compares integers.
func (k *kernel) greater(n, m, d vec)    { k.three(0x6ea0e400, "fcmgt", n, m, d) }
func (k *kernel) greaterInt(n, m, d vec) { k.three(0x4ea03400, "cmgt", n, m, d) }

// fma is d += n*m, fms is d -= n*m, rounded once.
func (k *kernel) fma(n, m, d vec) { k.emit("VFMLA %s, %s, %s", m.words(), n.words(), d.words()) }
func (k *kernel) fms(n, m, d vec) { k.emit("VFMLS %s, %s, %s", m.words(), n.words(), d.words()) }

func (k *kernel) byLane(code uint32, name string, n vec, m lane, d vec) {
	code |= uint32(m.i&1)<<21 | uint32(m.i>>1)<<11
	k.word(code|uint32(m.v)<<16|uint32(n)<<5|uint32(d), "%s v%d.4s, v%d.4s, v%d.s[%d]", name, d, n, m.v, m.i)
}

// mulLane, fmaLane and fmsLane take one lane for all of m.
func (k *kernel) mulLane(n vec, m lane, d vec) { k.byLane(0x4f809000, "fmul", n, m, d) }
func (k *kernel) fmaLane(n vec, m lane, d vec) { k.byLane(0x4f801000, "fmla", n, m, d) }
func (k *kernel) fmsLane(n vec, m lane, d vec) { k.byLane(0x4f805000, "fmls", n, m, d) }

func (k *kernel) two(code uint32, format string, n, d vec) {
	k.word(code|uint32(n)<<5|uint32(d), format, d, n)
}

// neg is d = -n; round goes to the nearest whole number, ties to even, toInt turns whole numbers into integers.
func (k *kernel) neg(n, d vec)   { k.two(0x6ea0f800, "fneg v%d.4s, v%d.4s", n, d) }
func (k *kernel) round(n, d vec) { k.two(0x4e218800, "frintn v%d.4s, v%d.4s", n, d) }
func (k *kernel) toInt(n, d vec) { k.two(0x4e21a800, "fcvtns v%d.4s, v%d.4s", n, d) }

// signedByte turns integers whose upper byte is a number in two's complement, and whose others are zero, into it.
func (k *kernel) signedByte(n, d vec) { k.two(0x4f28e400, "scvtf v%d.4s, v%d.4s, #24", n, d) }

// widen turns the four lower half-precision numbers into float32, widenUpper the upper ones; narrow and narrowUpper go
// back, and leave the other half of d, narrow as zeros.
func (k *kernel) widen(n, d vec)       { k.two(0x0e217800, "fcvtl v%d.4s, v%d.4h", n, d) }
func (k *kernel) widenUpper(n, d vec)  { k.two(0x4e217800, "fcvtl2 v%d.4s, v%d.8h", n, d) }
func (k *kernel) narrow(n, d vec)      { k.two(0x0e216800, "fcvtn v%d.4h, v%d.4s", n, d) }
func (k *kernel) narrowUpper(n, d vec) { k.two(0x4e216800, "fcvtn2 v%d.8h, v%d.4s", n, d) }

// addPair writes the sum of the first two lanes to the first lane.
func (k *kernel) addPair(n, d vec) { k.two(0x7e30d800, "faddp s%d, v%d.2s", n, d) }

// clear is d = n &^ m.
func (k *kernel) clear(n, m, d vec) {
	k.word(0x4e601c00|uint32(m)<<16|uint32(n)<<5|uint32(d), "bic v%d.16b, v%d.16b, v%d.16b", d, n, m)
}

// signs are all bits of the lanes whose sign is negative.
func (k *kernel) signs(n, d vec) { k.two(0x4f210400, "sshr v%d.4s, v%d.4s, #31", n, d) }

// halve is d = n/2, rounded down, of integers.
func (k *kernel) halve(n, d vec) { k.two(0x4f3f0400, "sshr v%d.4s, v%d.4s, #1", n, d) }

// fetchVector reads a vector at p + index.
func (k *kernel) fetchVector(p, index gp, d vec) {
	k.word(0x3ce06800|uint32(index)<<16|uint32(p)<<5|uint32(d), "ldr q%d, [x%d, x%d]", d, p, index)
}

func (k *kernel) and(n, m, d vec)    { k.emit("VAND %s, %s, %s", m.bytes(), n.bytes(), d.bytes()) }
func (k *kernel) or(n, m, d vec)     { k.emit("VORR %s, %s, %s", m.bytes(), n.bytes(), d.bytes()) }
func (k *kernel) move(n, d vec)      { k.emit("VMOV %s, %s", n.bytes(), d.bytes()) }
func (k *kernel) addInt(n, m, d vec) { k.emit("VADD %s, %s, %s", m.words(), n.words(), d.words()) }
func (k *kernel) subInt(n, m, d vec) { k.emit("VSUB %s, %s, %s", m.words(), n.words(), d.words()) }

// subBytes is d = n - m of 16 bytes.
func (k *kernel) subBytes(n, m, d vec) { k.emit("VSUB %s, %s, %s", m.bytes(), n.bytes(), d.bytes()) }

// choose writes those bits of n to d that mask has.
func (k *kernel) choose(n, mask, d vec) {
	k.emit("VBIT %s, %s, %s", mask.bytes(), n.bytes(), d.bytes())
}

// dup writes a lane to all lanes of d.
func (k *kernel) dup(d vec, l lane) { k.emit("VDUP V%d.S[%d], %s", int(l.v), l.i, d.words()) }

func (k *kernel) zero(d vec) { k.emit("VEOR %s, %s, %s", d.bytes(), d.bytes(), d.bytes()) }

// zeros returns n vectors of zeros, with numbers one after another.
func (k *kernel) zeros(n int) []vec {
	v := k.vecsOf(n)
	for _, v := range v {
		k.zero(v)
	}
	return v
}

// byteConstant returns a vector of 16 copies of b.
func (k *kernel) byteConstant(b byte) vec {
	v := k.vec()
	k.emit("VMOVI $%d, %s", b, v.bytes())
	return v
}

// shift shifts words to the left, or right if by is negative.
func (k *kernel) shift(n vec, by int, d vec) {
	switch {
	case by > 0:
		k.emit("VSHL $%d, %s, %s", by, n.words(), d.words())
	case by < 0:
		k.emit("VUSHR $%d, %s, %s", -by, n.words(), d.words())
	default:
		k.move(n, d)
	}
}

// pick writes those bytes of n to d that index has, zero where it has 255.
func (k *kernel) pick(n, index, d vec) {
	k.emit("VTBL %s, [%s], %s", index.bytes(), n.bytes(), d.bytes())
}

// rotated writes n to d so that the lane by*4 bytes further comes first.
func (k *kernel) rotated(n vec, bytes int, d vec) {
	k.emit("VEXT $%d, %s, %s, %s", bytes, n.bytes(), n.bytes(), d.bytes())
}

// transpose transposes a square of words; t are four vectors that it overwrites.
func (k *kernel) transpose(v, t []vec) {
	trn := func(which int, n, m, d string) { k.emit("VTRN%d %s, %s, %s", which, m, n, d) }
	trn(1, v[0].words(), v[1].words(), t[0].words())
	trn(2, v[0].words(), v[1].words(), t[1].words())
	trn(1, v[2].words(), v[3].words(), t[2].words())
	trn(2, v[2].words(), v[3].words(), t[3].words())
	trn(1, t[0].doubles(), t[2].doubles(), v[0].doubles())
	trn(1, t[1].doubles(), t[3].doubles(), v[1].doubles())
	trn(2, t[0].doubles(), t[2].doubles(), v[2].doubles())
	trn(2, t[1].doubles(), t[3].doubles(), v[3].doubles())
}

// read and write move a vector at p, bytes behind it.
func (k *kernel) read(p gp, bytes int, d vec)  { k.emit("FMOVQ %d(%v), %s", bytes, p, d.scalar()) }
func (k *kernel) write(v vec, p gp, bytes int) { k.emit("FMOVQ %s, %d(%v)", v.scalar(), bytes, p) }

// prefetch fetches what p points to into the second cache.
func (k *kernel) prefetch(p gp) { k.emit("PRFM (%v), PLDL2KEEP", p) }

// list writes registers as a list of words.
func list(v []vec) string {
	s := ""
	for i, v := range v {
		if i > 0 {
			s += ", "
		}
		s += v.words()
	}
	return "[" + s + "]"
}
