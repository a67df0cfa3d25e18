package eval

import (
	"fmt"

	"eisft/model"
)

// Bucket is a range of distances from the fact to the answer.
type Bucket string

// The buckets. All holds every question, also those with no known distance.
const (
	Near Bucket = "near"
	Mid  Bucket = "mid"
	Far  Bucket = "far"
	All  Bucket = "all"
)

// Bounds divide questions by how far back their fact lies: the number of tokens from the
// beginning of the fact's line to the answer. The zero value divides nothing.
type Bounds struct {
	NearBelow int `json:"near_below"` // near: fewer tokens back
	FarAbove  int `json:"far_above"`  // far: more tokens back
}

// BoundsOf returns the bounds of a block. Where an answer begins, a block with a window
// of W tokens and segments of L sees the last W+r tokens exactly, and the last token read
// is one of them: W in the window, and the r of the segment in progress, where r is from
// 1 to L and depends on the length of the input alone. A fact that lies fewer than W
// tokens back is therefore always among them (near), one that lies more than W+L back
// never (far): it has left the window, and a block without slots and memory has lost it.
// Sinks are left out of this: they are the first tokens of the input, which hold the
// template's beginning and no fact. While an answer is written the window moves on.
func BoundsOf(block model.Spec) Bounds {
	return Bounds{NearBelow: block.Window, FarAbove: block.Window + block.Segment}
}

// Has says whether a bucket holds questions whose fact is so many tokens back
// (-1: not known).
func (b Bounds) Has(bucket Bucket, distance int) bool {
	known := distance >= 0 && b != Bounds{}
	switch bucket {
	case Near:
		return known && distance < b.NearBelow
	case Mid:
		return known && distance >= b.NearBelow && distance <= b.FarAbove
	case Far:
		return known && distance > b.FarAbove
	default:
		return true
	}
}

// Distances says how many tokens back the facts of a bucket lie, as in "< 256"; nothing
// where that is not known.
func (b Bounds) Distances(bucket Bucket) string {
	switch {
	case b == Bounds{}:
		return ""
	case bucket == Near:
		return fmt.Sprintf("< %d", b.NearBelow)
	case bucket == Mid:
		return fmt.Sprintf("%d-%d", b.NearBelow, b.FarAbove)
	case bucket == Far:
		return fmt.Sprintf("> %d", b.FarAbove)
	default:
		return ""
	}
}

// Describe names a bucket and what it holds, as in "far: > 512 tokens back".
func (b Bounds) Describe(bucket Bucket) string {
	if back := b.Distances(bucket); back != "" {
		return fmt.Sprintf("%s: %s tokens back", bucket, back)
	}
	return string(bucket)
}
