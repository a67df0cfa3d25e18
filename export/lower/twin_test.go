package lower

import (
	"slices"
	"testing"

	"eisft/model"
)

// TestTwins checks that all that package model has a formula for is worded in ONNX ops,
// and that the tables agree on which gates are columns of the softmax.
func TestTwins(t *testing.T) {
	if got, want := gates.Names(), model.Gates(); !slices.Equal(got, want) {
		t.Errorf("gates %v, but package model has %v", got, want)
	}
	if got, want := features.Names(), model.Features(); !slices.Equal(got, want) {
		t.Errorf("feature maps %v, but package model has %v", got, want)
	}
	for _, g := range model.Gates() {
		if column := (model.Spec{Gate: g}).GateIsColumn(); column != (gates.Get(g).join != nil) {
			t.Errorf("gate %s: a column of the softmax in package model: %t; joined as one here: %t", g, column, !column)
		}
	}
}
