package config

import (
	"strconv"

	"github.com/goccy/go-yaml/ast"

	"eisft/model"
)

// Prune is a stage of kind prune: it finds the layers whose slots answers need, and takes
// the slots from all others. It trains nothing.
type Prune struct {
	Samples int     `yaml:"samples"` // read without the slots of each layer
	Gain    float64 `yaml:"gain"`    // share of what the slots gain that has to stay
}

var defaultPrune = Prune{Samples: 8, Gain: 0.99}

// Kind is KindPrune.
func (Prune) Kind() Kind { return KindPrune }

// NumSteps is 1: all layers are looked at in one.
func (Prune) NumSteps() int { return 1 }

func (s Prune) filled(model.Spec) Stage { return s }

func (s Prune) validate(d *document, path string, c *Config) {
	if c.Block.Slots == 0 {
		d.Problem(path+".kind", "is %s, but the block has no slots to take away; remove the stage", s.Kind())
	}
	d.AtLeast(path+".samples", s.Samples, 1)
	if s.Gain <= 0 || s.Gain > 1 {
		d.Problem(path+".gain", "is %v; it must be above 0 and at most 1", s.Gain)
	}
}

// idleInPrune: earlier versions wrote the optimizer's keys for stages of all kinds, with
// nothing in them and one step.
func idleInPrune(key string, value ast.Node) bool {
	return isZero(value) || key == "steps" && value.String() == "1"
}

// isZero says whether there is nothing in a value but zeros.
func isZero(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		v, err := strconv.ParseFloat(n.String(), 64)
		return err == nil && v == 0
	case *ast.SequenceNode:
		for _, v := range n.Values {
			if !isZero(v) {
				return false
			}
		}
		return true
	case ast.MapNode:
		return !n.MapRange().Next()
	default:
		return false
	}
}
