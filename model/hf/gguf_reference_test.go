package hf_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"eisft/model/hf"
)

// ggmlReference is testdata/ggml_blocks.json: what ggml makes of blocks of random bytes
// (scripts/reference/ggml_blocks.py).
type ggmlReference struct {
	Blocks int `json:"blocks"` // of each type
	Types  map[hf.DType]struct {
		Number uint32    `json:"ggml_type"`
		Size   int       `json:"block_bytes"`
		Halves []int     `json:"halves"` // where the upper bytes of F16 numbers lie, whose second bit is not set
		First  []float32 `json:"first"`  // the numbers of the first block
		Sum    string    `json:"sha256"` // of all numbers
	} `json:"types"`
}

func readGGMLReference(t testing.TB) ggmlReference {
	t.Helper()
	text, err := os.ReadFile("testdata/ggml_blocks.json")
	var r ggmlReference
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// randomBlocks returns blocks whose bytes are the upper ones of a linear congruential generator's states.
func randomBlocks(n, size int, halves []int) []byte {
	blocks, state := make([]byte, n*size), uint32(1)
	for i := range blocks {
		state = state*1664525 + 1013904223
		blocks[i] = byte(state >> 24)
	}
	for block := range slices.Chunk(blocks, size) {
		for _, at := range halves {
			block[at] &= 0xbf
		}
	}
	return blocks
}

// TestBlocksAreThoseOfGGML expands random blocks of every type to the numbers that ggml makes of
// them, bit by bit: each entry of each grid is among them.
func TestBlocksAreThoseOfGGML(t *testing.T) {
	reference := readGGMLReference(t)
	for number, dtype := range hf.GGMLTypes {
		if _, ok := reference.Types[dtype]; dtype.Bytes(1) == 0 && !ok {
			t.Errorf("no reference for ggml type %d, %s", number, dtype)
		}
	}
	for dtype, want := range reference.Types {
		t.Run(string(dtype), func(t *testing.T) {
			if hf.GGMLTypes[want.Number] != dtype {
				t.Errorf("ggml type %d is read as %q", want.Number, hf.GGMLTypes[want.Number])
			}
			x := hf.Tensor{Name: "w", DType: dtype, Shape: []int{reference.Blocks, len(want.First)}, Data: randomBlocks(reference.Blocks, want.Size, want.Halves)}
			got, err := x.Float32()
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range want.First {
				if got[i] != v {
					t.Fatalf("number %d of the first block is %g, want %g", i, got[i], v)
				}
			}
			numbers := make([]byte, 0, 4*len(got))
			for _, v := range got {
				numbers = binary.LittleEndian.AppendUint32(numbers, math.Float32bits(v+0)) // −0 as 0
			}
			if sum := sha256.Sum256(numbers); hex.EncodeToString(sum[:]) != want.Sum {
				t.Errorf("the numbers have the sum %x, want %s", sum, want.Sum)
			}
		})
	}
}
