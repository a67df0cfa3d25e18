//go:build (amd64 || arm64) && !purego

package kernels

// storedKernels are those for one way to store numbers and one width of vectors, for 16-bit numbers or for blocks of them.
type storedKernels struct {
	transpose func(dst *float32, src *byte, srcRow, n, ahead int)
	gemv      func(c, a *float32, src *byte, srcRow, n, ahead int, alpha float32, add bool, tmp *float32)

	unpack func(codes *uint32, scales, mins *float32, src *byte, srcRow, n int, fetch *byte, step int)
	group  int // of numbers that have a scale
	bytes  *byteKernels
	fused  func(c, a *float32, src *byte, srcRow, tiles, turns, first int, alpha float32, add bool, ring *float32)
}

// byteKernels are those for one way to read bytes as numbers; gemv is nil where the products are fused with unpacking.
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
	if !useVectors() || k%gemvStep != 0 {
		return false
	}
	if p.stored.Data == nil {
		return true
	}
	s, _ := p.storedKernels()
	return s != nil && s.fused == nil
}

// A fused kernel computes tiles of fusedCols columns. It takes turns of fusedTurn products, sumTurns of which are summed up.
const fusedCols, fusedTurn, sumTurns = unpackedRows, 32, blockK / 32

// fused computes C from one row of A in one go. It returns false if there is no kernel for that.
func (p *product) fused(buf *packing) bool {
	s, _ := p.storedKernels()
	w := &p.stored
	if p.m != 1 || p.ta || p.n < fusedCols || s == nil || s.fused == nil || p.k%max(fusedTurn, w.Count) != 0 {
		return false
	}
	row, add, tiles := w.bytes(p.ldb), p.beta != 0, p.n/fusedCols
	first := sumTurns - p.firstRow/fusedTurn%sumTurns
	compute := func(c []float32, col, tiles int) {
		src := w.Data[col*row:]
		fetchRows(&src[0], row, fusedCols, w.bytes(p.k))
		s.fused(&c[0], &p.a[0], &src[0], row, tiles, p.k/fusedTurn, first, p.alpha, add, &buf.b[0])
	}
	whole := tiles * fusedCols
	if whole < p.n { // the last columns once more, those of them that are new
		last := buf.tiles[:fusedCols]
		copy(last[fusedCols-(p.n-whole):], p.c[whole:p.n])
		compute(last, p.n-fusedCols, 1)
		copy(p.c[whole:p.n], last[fusedCols-(p.n-whole):])
	}
	compute(p.c, 0, tiles)
	return true
}

// gemvColumns computes the one row of C, no more columns than gemvCols, from k rows of the transposed B, those that begin
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
	u := &buf.codes
	s.bytes.gemv(c, a, &u.codes[0][0], &u.scales[0][0], &u.mins[0][0], k/s.group, s.group/4, p.alpha, add, &src[next+half], step)
}
