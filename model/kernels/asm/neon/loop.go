package main

// lanes is the number of float32 in a vector; pair is how many a step takes: what a vector of AVX2 holds.
const lanes, pair = 4, 8

// access reads and writes the vector that a loop is at, disp bytes behind the pointers. In the last step only the first
// lanes may exist, rest of them: others read as zero and are not written.
type access struct {
	k    *kernel
	disp int
	rest gp
	tail bool
}

func (a access) load(p gp) vec {
	v := a.k.vec()
	if !a.tail {
		a.k.read(p, a.disp, v)
		return v
	}
	a.pieces(
		func() { a.k.emit("FMOVD (%v), %s", p, v.scalar()) },
		func(third gp) {
			a.k.emit("ADD $8, %v, %v", p, third)
			a.k.emit("VLD1 (%v), V%d.S[2]", third, int(v))
		},
		func() { a.k.emit("FMOVS (%v), %s", p, v.scalar()) })
	return v
}

func (a access) store(v vec, p gp) {
	if !a.tail {
		a.k.write(v, p, a.disp)
		return
	}
	a.pieces(
		func() { a.k.emit("FMOVD %s, (%v)", v.scalar(), p) },
		func(third gp) {
			a.k.emit("ADD $8, %v, %v", p, third)
			a.k.emit("VST1 V%d.S[2], (%v)", int(v), third)
		},
		func() { a.k.emit("FMOVS %s, (%v)", v.scalar(), p) })
}

// pieces emits what moves one to three lanes: two and perhaps a third, or one.
func (a access) pieces(two func(), third func(tmp gp), one func()) {
	single, done := a.k.label("single"), a.k.label("moved")
	defer a.k.keep()()
	tmp := a.k.gp()
	a.k.emit("TBZ $1, %v, %s", a.rest, single)
	two()
	a.k.emit("TBZ $0, %v, %s", a.rest, done)
	third(tmp)
	a.k.emit("B %s", done)
	a.k.mark(single)
	one()
	a.k.mark(done)
}

// missing returns all bits of the lanes that do not exist.
func (a access) missing() vec {
	v, ones := a.k.vec(), a.k.vec()
	at := a.k.gp()
	a.k.quad(v, []uint32{0, 1, 2, 3})
	a.k.emit("SUB $1, %v, %v", a.rest, at)
	a.k.emit("VDUP %v, %s", at, ones.words())
	a.k.subInt(ones, v, v) // negative from rest on
	a.k.signs(v, v)
	a.k.free(ones)
	return v
}

// clear makes zeros of the lanes of v that do not exist.
func (a access) clear(v vec) {
	if a.tail {
		a.k.clear(v, a.missing(), v)
	}
}

// loadOver is load with the lanes of other where there are none.
func (a access) loadOver(p gp, other vec) vec {
	v := a.load(p)
	if a.tail {
		a.k.choose(other, a.missing(), v)
	}
	return v
}

// eachVector emits a loop over n elements, which the pointers go through: unroll pairs a step, then a pair, then what is
// left, a vector and some lanes. body emits the work on one vector; i numbers the vectors of a step, and those of what is
// left go where those of AVX2 go. It overwrites n.
func (k *kernel) eachVector(n gp, unroll int, pointers []gp, body func(a access, i int)) {
	k.wholeVectors(n, unroll, pointers, body)
	step := func(a access, i int) {
		defer k.keep()()
		body(a, i)
	}
	small, done := k.label("small"), k.label("done")
	k.emit("CMP $%d, %v", lanes, n)
	k.emit("BLT %s", small)
	step(access{k: k}, 0)
	k.advance(pointers, 4*lanes)
	k.emit("SUBS $%d, %v, %v", lanes, n, n)
	k.emit("BEQ %s", done)
	step(access{k: k, rest: n, tail: true}, 1)
	k.emit("B %s", done)
	k.mark(small)
	k.emit("CBZ %v, %s", n, done)
	step(access{k: k, rest: n, tail: true}, 0)
	k.mark(done)
}

// wholeVectors is eachVector as far as elements fill pairs. What is left is n and what the pointers are at.
func (k *kernel) wholeVectors(n gp, unroll int, pointers []gp, body func(a access, i int)) {
	steps := []int{1}
	if unroll > 1 {
		steps = []int{unroll, 1}
	}
	for _, step := range steps {
		loop, done := k.label("loop"), k.label("rest")
		k.emit("SUBS $%d, %v, %v", step*pair, n, n)
		k.emit("BLT %s", done)
		k.mark(loop)
		for i := range step * pair / lanes {
			release := k.keep()
			body(access{k: k, disp: 4 * lanes * i}, i)
			release()
		}
		k.advance(pointers, 4*pair*step)
		k.emit("SUBS $%d, %v, %v", step*pair, n, n)
		k.emit("BGE %s", loop)
		k.mark(done)
		k.emit("ADD $%d, %v, %v", step*pair, n, n)
	}
}

func (k *kernel) advance(pointers []gp, bytes int) {
	for _, p := range pointers {
		k.emit("ADD $%d, %v, %v", bytes, p, p)
	}
}

// sum adds up vectors and their lanes in the order of AVX2; the result is in the first lane of the one it returns.
func (k *kernel) sum(v []vec) vec {
	k.fold(v, func(n, d vec) { k.add(n, d, d) })
	t := k.vec()
	k.rotated(v[0], 8, t)
	k.add(t, v[0], v[0])
	k.addPair(v[0], v[0])
	return v[0]
}

// fold folds pairs of vectors, and then the vectors of the first pair.
func (k *kernel) fold(v []vec, op func(n, d vec)) {
	for n := len(v) / 2; n > 1; n = (n + 1) / 2 {
		for i := range n / 2 {
			for half := range 2 {
				op(v[2*(n-1-i)+half], v[2*i+half])
			}
		}
	}
	op(v[1], v[0])
}
