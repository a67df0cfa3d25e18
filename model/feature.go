package model

import "eisft/internal/enum"

// Feature is a feature map of the compressive memory (docs/method.md, section 3).
type Feature string

// features are all feature maps, a file each; how a map is worded in ONNX ops is an entry
// of the table in package export/lower.
var features = enum.NewTable[Feature, featureForm]("feature").
	With(FeatureELU, eluFeature).
	With(FeatureHedgehog, hedgehogFeature)

// Features lists the feature maps.
func Features() []Feature { return features.Names() }

// featureForm is what sets a feature map apart from the others. Functions are those of
// FeatureMap; they get its size F.
type featureForm struct {
	learned bool // it has trained columns, A [d,f] a head
	// stateScale is the factor by which graphs hold the memory's state above means: see
	// Spec.StateScale.
	stateScale float64
	size       func(d, cols int) int
	forward    func(m FeatureMap, phi, x []float32, ldx, rows, size int)
	backward   func(m FeatureMap, dx, dA, dphi, phi, x []float32, ldx, rows, size int)
}

// FeatureMap is φ of one head.
type FeatureMap struct {
	Feature Feature
	D, Cols int       // head size d; columns f of A
	A       []float32 // [d,f]; nil where none is trained
}

// Size returns F, 0 of no feature map.
func (m FeatureMap) Size() int {
	if size := features.Get(m.Feature).size; size != nil {
		return size(m.D, m.Cols)
	}
	return 0
}

// Forward writes φ [T,F] of x, T rows of d values, ldx apart.
func (m FeatureMap) Forward(phi, x []float32, ldx, rows int) {
	features.Get(m.Feature).forward(m, phi, x, ldx, rows, m.Size())
}

// Backward adds the gradients of x (rows ldx apart; nil: not wanted) and of A
// (nil where none is trained), given φ and its gradient, which it overwrites.
func (m FeatureMap) Backward(dx, dA, dphi, phi, x []float32, ldx, rows int) {
	features.Get(m.Feature).backward(m, dx, dA, dphi, phi, x, ldx, rows, m.Size())
}
