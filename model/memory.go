package model

import (
	"slices"

	"eisft/internal/scratch"
	"eisft/model/kernels"
)

// memoryEps keeps an empty memory's read at zero (docs/method.md, section 3).
const memoryEps = 1e-6

// LeastMass keeps the read of an empty memory at zero in graphs, as ε does here: no mass of
// the scaled state counts as less. Added to a mean, ε would be gone in float16, and so would a
// mean that is not scaled.
const LeastMass = 0x1p-13

// StateScale is the factor by which graphs hold the memory's state above the means over the
// tokens written (docs/graphs.md, section 4), so that float16 has room for it: of φ's that
// are shares of 1, means are small; those of ELU+1 are of the order of 1, and their products
// over a head's elements beyond it.
func (s Spec) StateScale() float64 { return features.Get(s.Feature).stateScale }

// EmptyTokens is the number of tokens of which a graph's empty memory has the mass ε: in the
// mass gate even this takes a share.
func (s Spec) EmptyTokens() float64 { return memoryEps * s.StateScale() / LeastMass }

// Memory reads and writes the compressive memory of one layer. The memory is
// held as [K, F, d+1]: the matrix M with z as its last column, which is what M
// would be for a value of one. A read is then one product, [a·mass, mass].
type Memory struct {
	Spec Spec
	Dims Dims
}

// Size returns the number of floats of a layer's memory.
func (m Memory) Size() int { return m.Dims.KVHeads * m.headSize() }

func (m Memory) headSize() int {
	return m.Spec.FeatureSize(m.Dims.HeadDim) * (m.Dims.HeadDim + 1)
}

// MemoryParts splits the layer's memory into M [K,F,d] and z [K,F].
func (l *LayerState) MemoryParts(d Dims) (matrix, mass []float32) {
	for row := range slices.Chunk(l.Memory, d.HeadDim+1) {
		matrix, mass = append(matrix, row[:d.HeadDim]...), append(mass, row[d.HeadDim])
	}
	return matrix, mass
}

// featureMap returns φ with A of head h out of a [heads,d,f] tensor (nil for ELU).
func (m Memory) featureMap(a []float32, h int) FeatureMap {
	f := FeatureMap{Feature: m.Spec.Feature, D: m.Dims.HeadDim, Cols: m.Spec.featureCols(m.Dims.HeadDim)}
	f.A = headOf(a, h, f.D*f.Cols)
	return f
}

// headOf returns the h-th block of n values, or nil of nil.
func headOf(x []float32, h, n int) []float32 {
	if x == nil {
		return nil
	}
	return x[h*n : (h+1)*n]
}

// Read writes [T, H·(d+1)]: for each query head the read a and its mass, as
// Infini-attention's eq. 3, with the read map B [H,d,d] when it is not nil.
// q is [T,H·d] before rotary embedding, memory [K,F,d+1], featureQ [H,d,f].
func (m Memory) Read(dst, q, memory, featureQ, readMap []float32, rows int) {
	d, e := m.Dims.HeadDim, m.Dims.HeadDim+1
	ld := m.Dims.Heads * e
	kernels.Each(m.Dims.Heads, func(h int) {
		phi := scratch.Borrow(rows * m.Spec.FeatureSize(d))
		defer scratch.Release(phi)
		f := m.featureMap(featureQ, h)
		f.Forward(phi, q[h*d:], m.Dims.Heads*d, rows)
		out := dst[h*e:]
		m.lookUp(out, ld, phi, headOf(memory, h/m.group(), m.headSize()), rows)
		if readMap != nil {
			addMapped(out, ld, headOf(readMap, h, d*d), d, rows)
		}
	})
}

// group returns r, the query heads of a KV head.
func (m Memory) group() int { return m.Dims.Heads / m.Dims.KVHeads }

