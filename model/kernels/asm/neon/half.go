package main

func halfKernels() {
	k := function("bf16ToF32NEON", "(dst []float32, src []byte)",
		"bf16ToF32NEON widens len(dst) little-endian bfloat16 numbers, a multiple of 8, to dst.")
	dst, src := k.pointer("dst"), k.pointer("src")
	k.eights(k.length("dst"), dst, src, func(eight vec) (low, high vec) {
		low, high = k.vec(), k.vec()
		k.emit("VUSHLL $0, V%d.H4, %s", int(eight), low.words())
		k.emit("VUSHLL2 $0, %s, %s", eight.halves(), high.words())
		k.shift(low, 16, low)
		k.shift(high, 16, high)
		return low, high
	})

	k = function("f16ToF32NEON", "(dst []float32, src []byte)",
		"f16ToF32NEON widens len(dst) little-endian half-precision numbers, a multiple of 8, to dst.")
	dst, src = k.pointer("dst"), k.pointer("src")
	k.eights(k.length("dst"), dst, src, func(eight vec) (low, high vec) {
		low, high = k.vec(), k.vec()
		k.widen(eight, low)
		k.widenUpper(eight, high)
		return low, high
	})

	k = function("f32ToF16NEON", "(dst []byte, src []float32)",
		"f32ToF16NEON rounds len(src) numbers, a multiple of 8, to little-endian half-precision numbers.")
	dst, src = k.pointer("dst"), k.pointer("src")
	n, loop, done := k.length("src"), k.label("loop"), k.label("done")
	k.emit("CBZ %v, %s", n, done)
	k.mark(loop)
	low, high, eight := k.vec(), k.vec(), k.vec()
	k.read(src, 0, low)
	k.read(src, 16, high)
	k.narrow(low, eight)
	k.narrowUpper(high, eight)
	k.write(eight, dst, 0)
	k.emit("ADD $32, %v, %v", src, src)
	k.emit("ADD $16, %v, %v", dst, dst)
	k.emit("SUBS $8, %v, %v", n, n)
	k.emit("BNE %s", loop)
	k.mark(done)
	k.emit("RET")

	widenI8()
	roundI8()
	orAll()
}

// eights emits a loop over n numbers of 16 bits, a multiple of 8, and what ends the kernel.
func (k *kernel) eights(n, dst, src gp, widen func(eight vec) (low, high vec)) {
	loop, done := k.label("loop"), k.label("done")
	k.emit("CBZ %v, %s", n, done)
	k.mark(loop)
	eight := k.vec()
	k.read(src, 0, eight)
	low, high := widen(eight)
	k.write(low, dst, 0)
	k.write(high, dst, 16)
	k.emit("ADD $16, %v, %v", src, src)
	k.emit("ADD $32, %v, %v", dst, dst)
	k.emit("SUBS $8, %v, %v", n, n)
	k.emit("BNE %s", loop)
	k.mark(done)
	k.emit("RET")
}

// upperByte returns an index for pick that puts a byte into the upper byte of each lane and zeros into the others.
func (k *kernel) upperByte(of func(lane int) int) vec {
	v := k.vec()
	var w []uint32
	for l := range lanes {
		w = append(w, uint32(of(l))<<24|0xffffff)
	}
	k.quad(v, w)
	return v
}

func widenI8() {
	k := function("widenI8NEON", "(dst *float32, src *byte, blocks int)",
		"widenI8NEON widens blocks of a float32 scale and 32 codes of 8 bits to dst.")
	dst, src, blocks := k.arg("dst"), k.arg("src"), k.arg("blocks")
	var index []vec
	for four := range 4 {
		index = append(index, k.upperByte(func(lane int) int { return 4*four + lane }))
	}
	scale, v, codes := k.vec(), k.vec(), k.vec()
	k.mark("block")
	k.emit("FMOVS (%v), %s", src, scale.scalar())
	for half := range 2 {
		k.read(src, 4+16*half, codes)
		for four := range 4 {
			k.pick(codes, index[four], v)
			k.signedByte(v, v)
			k.mulLane(v, lane{scale, 0}, v)
			k.write(v, dst, 64*half+16*four)
		}
	}
	k.emit("ADD $36, %v, %v", src, src)
	k.emit("ADD $128, %v, %v", dst, dst)
	k.emit("SUBS $1, %v, %v", blocks, blocks)
	k.emit("BNE block")
	k.emit("RET")
}

