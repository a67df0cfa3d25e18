package hf_test

import (
	"encoding/binary"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"eisft/internal/testfiles"
	"eisft/model/hf"
	"eisft/model/hf/hftest"
)

// TestBlocks reads two blocks of each format, built bit by bit from known codes and
// scales, and wants what the format's formula makes of these.
func TestBlocks(t *testing.T) {
	d, e := 0.5, 0.25 // exact in F16
	dBits, _ := hftest.Half(d)
	eBits, _ := hftest.Half(e)
	codes := func(n, top int) []int {
		out := make([]int, n)
		for i := range out {
			out[i] = (i*7 + i/16) % (top + 1)
		}
		return out
	}
	nibbles := func(codes []int) []byte { // of 32 numbers
		out := make([]byte, 16)
		for i, q := range codes {
			out[i%16] |= byte(q&15) << (4 * (i / 16))
		}
		return out
	}
	fifths := func(codes []int) []byte {
		bits := uint32(0)
		for i, q := range codes {
			bits |= uint32(q>>4) << i
		}
		return binary.LittleEndian.AppendUint32(nil, bits)
	}
	groupFifths := func(codes []int) []byte {
		out := make([]byte, 32)
		for i, q := range codes {
			out[i%32] |= byte(q>>4) << (i / 32)
		}
		return out
	}
	scales, mins := [8]int{1, 63, 17, 42, 33, 62, 5, 48}, [8]int{0, 63, 21, 10, 51, 34, 7, 29}
	scales6 := make([]int, 16)
	for i := range scales6 {
		scales6[i] = 16*i - 128
	}
	for dtype, c := range map[hf.DType]struct {
		top   int // code
		count int
		block func(q []int) [][]byte
		value func(i, q int) float64
	}{
		hf.DTypeQ40: {15, 32, func(q []int) [][]byte { return [][]byte{dBits, nibbles(q)} }, func(_, q int) float64 { return d * float64(q-8) }},
		hf.DTypeQ41: {15, 32, func(q []int) [][]byte { return [][]byte{dBits, eBits, nibbles(q)} }, func(_, q int) float64 { return d*float64(q) + e }},
		hf.DTypeQ50: {31, 32, func(q []int) [][]byte { return [][]byte{dBits, fifths(q), nibbles(q)} }, func(_, q int) float64 { return d * float64(q-16) }},
		hf.DTypeQ51: {31, 32, func(q []int) [][]byte { return [][]byte{dBits, eBits, fifths(q), nibbles(q)} }, func(_, q int) float64 { return d*float64(q) + e }},
		hf.DTypeQ80: {255, 32, func(q []int) [][]byte {
			out := make([]byte, 32)
			for i := range out {
				out[i] = byte(q[i] - 128)
			}
			return [][]byte{dBits, out}
		}, func(_, q int) float64 { return d * float64(q-128) }},
		hf.DTypeQ4K: {15, 256, func(q []int) [][]byte {
			return [][]byte{dBits, eBits, hftest.PackScales(scales, mins), hftest.PackGroups(q)}
		}, func(i, q int) float64 { return d*float64(scales[i/32]*q) - e*float64(mins[i/32]) }},
		hf.DTypeQ5K: {31, 256, func(q []int) [][]byte {
			return [][]byte{dBits, eBits, hftest.PackScales(scales, mins), groupFifths(q), hftest.PackGroups(q)}
		}, func(i, q int) float64 { return d*float64(scales[i/32]*q) - e*float64(mins[i/32]) }},
		hf.DTypeQ6K: {
			63, 256, func(q []int) [][]byte { return [][]byte{hftest.PackQ6K(q, scales6), dBits} },
			func(i, q int) float64 { return d * float64(scales6[i/16]*(q-32)) },
		},
	} {
		t.Run(string(dtype), func(t *testing.T) {
			var data []byte
			var want []float32
			q := codes(2*c.count, c.top)
			for b := range 2 {
				block := q[b*c.count : (b+1)*c.count]
				data = append(data, slices.Concat(c.block(block)...)...)
				for i, code := range block {
					want = append(want, float32(c.value(i, code)))
				}
			}
			got, err := hf.Tensor{Name: "w", DType: dtype, Shape: []int{2, c.count}, Data: data}.Float32()
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %v\nwant %v", got, want)
			}
		})
	}
}

// TestQuantizedGGUF converts a model to GGUF in each format and finds every weight
// within a step of what went in, reordered rows of q and k put back.
func TestQuantizedGGUF(t *testing.T) {
	dir := testfiles.Repository(t, "model/demo")
	config, err := hf.LoadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	ck, err := hf.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer hf.CloseFile(t, ck)
	one := func(e hftest.Encoding) func(string) hftest.Encoding { return func(string) hftest.Encoding { return e } }
	for name, c := range map[string]struct {
		encoding func(string) hftest.Encoding
		steps    float64 // from 0 to the largest number of a block
	}{
		"Q8_0":   {one(hftest.Q80), 127},
		"Q4_0":   {one(hftest.Q40), 7},
		"Q4_K_M": {hftest.Q4KM, 7},
	} {
		t.Run(name, func(t *testing.T) {
			path := hftest.Convert(t, config, ck, c.encoding).Write(t)
			got, err := hf.Open(filepath.Dir(path))
			if err != nil {
				t.Fatal(err)
			}
			defer hf.CloseFile(t, got)
			for _, name := range ck.Names() {
				compareBlocks(t, got, ck, name, c.steps)
			}
		})
	}
}

// compareBlocks compares a tensor with what it was before it was quantized.
func compareBlocks(t *testing.T, got, was *hf.Checkpoint, name string, steps float64) {
	t.Helper()
	x, err := got.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	y, err := was.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	a, errA := x.Float32()
	b, errB := y.Float32()
	if errA != nil || errB != nil || len(a) != len(b) {
		t.Fatalf("%s: %v %v, %d numbers, want %d", name, errA, errB, len(a), len(b))
	}
	for at := 0; at < len(b); at += 256 {
		block := b[at : at+256]
		largest := math.Max(float64(slices.Max(block)), -float64(slices.Min(block)))
		for i, v := range block {
			if math.Abs(float64(a[at+i]-v)) > 0.6*largest/steps {
				t.Fatalf("%s: number %d is %g, want %g up to %g", name, at+i, a[at+i], v, 0.6*largest/steps)
			}
		}
	}
}

// BenchmarkBlocks converts a thousand blocks of each type; bytes are those of float32.
func BenchmarkBlocks(b *testing.B) {
	reference := readGGMLReference(b)
	for dtype, of := range reference.Types {
		b.Run(string(dtype), func(b *testing.B) {
			x := hf.Tensor{Name: "w", DType: dtype, Shape: []int{reference.Blocks, len(of.First)}, Data: randomBlocks(reference.Blocks, of.Size, of.Halves)}
			values := make([]float32, reference.Blocks*len(of.First))
			b.SetBytes(int64(4 * len(values)))
			for b.Loop() {
				if err := x.ReadFloat32(values); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