// lookUp writes φM/(φz+ε) and the mass φz, rows ld apart.
func (m Memory) lookUp(dst []float32, ld int, phi, memory []float32, rows int) {
	d, e, size := m.Dims.HeadDim, m.Dims.HeadDim+1, m.Spec.FeatureSize(m.Dims.HeadDim)
	kernels.GemmSerial(false, false, rows, d, size, 1, phi, size, memory, e, 0, dst, ld)
	z := scratch.Borrow(size) // side by side: one column more would cost a product as much as sixteen
	defer scratch.Release(z)
	for i := range z {
		z[i] = memory[i*e+d]
	}
	for t := range rows {
		row := dst[t*ld : t*ld+e]
		row[d] = kernels.Dot(phi[t*size:(t+1)*size], z)
		kernels.Scale(1/(row[d]+memoryEps), row[:d])
	}
}

// lookUpBackward turns the gradient of lookUp's output (rows of [T,d+1], which
// it overwrites) into gradients of φ (overwritten) and of the memory (added;
// nil: not wanted).
func (m Memory) lookUpBackward(dphi, dMemory, dOut, out []float32, ld int, phi, memory []float32, rows int) {
	d, e, size := m.Dims.HeadDim, m.Dims.HeadDim+1, m.Spec.FeatureSize(m.Dims.HeadDim)
	for t := range rows {
		g, a := dOut[t*e:(t+1)*e], out[t*ld:t*ld+e]
		inv := 1 / (a[d] + memoryEps)
		g[d] -= inv * kernels.Dot(g[:d], a[:d])
		kernels.Scale(inv, g[:d])
	}
	kernels.GemmSerial(false, true, rows, size, e, 1, dOut, e, memory, e, 0, dphi, size)
	if dMemory != nil {
		kernels.GemmSerial(true, false, size, e, rows, 1, phi, size, dOut, e, 1, dMemory, e)
	}
}

// addMapped adds aB to every row's read a.
func addMapped(out []float32, ld int, b []float32, d, rows int) {
	mapped := scratch.Borrow(rows * d)
	defer scratch.Release(mapped)
	kernels.GemmSerial(false, false, rows, d, d, 1, out, ld, b, d, 0, mapped, d)
	for t := range rows {
		kernels.Add(out[t*ld:t*ld+d], mapped[t*d:(t+1)*d])
	}
}

// ReadGrads receives the gradients of Read; all are added to. Q is nil if it is
// not wanted, FeatureQ and ReadMap if Read had none.
type ReadGrads struct {
	Q, Memory, FeatureQ, ReadMap []float32
}

// ReadBackward adds the gradients of Read for the upstream gradient dOut
// [T, H·(d+1)].
func (m Memory) ReadBackward(g ReadGrads, dOut, q, memory, featureQ, readMap []float32, rows int) {
	r := m.group()
	kernels.Each(m.Dims.KVHeads, func(kv int) { // the heads of a group share dMemory
		for h := kv * r; h < (kv+1)*r; h++ {
			m.readHeadBackward(g, dOut, q, memory, featureQ, readMap, h, rows)
		}
	})
}

func (m Memory) readHeadBackward(g ReadGrads, dOut, q, memory, featureQ, readMap []float32, h, rows int) {
	d, e, size := m.Dims.HeadDim, m.Dims.HeadDim+1, m.Spec.FeatureSize(m.Dims.HeadDim)
	phi, dphi, out, dRead := scratch.Borrow(rows*size), scratch.Borrow(rows*size), scratch.Borrow(rows*e), scratch.Borrow(rows*e)
	defer scratch.Release(phi, dphi, out, dRead)
	ldq, kv := m.Dims.Heads*d, h/m.group()
	f := m.featureMap(featureQ, h)
	f.Forward(phi, q[h*d:], ldq, rows)
	mem := headOf(memory, kv, m.headSize())
	m.lookUp(out, e, phi, mem, rows)
	for t := range rows {
		copy(dRead[t*e:(t+1)*e], dOut[t*m.Dims.Heads*e+h*e:])
	}
	if readMap != nil {
		b := headOf(readMap, h, d*d)
		up := dOut[h*e:]
		kernels.GemmSerial(false, true, rows, d, d, 1, up, m.Dims.Heads*e, b, d, 1, dRead, e)
		kernels.GemmSerial(true, false, d, d, rows, 1, out, e, up, m.Dims.Heads*e, 1, headOf(g.ReadMap, h, d*d), d)
	}
	m.lookUpBackward(dphi, headOf(g.Memory, kv, m.headSize()), dRead, out, e, phi, mem, rows)
	f.Backward(at(g.Q, h*d), headOf(g.FeatureQ, h, f.D*f.Cols), dphi, phi, q[h*d:], ldq, rows)
}

