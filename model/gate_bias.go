package model

// The gates that know nothing of the token: a weight a head (Infini-attention, eq. 6), or
// one a head and dimension.
const (
	GateScalar Gate = "scalar" // one weight a head
	GateVector Gate = "vector" // one weight a head and dimension
)

var (
	scalarGate = gateForm{params: []gateParam{{"bias", perHead, initialMix}}}
	vectorGate = gateForm{params: []gateParam{{"bias", perDimension, initialMix}}}
)
