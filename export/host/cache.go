package host

// tokens is a tensor of K heads with n tokens of d numbers each: values [K,1,n,d], or
// keys, which are stored transposed [K,1,d,n]. Its numbers are float32 or codes, the same in all
// tensors of a layer's keys or values (bound.tokens sees to it).
type tokens struct {
	data       any
	n, d       int
	transposed bool
}

// copyTo copies the given tokens of a head to dst, where they follow each other from
// token `at` on. dst may be t itself if no token moves back.
func (t tokens) copyTo(dst tokens, head, at int, rows []int) {
	switch src := t.data.(type) {
	case []float32:
		copyTokens(dst.data.([]float32), src, dst, t, head, at, rows)
	case []int8:
		copyTokens(dst.data.([]int8), src, dst, t, head, at, rows)
	case []int16:
		copyTokens(dst.data.([]int16), src, dst, t, head, at, rows)
	case []uint8:
		copyTokens(dst.data.([]uint8), src, dst, t, head, at, rows)
	case []uint16:
		copyTokens(dst.data.([]uint16), src, dst, t, head, at, rows)
	}
}

func copyTokens[T any](to, from []T, dst, src tokens, head, at int, rows []int) {
	if !src.transposed {
		for j, r := range rows {
			copy(to[(head*dst.n+at+j)*dst.d:][:dst.d], from[(head*src.n+r)*src.d:][:src.d])
		}
		return
	}
	for i := range src.d {
		x, y := to[(head*dst.d+i)*dst.n:], from[(head*src.d+i)*src.n:]
		for j, r := range rows {
			x[at+j] = y[r]
		}
	}
}

// span lists the rows from, from+1, … to-1.
func span(from, to int) []int {
	rows := make([]int, to-from)
	for i := range rows {
		rows[i] = from + i
	}
	return rows
}