// Written are tokens that enter the memory: keys and values [m,K·d] before
// rotary embedding, and what decides their weight ω [m,K] (nil: ω = 1).
type Written struct {
	Keys, Values []float32
	Score        []float32 // ω = σ(Sign·Score)
	Sign         float32   // -1: Score is the retention score ρ; +1: the write gate's logit
	Age          []int32   // [m,K], with decay: ω = 1 - σ(Score)^Age
	Rows         int
}

// weight returns ω of a token, the i-th of the scores, and its derivative by the score.
func (w Written) weight(i int) (omega, slope float32) {
	switch {
	case w.Score == nil:
		return 1, 0
	case w.Age != nil:
		_, slope, rest := Kept(w.Score[i], int(w.Age[i]))
		return rest, -slope
	}
	omega = kernels.Sigmoid1(w.Sign * w.Score[i])
	return omega, w.Sign * omega * (1 - omega)
}

// Ages are those of tokens, by their indices in the sequence, when the first so many of that
// are committed.
func Ages(committed int, tokens []int32) []int32 {
	out := make([]int32, len(tokens))
	for i, t := range tokens {
		out[i] = int32(committed) - t
	}
	return out
}

// Write adds tokens to a layer's memory [K,F,d+1] in place: M += Σ ωφ(k)vᵀ and
// z += Σ ωφ(k); with the delta rule v is first replaced by v - φ(k)M/(φ(k)z),
// all against the memory as it was (Infini-attention, eq. 4 and 5).
func (m Memory) Write(memory []float32, w Written, featureK []float32) {
	kernels.Each(m.Dims.KVHeads, func(kv int) {
		h := m.prepareWrite(memory, w, featureK, kv)
		defer h.release()
		m.weigh(h.phi, w, kv)
		size, d, e := h.f.Size(), m.Dims.HeadDim, m.Dims.HeadDim+1
		kernels.GemmSerial(true, false, size, d, w.Rows, 1, h.phi, size, h.values, e, 1, h.memory, e)
		z := scratch.BorrowZero(size) // φ times the values' column of ones
		defer scratch.Release(z)
		for t := range w.Rows {
			kernels.Add(z, h.phi[t*size:(t+1)*size])
		}
		for i, v := range z {
			h.memory[i*e+d] += v
		}
	})
}

// writeHead holds the operands of one KV head's write.
type writeHead struct {
	f           FeatureMap
	memory, phi []float32 // [F,d+1]; [m,F]
	values, old []float32 // [m,d+1], last column one; the delta rule's look-up [m,d+1] or nil
}

func (h writeHead) release() { scratch.Release(h.phi, h.values, h.old) }

