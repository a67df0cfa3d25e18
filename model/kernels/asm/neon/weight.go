package main

import "fmt"

// stored is a type of numbers of a weight. Of halves, two numbers are read into each word and taken apart when they are
// where they belong.
type stored struct {
	name, doc string
	bytes     int
	numbers   int // in a vector
	// columns emits the columns of a square of words that was transposed, v, in their order. t are vectors for use.
	columns func(k *kernel, v, t []vec, f func(i int, v vec))
}

// goType is how a parameter is declared that points to them.
func (t stored) goType() string {
	if t.bytes == 4 {
		return "float32"
	}
	return "byte"
}

var storedTypes = []stored{
	{"F32", "float32", 4, 4, func(_ *kernel, v, _ []vec, f func(i int, v vec)) {
		for i, v := range v {
			f(i, v)
		}
	}},
	{"F16", "half-precision", 2, 8, func(k *kernel, v, t []vec, f func(i int, v vec)) {
		for i := 0; i < 4; i += 2 { // of two words, four numbers
			k.emit("VUZP1 %s, %s, %s", v[i+1].halves(), v[i].halves(), t[0].halves())
			k.emit("VUZP2 %s, %s, %s", v[i+1].halves(), v[i].halves(), t[1].halves())
			for j, half := range []func(n, d vec){k.widen, k.widen, k.widenUpper, k.widenUpper} {
				half(t[j%2], t[2+j%2])
				f(2*i+j, t[2+j%2])
			}
		}
	}},
	{"BF16", "bfloat16", 2, 8, func(k *kernel, v, t []vec, f func(i int, v vec)) {
		k.dup(t[3], k.constantBits(upperHalf))
		for i, pair := range v {
			k.shift(pair, 16, t[i%2])
			f(2*i, t[i%2])
			k.and(pair, t[3], pair)
			f(2*i+1, pair)
		}
	}},
}

const upperHalf = 0xffff0000

// weightKernels emits, for each type of numbers, what reads rows of a weight: that which turns them into a panel, and
// that which multiplies them with one row at once.
func weightKernels() {
	for _, t := range storedTypes {
		transpose(t)
		gemv(t)
	}
}

// fourRows reads vectors of four rows that lie below each other.
type fourRows struct {
	k                  *kernel
	stride, two, three gp
}

func (k *kernel) fourRows(stride gp) fourRows {
	r := fourRows{k, stride, k.gp(), k.gp()}
	k.emit("LSL $1, %v, %v", stride, r.two)
	k.emit("ADD %v, %v, %v", stride, r.two, r.three)
	return r
}

func (r fourRows) read(p gp, v []vec) {
	r.k.read(p, 0, v[0])
	for i, offset := range []gp{r.stride, r.two, r.three} {
		r.k.fetchVector(p, offset, v[i+1])
	}
}

// transpose emits a loop over squares side by side.
func transpose(t stored) {
	name := "transpose" + t.name + "NEON"
	k := function(name, "(dst *float32, src *"+t.goType()+", srcRow, n, ahead int)",
		fmt.Sprintf("%s writes the columns of the 4 rows of %s numbers of src, n long and srcRow bytes apart, as float32 to\n"+
			"dst, whose rows are 16 long; n is a multiple of %d. Processors fetch by themselves what follows in four rows: ahead is\n"+
			"not used.", name, t.doc, t.numbers))
	dst, src, rows, n := k.arg("dst"), k.arg("src"), k.fourRows(k.arg("srcRow")), k.arg("n")
	if t.name == "BF16" {
		k.useBits(upperHalf)
	}
	v, tmp := k.vecsOf(4), k.vecsOf(4)
	k.mark("block")
	rows.read(src, v)
	k.transpose(v, tmp)
	t.columns(k, v, tmp, func(i int, v vec) { k.write(v, dst, 64*i) })
	k.emit("ADD $%d, %v, %v", 64*t.numbers, dst, dst)
	k.emit("ADD $16, %v, %v", src, src)
	k.emit("SUBS $%d, %v, %v", t.numbers, n, n)
	k.emit("BNE block")
	k.emit("RET")
}

// gemvRows is the number of rows of a weight that are multiplied side by side. Their sums hide each other's latency.
const gemvRows = 32

// gemv emits the products of one row with squares of rows below each other, which it transposes in registers. A step goes
// over as much of a row as a cache line holds, a vector of each row after the other, so that the next addition to a sum
// comes after one to each of the others.
func gemv(t stored) {
	name, numbers := "gemv"+t.name+"NEON", 4*t.numbers
	k := function(name, "(c, a *float32, src *"+t.goType()+", srcRow, n, ahead int, alpha float32, add bool, tmp *float32)",
		fmt.Sprintf("%s computes alpha times the products of a with %d rows of %s numbers, n long and srcRow bytes apart, and\n"+
			"stores them or adds them to c; n is a multiple of %d. It fetches what lies ahead bytes behind into the caches.\n"+
			"The sums are those of the tile kernels. tmp is not used.", name, gemvRows, t.doc, numbers))
	a, src, stride, n, ahead := k.arg("a"), k.arg("src"), k.arg("srcRow"), k.arg("n"), k.arg("ahead")
	rows, four, back, fetch, p := k.fourRows(stride), k.gp(), k.gp(), k.gp(), k.gp()
	k.emit("LSL $2, %v, %v", stride, four)
	k.emit("LSL $5, %v, %v", stride, back)
	if t.name == "BF16" {
		k.useBits(upperHalf)
	}
	acc := k.zeros(gemvRows / lanes)
	v, tmp, factors := k.vecsOf(4), k.vecsOf(4), k.vecsOf(t.numbers/4)
	k.emit("MOVD %v, %v", src, p)
	k.mark("block")
	for u := range 4 {
		for i, f := range factors {
			k.read(a, 4*u*t.numbers+16*i, f)
		}
		for _, sum := range acc {
			if u == 0 {
				k.emit("ADD %v, %v, %v", ahead, p, fetch)
				for i := range 4 {
					k.prefetch(fetch)
					if i < 3 {
						k.emit("ADD %v, %v, %v", stride, fetch, fetch)
					}
				}
			}
			rows.read(p, v)
			k.transpose(v, tmp)
			t.columns(k, v, tmp, func(i int, v vec) { k.fmaLane(v, lane{factors[i/4], i % 4}, sum) })
			k.emit("ADD %v, %v, %v", four, p, p)
		}
		k.emit("SUB %v, %v, %v", back, p, p)
		k.emit("ADD $16, %v, %v", p, p)
	}
	k.emit("ADD $%d, %v, %v", 4*numbers, a, a)
	k.emit("SUBS $%d, %v, %v", numbers, n, n)
	k.emit("BNE block")
	k.storeSums(acc, factors[0], v[0])
}

// storeSums stores alpha times the sums to c or adds them to it, and ends the kernel. alpha and v are for use.
func (k *kernel) storeSums(acc []vec, alpha, v vec) {
	c, add, factor := k.arg("c"), k.arg("add"), lane{alpha, 0}
	k.emit("FMOVS %s, %s", k.at("alpha", ""), alpha.scalar())
	k.emit("CBZ %v, store", add)
	for i, sum := range acc {
		k.read(c, 16*i, v)
		k.fmaLane(sum, factor, v)
		k.write(v, c, 16*i)
	}
	k.emit("RET")
	k.mark("store")
	for i, sum := range acc {
		k.mulLane(sum, factor, sum)
		k.write(sum, c, 16*i)
	}
	k.emit("RET")
}
