package encoding

import (
	"bytes"
	"encoding/json"
	"errors"
)

// wire is the JSON form of an encoding: "scale" and "zero_point" where one scale serves
// the whole tensor, else "scales", "zero_points", "axis" and, where there are blocks,
// "block". Low-power blockwise encodings have "channel_scales" and the multiples of them,
// "block_scales", instead of "scales".
type wire struct {
	Bits      int       `json:"bits"`
	Signed    bool      `json:"signed"`
	Scale     *float32  `json:"scale,omitempty"`
	ZeroPoint *int32    `json:"zero_point,omitempty"`
	Scales    []float32 `json:"scales,omitempty"`
	Zeros     []int32   `json:"zero_points,omitempty"`
	Axis      *int      `json:"axis,omitempty"`
	Block     int       `json:"block,omitempty"`
	Channels  []float32 `json:"channel_scales,omitempty"`
	Multiples []int32   `json:"block_scales,omitempty"`
}

// MarshalJSON writes the encoding as wire describes it.
func (e Encoding) MarshalJSON() ([]byte, error) {
	w := wire{Bits: e.Bits, Signed: !e.Unsigned, Block: e.Block}
	switch {
	case len(e.Scales) == 1 && e.Block == 0:
		zero := e.Zero(0)
		w.Scale, w.ZeroPoint = &e.Scales[0], &zero
	case e.LowPower():
		w.Channels, w.Multiples, w.Axis = e.Channels, e.Multiples(), &e.Axis
	default:
		w.Scales, w.Zeros, w.Axis = e.Scales, e.Zeros, &e.Axis
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON writes. Whether it is a valid encoding is for
// Check to say.
func (e *Encoding) UnmarshalJSON(text []byte) error {
	w := wire{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		return err
	}
	*e = Encoding{Bits: w.Bits, Unsigned: !w.Signed, Scales: w.Scales, Zeros: w.Zeros, Block: w.Block}
	if w.Axis != nil {
		e.Axis = *w.Axis
	}
	if len(w.Channels) > 0 {
		if w.Scale != nil || len(w.Scales) > 0 || len(w.Zeros) > 0 {
			return errors.New("an encoding with channel_scales must have block_scales, and no scale, scales or zero_points")
		}
		return e.SetMultiples(w.Channels, w.Multiples)
	}
	if (w.Scale != nil) == (len(w.Scales) > 0) {
		return errors.New("an encoding must have either scale or scales")
	}
	if w.Scale != nil {
		e.Scales = []float32{*w.Scale}
		if w.ZeroPoint != nil && *w.ZeroPoint != 0 {
			e.Zeros = []int32{*w.ZeroPoint}
		}
	}
	return nil
}
