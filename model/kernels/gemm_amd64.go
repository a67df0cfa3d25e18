//go:build !purego

package kernels

// gemmTiles is gemmTilesGo for cols columns of C, which are panelCols unless useAVX512: then they are any number up to
// two panels, which are bPanel apart.
func gemmTiles(rows, tiles, k int, a []float32, aTile, aRow, aCol int, b []float32, bRow, bPanel int,
	c []float32, cRow, cols int, alpha float32, add bool,
) {
	switch {
	case useAVX512:
		panels := (cols + panelCols - 1) / panelCols
		mask := uint32(1)<<(cols-(panels-1)*panelCols) - 1
		gemmTilesAVX512(rows, tiles, k, &a[0], aTile, aRow, aCol, &b[0], bRow, bPanel, panels, &c[0], cRow, alpha, add, mask)
	case useAVX2:
		gemmTilesAVX2(rows, tiles, k, &a[0], aTile, aRow, aCol, &b[0], bRow, &c[0], cRow, alpha, add)
	default:
		gemmTilesGo(rows, tiles, k, a, aTile, aRow, aCol, b, bRow, c, cRow, alpha, add)
	}
}

// transposePanel is transposePanelGo. It fetches what lies ahead elements behind into the caches.
func transposePanel(dst, src []float32, stride, k, ahead int) {
	whole := 0
	switch {
	case useAVX512 && k >= 16:
		whole = k &^ 15
		transposeF32AVX512(&dst[0], &src[0], 4*stride, whole, 4*ahead)
	case useAVX2 && k >= 8:
		whole = k &^ 7
		transposeF32AVX2(&dst[0], &src[0], 4*stride, whole, 4*ahead)
		transposeF32AVX2(&dst[8], &src[8*stride], 4*stride, whole, 4*ahead)
	}
	if whole < k {
		transposePanelGo(dst[whole*panelCols:], src[whole:], stride, k-whole)
	}
}

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

var (
	wholeAVX2      = &byteKernels{gemvWholeAVX2, widenWholeAVX2}
	eightsAVX2     = &byteKernels{gemvEightsAVX2, widenEightsAVX2}
	sixteensAVX2   = &byteKernels{gemvSixteensAVX2, widenSixteensAVX2}
	signedAVX2     = &byteKernels{gemvSignedAVX2, widenSignedAVX2}
	scaledAVX2     = &byteKernels{gemvScaledAVX2, widenScaledAVX2}
	centeredAVX2   = &byteKernels{gemvCenteredAVX2, widenCenteredAVX2}
	wholeAVX512    = &byteKernels{gemvWholeAVX512, widenWholeAVX512}
	eightsAVX512   = &byteKernels{gemvEightsAVX512, widenEightsAVX512}
	sixteensAVX512 = &byteKernels{gemvSixteensAVX512, widenSixteensAVX512}
	signedAVX512   = &byteKernels{gemvSignedAVX512, widenSignedAVX512}
	scaledAVX512   = &byteKernels{gemvScaledAVX512, widenScaledAVX512}
	centeredAVX512 = &byteKernels{gemvCenteredAVX512, widenCenteredAVX512}

	storedAVX2 = [codes]storedKernels{
		BF16:  {transpose: transposeBF16AVX2, gemv: gemvBF16AVX2},
		F16:   {transpose: transposeF16AVX2, gemv: gemvF16AVX2},
		Q80:   {unpack: unpackQ80AVX2, group: 32, bytes: signedAVX2},
		Q40:   {unpack: unpackQ40AVX2, group: 32, bytes: eightsAVX2},
		Q41:   {unpack: unpackQ41AVX2, group: 32, bytes: wholeAVX2},
		Q50:   {unpack: unpackQ50AVX2, group: 32, bytes: sixteensAVX2},
		Q51:   {unpack: unpackQ51AVX2, group: 32, bytes: wholeAVX2},
		Q4K:   {unpack: unpackQ4KAVX2, group: 32, bytes: wholeAVX2},
		Q5K:   {unpack: unpackQ5KAVX2, group: 32, bytes: wholeAVX2},
		Q6K:   {unpack: unpackQ6KAVX2, group: 16, bytes: centeredAVX2},
		I8:    {unpack: unpackI8AVX2, group: 32, bytes: scaledAVX2},
		I4:    {unpack: unpackI4AVX2, group: 32, bytes: scaledAVX2},
		I4Two: {unpack: unpackI4TwoAVX2, group: 16, bytes: scaledAVX2},
	}
	storedAVX512 = [codes]storedKernels{
		BF16:  {transpose: transposeBF16AVX512, gemv: gemvBF16AVX512},
		F16:   {transpose: transposeF16AVX512, gemv: gemvF16AVX512},
		Q80:   {unpack: unpackQ80AVX512, group: 32, bytes: signedAVX512},
		Q40:   {unpack: unpackQ40AVX512, group: 32, bytes: eightsAVX512},
		Q41:   {unpack: unpackQ41AVX512, group: 32, bytes: wholeAVX512},
		Q50:   {unpack: unpackQ50AVX512, group: 32, bytes: sixteensAVX512},
		Q51:   {unpack: unpackQ51AVX512, group: 32, bytes: wholeAVX512},
		Q4K:   {unpack: unpackQ4KAVX512, group: 32, bytes: wholeAVX512},
		Q5K:   {unpack: unpackQ5KAVX512, group: 32, bytes: wholeAVX512},
		Q6K:   {unpack: unpackQ6KAVX512, group: 16, bytes: centeredAVX512},
		I8:    {unpack: unpackI8AVX512, group: 32, bytes: scaledAVX512},
		I4:    {unpack: unpackI4AVX512, group: 32, bytes: scaledAVX512},
		I4Two: {unpack: unpackI4TwoAVX512, group: 16, bytes: scaledAVX512},
	}
)