func (m Memory) prepareWrite(memory []float32, w Written, featureK []float32, kv int) writeHead {
	d, e, ld := m.Dims.HeadDim, m.Dims.HeadDim+1, m.Dims.KVHeads*m.Dims.HeadDim
	h := writeHead{f: m.featureMap(featureK, kv), memory: headOf(memory, kv, m.headSize())}
	h.phi, h.values = scratch.Borrow(w.Rows*h.f.Size()), scratch.Borrow(w.Rows*e)
	h.f.Forward(h.phi, w.Keys[kv*d:], ld, w.Rows)
	for t := range w.Rows {
		copy(h.values[t*e:t*e+d], w.Values[t*ld+kv*d:])
		h.values[t*e+d] = 1
	}
	if m.Spec.Memory.Corrects() {
		h.old = scratch.Borrow(w.Rows * e)
		m.lookUp(h.old, e, h.phi, h.memory, w.Rows)
		for t := range w.Rows {
			kernels.Axpy(-1, h.old[t*e:t*e+d], h.values[t*e:t*e+d])
		}
	}
	return h
}

// weigh multiplies every row of φ by its token's ω.
func (m Memory) weigh(phi []float32, w Written, kv int) {
	size := len(phi) / max(w.Rows, 1)
	for t := range w.Rows {
		omega, _ := w.weight(t*m.Dims.KVHeads + kv)
		kernels.Scale(omega, phi[t*size:(t+1)*size])
	}
}

// WriteBackward adds the gradients of a Write to dFeatureK [K,d,f] (nil for
// ELU) and dScore [m,K] (nil when w.Score is), and turns dMemory, the gradient
// of the memory after the write, into that of the memory before it. memory is
// the memory before the write.
func (m Memory) WriteBackward(dMemory, dFeatureK, dScore, memory []float32, w Written, featureK []float32) {
	kernels.Each(m.Dims.KVHeads, func(kv int) {
		m.writeHeadBackward(dMemory, dFeatureK, dScore, memory, w, featureK, kv)
	})
}

func (m Memory) writeHeadBackward(dMemory, dFeatureK, dScore, memory []float32, w Written, featureK []float32, kv int) {
	h := m.prepareWrite(memory, w, featureK, kv)
	defer h.release()
	d, e, size := m.Dims.HeadDim, m.Dims.HeadDim+1, h.f.Size()
	up := headOf(dMemory, kv, m.headSize())
	dphi := scratch.Borrow(w.Rows * size)
	defer scratch.Release(dphi)
	kernels.GemmSerial(false, true, w.Rows, size, e, 1, h.values, e, up, e, 0, dphi, size) // gradient of ωφ
	omega := scratch.Borrow(w.Rows)
	defer scratch.Release(omega)
	for t := range w.Rows {
		row := dphi[t*size : (t+1)*size]
		var slope float32
		omega[t], slope = w.weight(t*m.Dims.KVHeads + kv)
		if dScore != nil {
			dScore[t*m.Dims.KVHeads+kv] += slope * kernels.Dot(row, h.phi[t*size:(t+1)*size])
		}
		kernels.Scale(omega[t], row)
	}
	if h.old != nil {
		m.deltaBackward(dphi, up, h, omega, w.Rows)
	}
	f := h.f
	f.Backward(nil, headOf(dFeatureK, kv, f.D*f.Cols), dphi, h.phi, w.Keys[kv*d:], m.Dims.KVHeads*d, w.Rows)
}

// deltaBackward adds what the delta rule's look-up of the old memory
// contributes to dφ and to the old memory's gradient.
func (m Memory) deltaBackward(dphi, dMemory []float32, h writeHead, omega []float32, rows int) {
	d, e, size := m.Dims.HeadDim, m.Dims.HeadDim+1, h.f.Size()
	dOld, more := scratch.Borrow(rows*e), scratch.Borrow(rows*size)
	defer scratch.Release(dOld, more)
	kernels.GemmSerial(false, false, rows, e, size, -1, h.phi, size, dMemory, e, 0, dOld, e)
	for t := range rows { // dv = ωφ·dM, and the look-up enters with a minus
		kernels.Scale(omega[t], dOld[t*e:t*e+d])
		dOld[t*e+d] = 0
	}
	m.lookUpBackward(more, dMemory, dOld, h.old, e, h.phi, h.memory, rows)
	kernels.Add(dphi, more)
}
