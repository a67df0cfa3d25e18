package encoding

import (
	"fmt"
	"math"
)

// MaxMultiple is the largest scale of a block in channel scales: 4 bits hold 1 to 16.
const MaxMultiple = 16

// LowPower says whether scales of blocks are whole multiples of channel scales.
func (e Encoding) LowPower() bool { return len(e.Channels) > 0 }

// channel returns the channel of scale i of a low-power blockwise encoding.
func (e Encoding) channel(i int) int {
	if e.Axis == 0 {
		return i % len(e.Channels)
	}
	return i / (len(e.Scales) / len(e.Channels))
}

// Channel returns the channel scale that scale i of a low-power blockwise encoding is a
// multiple of.
func (e Encoding) Channel(i int) float32 { return e.Channels[e.channel(i)] }

// Multiple returns scale i of a low-power blockwise encoding in channel scales, 1 to
// [MaxMultiple].
func (e Encoding) Multiple(i int) int32 {
	return int32(math.Round(float64(e.Scales[i]) / float64(e.Channel(i))))
}

// Multiples returns all scales in channel scales.
func (e Encoding) Multiples() []int32 {
	multiples := make([]int32, len(e.Scales))
	for i := range multiples {
		multiples[i] = e.Multiple(i)
	}
	return multiples
}

// SetMultiples makes the encoding, which has an axis and blocks, a low-power blockwise one.
func (e *Encoding) SetMultiples(channels []float32, multiples []int32) error {
	e.Channels, e.Scales = channels, make([]float32, len(multiples))
	if len(channels) == 0 || len(multiples)%len(channels) != 0 {
		return fmt.Errorf("there are %d block scales for %d channel scales; want as many for each channel", len(multiples), len(channels))
	}
	for i, k := range multiples {
		e.Scales[i] = channels[e.channel(i)] * float32(k)
	}
	return e.checkChannels()
}

// checkChannels reports scales that are no multiples of the channel scales.
func (e Encoding) checkChannels() error {
	if !e.LowPower() {
		return nil
	}
	if e.Block == 0 || len(e.Zeros) > 0 || len(e.Scales)%len(e.Channels) != 0 || len(e.Scales) == 0 {
		return fmt.Errorf("there are %d channel scales for %d scales and %d zero points of blocks of %d; want as many blocks for each channel, and no zero points", len(e.Channels), len(e.Scales), len(e.Zeros), e.Block)
	}
	for i, c := range e.Channels {
		if !(c > 0) || math.IsInf(float64(c), 1) {
			return fmt.Errorf("channel scale %d is %g; it must be a finite number above 0", i, c)
		}
	}
	for i, s := range e.Scales {
		c := float64(e.Channel(i))
		if k := math.Round(float64(s) / c); k < 1 || k > MaxMultiple || k*c != float64(s) {
			return fmt.Errorf("scale %d is %.9g, %.6g times the channel's %.9g; want a whole multiple, 1 to %d", i, s, float64(s)/c, c, MaxMultiple)
		}
	}
	return nil
}

// WholeMultiples returns the low-power blockwise encoding that is next to e, which has a
// scale for each block along the rows of the matrix x [rows,cols]: a row's channel scale is
// a sixteenth of its largest scale, and each block has the nearest multiple of it, as AIMET
// chooses them (GroupedBlockQuantizeDequantize). Blocks of zeros have no say.
func (e Encoding) WholeMultiples(rows int, x []float32) Encoding {
	blocks := len(e.Scales) / rows
	g := e
	g.Channels, g.Scales = make([]float32, rows), make([]float32, len(e.Scales))
	for r := range rows {
		largest := float32(0)
		for b := range blocks {
			i := r*blocks + b
			if lo, hi := span(x[i*e.Block : (i+1)*e.Block]); lo != 0 || hi != 0 {
				largest = max(largest, e.Scales[i])
			}
		}
		if largest == 0 {
			largest = 1
		}
		g.Channels[r] = ChannelScale(largest / MaxMultiple)
		for i := r * blocks; i < (r+1)*blocks; i++ {
			k := math.Round(float64(e.Scales[i]) / float64(g.Channels[r]))
			g.SetMultiple(i, int32(max(1, min(MaxMultiple, k))))
		}
	}
	return g
}

// SetMultiple changes scale i of a low-power blockwise encoding to k channel scales.
func (e Encoding) SetMultiple(i int, k int32) { e.Scales[i] = e.Channel(i) * float32(k) }

// ChannelScale returns the scale c rounded up to 20 significant bits: like this its
// multiples of 4 bits are exact in float32, and all who multiply agree.
func ChannelScale(c float32) float32 {
	const spare = 1<<4 - 1
	c = max(c, 0x1p-126)
	return math.Float32frombits((math.Float32bits(c) + spare) &^ spare)
}