// storedKernels returns the kernels for how op(B) is stored and the rows that one of them reads, nil if there are none.
func (p *product) storedKernels() (*storedKernels, int) {
	switch {
	case p.stored.Code == AnyCode || !useAVX2:
		return nil, 0
	case useAVX512:
		return &storedAVX512[p.stored.Code], 16
	default:
		return &storedAVX2[p.stored.Code], 8
	}
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
	return useAVX2 && k%gemvStep == 0 && (p.stored.Data == nil || p.stored.Code != AnyCode)
}

// gemvColumns computes gemvCols columns of one row of C, those that begin at j, from k rows of the transposed B,
// those that begin at l0.
func (p *product) gemvColumns(buf *packing, j, l0, k, ahead int, add bool) {
	tmp := &buf.b[0]
	c, a, at := &p.c[j], &p.a[l0], j*p.ldb+l0
	w := &p.stored
	if w.Data == nil {
		if useAVX512 {
			gemvF32AVX512(c, a, &p.b[at], 4*p.ldb, k, 4*ahead, p.alpha, add, tmp)
		} else {
			gemvF32AVX2(c, a, &p.b[at], 4*p.ldb, k, 4*ahead, p.alpha, add, tmp)
		}
		return
	}
	s, rows := p.storedKernels()
	src, row := w.Data[w.bytes(at):], w.bytes(p.ldb)
	if s.unpack == nil {
		s.gemv(c, a, &src[0], row, k, w.bytes(ahead), p.alpha, add, tmp)
		return
	}
	// Of the next columns it fetches as much, in the order of memory and all the time: half of it while it unpacks.
	next, half, step := gemvCols*row+(gemvCols-1)*w.bytes(l0), gemvCols/2*w.bytes(k), (w.bytes(blockK)+7)/8
	if next+2*half > len(src) {
		next, half, step = 0, 0, 0
	}
	for i := 0; i < gemvCols; i += rows {
		s.unpackRows(&buf.codes, i, &src[i*row], row, k, &src[next+half*i/gemvCols], step)
	}
	u := &buf.codes
	s.bytes.gemv(c, a, &u.codes[0][0], &u.scales[0][0], &u.mins[0][0], k/s.group, s.group/4, p.alpha, add, &src[next+half], step)
}

func packRows(dst, src []float32, stride, width, k int) {
	switch {
	case useAVX512:
		packRowsAVX512(&dst[0], &src[0], stride, width, k, 1<<width-1)
	case useAVX2 && width == panelCols:
		packRows16AVX2(&dst[0], &src[0], stride, k)
	case useAVX2 && width == 6:
		packRows6AVX2(&dst[0], &src[0], stride, k)
	default:
		packRowsGo(dst, src, stride, width, k)
	}
}