// roundI8 emits the rounding to codes of 8 bits.
func roundI8() {
	k := function("roundI8NEON", "(dst *byte, src *float32, blocks int)",
		"roundI8NEON rounds blocks of 32 numbers to a float32 scale and 32 codes of 8 bits, as F32ToI8 says.")
	dst, src, blocks := k.arg("dst"), k.arg("src"), k.arg("blocks")
	k.use(127, -127)
	k.useBits(1<<31-1, 0x7f7fffff, 0x7fc00000)
	limit, lowest, magnitude := k.filled(127), k.filled(-127), k.filledBits(1<<31-1)
	finite, nan, zero := k.filledBits(0x7f7fffff), k.filledBits(0x7fc00000), k.zeros(1)[0]
	x, largest, v, scale, positive := k.vecsOf(8), k.vec(), k.vec(), k.vec(), k.vec()
	k.mark("block")
	// Magnitudes are compared as whole numbers, of which those of what is not finite are the largest.
	for i, x := range x {
		k.read(src, 16*i, x)
		if i == 0 {
			k.and(x, magnitude, largest)
			continue
		}
		k.and(x, magnitude, v)
		k.maxInt(v, largest, largest)
	}
	k.maxIntOf(largest, largest)
	k.dup(largest, lane{largest, 0})
	k.div(largest, limit, scale)
	k.greaterInt(largest, finite, v)
	k.choose(nan, v, scale)
	k.emit("FMOVS %s, (%v)", scale.scalar(), dst)
	k.greater(scale, zero, positive)
	for _, x := range x {
		k.div(x, scale, x)
		k.min(x, limit, x)
		k.max(x, lowest, x)
		k.toInt(x, x)
		k.and(x, positive, x)
	}
	// Of whole numbers so small the lower halves are enough.
	for i := range 4 {
		k.emit("VUZP1 %s, %s, %s", x[2*i+1].halves(), x[2*i].halves(), x[2*i].halves())
	}
	for i := range 2 {
		k.emit("VUZP1 %s, %s, %s", x[4*i+2].bytes(), x[4*i].bytes(), x[4*i].bytes())
		k.write(x[4*i], dst, 4+16*i)
	}
	k.advance([]gp{src}, 128)
	k.advance([]gp{dst}, 36)
	k.emit("SUBS $1, %v, %v", blocks, blocks)
	k.emit("BNE block")
	k.emit("RET")
}

func orAll() {
	k := function("orAllNEON", "(x []byte) byte", "orAllNEON reads len(x) bytes, a multiple of 128, and returns the bits that any of every 16th has.")
	x, n, acc, v := k.pointer("x"), k.length("x"), k.zeros(4), k.vecsOf(4)
	k.emit("CBZ %v, done", n)
	k.mark("block")
	for range 2 {
		k.emit("VLD1.P 64(%v), %s", x, list(v))
		for i := range v {
			k.or(acc[i], v[i], acc[i])
		}
	}
	k.emit("SUBS $128, %v, %v", n, n)
	k.emit("BNE block")
	k.mark("done")
	for _, v := range acc[1:] {
		k.or(acc[0], v, acc[0])
	}
	out := k.gp()
	k.emit("VMOV V%d.B[0], %v", int(acc[0]), out)
	k.emit("MOVB %v, %s", out, k.at("ret", ""))
	k.emit("RET")
}
