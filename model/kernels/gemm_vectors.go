//go:build (amd64 || arm64) && !purego

package kernels

// storedKernels are those for one way to store numbers and one width of vectors, for 16-bit numbers or for blocks of them.
type storedKernels struct {
	transpose func(dst *float32, src *byte, srcRow, n, ahead int)
	gemv      func(c, a *float32, src *byte, srcRow, n, ahead int, alpha float32, add bool, tmp *float32)

	unpack func(codes *uint32, scales, mins *float32, src *byte, srcRow, n int, fetch *byte, step int)
	group  int // of numbers that have a scale
	bytes  *byteKernels
}

// byteKernels are those for one way to read bytes as numbers.
type byteKernels struct {
	gemv  func(c, a *float32, codes *uint32, scales, mins *float32, groups, fours int, alpha float32, add bool, fetch *byte, step int)
	widen func(dst *float32, codes *uint32, scales, mins *float32, groups, fours int)
}

// storedKernels returns the kernels for how op(B) is stored and the rows that one of them reads, nil if there are none.
func (p *product) storedKernels() (*storedKernels, int) {
	if p.stored.Code == AnyCode || !useVectors() {
		return nil, 0
	}
	all, rows := allStored()
	return &all[p.stored.Code], rows
}

// transposeStored writes k rows of the transpose of what is stored, those that begin at l0, columns j to j+panelCols, to
// panel. It fetches what lies ahead numbers behind into the caches. It returns false if there are no kernels for it.
func (p *product) transposeStored(buf *packing, panel []float32, j, l0, k, ahead int) bool {
	s, rows := p.storedKernels()
	whole := k - k%gemvStep
	if s == nil || whole == 0 {
		return false
	}
	w := &p.stored
	src, row, ahead := w.Data[w.bytes(j*p.ldb+l0):], w.bytes(p.ldb), w.bytes(ahead)
	if s.unpack != nil && ahead+(panelCols-1)*row+w.bytes(whole) <= len(src) {
		fetchRows(&src[ahead], row, panelCols, w.bytes(whole))
	}
	for i := 0; i < panelCols; i += rows {
		if s.unpack == nil {
			s.transpose(&panel[i], &src[i*row], row, whole, ahead)
		} else {
			s.unpackRows(&buf.codes, i, &src[i*row], row, whole, &src[i*row], 0)
			s.widen(&panel[i], &buf.codes, i, whole)
		}
	}
	if whole < k {
		p.widenRows(&buf.rows, j, panelCols, l0+whole, k-whole)
		transposePanel(panel[whole*panelCols:], buf.rows[:], blockK, k-whole, 0)
	}
	return true
}

// unpackRows unpacks as many rows as vectors have lanes to those from row i on. From fetch on it brings bytes into the
// caches, step apart.
func (s *storedKernels) unpackRows(to *unpacked, i int, src *byte, srcRow, n int, fetch *byte, step int) {
	s.unpack(&to.codes[0][i], &to.scales[0][i], &to.mins[0][i], src, srcRow, n, fetch, step)
}

// widen writes unpacked rows from row i on to a panel.
func (s *storedKernels) widen(dst *float32, from *unpacked, i, n int) {
	s.bytes.widen(dst, &from.codes[0][i], &from.scales[0][i], &from.mins[0][i], n/s.group, s.group/4)
}

// gemvCols is the number of columns that gemvColumns computes, from sums of multiples of gemvStep products.
const gemvCols, gemvStep = 32, 32

// hasGemv says whether there are kernels that sum up k products.
func (p *product) hasGemv(k int) bool {
	return useVectors() && k%gemvStep == 0 && (p.stored.Data == nil || p.stored.Code != AnyCode)
}

// fewCols is how many columns of C are computed at once where it has few rows, multiples of gemvCols.
func (p *product) fewCols() int {
	if s, _ := p.storedKernels(); p.m == 1 && s != nil && s.unpack != nil {
		return codeCols()
	}
	return gemvCols
}

// gemvColumns computes the one row of C, no more columns than fewCols, from k rows of the transposed B, those that begin
// at l0.
func (p *product) gemvColumns(buf *packing, l0, k, ahead int, add bool) {
	tmp := &buf.b[0]
	c, a, at := &p.c[0], &p.a[l0], l0
	w := &p.stored
	if w.Data == nil {
		gemvF32(c, a, &p.b[at], 4*p.ldb, k, 4*ahead, p.alpha, add, tmp)
		return
	}
	s, rows := p.storedKernels()
	src, row := w.Data[w.bytes(at):], w.bytes(p.ldb)
	if s.unpack == nil {
		s.gemv(c, a, &src[0], row, k, w.bytes(ahead), p.alpha, add, tmp)
		return
	}
	// Of the next columns it fetches as much, in the order of memory and all the time: half of it while it unpacks.
	next, half, step := p.n*row+(p.n-1)*w.bytes(l0), p.n/2*w.bytes(k), (w.bytes(blockK)+7)/8
	if next+2*half > len(src) {
		next, half, step = 0, 0, 0
	}
	for i := 0; i < p.n; i += rows {
		s.unpackRows(&buf.codes, i, &src[i*row], row, k, &src[next+half*i/p.n], step)
	}
	if p.n < codeCols() { // what the kernel computes beyond p.n is of rows unpacked before, and for nobody
		copy(buf.b[:p.n], p.c)
		c = tmp
	}
	u := &buf.codes
	s.bytes.gemv(c, a, &u.codes[0][0], &u.scales[0][0], &u.mins[0][0], k/s.group, s.group/4, p.alpha, add, &src[next+half], step)
	if c == tmp {
		copy(p.c[:p.n], buf.b[:])
	}
}
