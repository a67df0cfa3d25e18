package export

import (
	"eisft/export/check"
	"eisft/export/manifest"
	"eisft/internal/enum"
)

// targetForm is what is chosen for a target where the options leave it open. What codes it
// has is chosen when a model is quantized (quant.Scheme.For).
type targetForm struct {
	// precision is that of float graphs, and of all floats beside codes on the device:
	// graphs that float16 does not keep are an error where it is float16.
	precision Precision
	maskBytes int // see lower.Source.MaskBytes
	// composites says that TFLite files keep norms together, for delegates that have kernels for
	// them (tflite.Options).
	composites bool
}

// targetForms are those of all targets: NPUs of phones compute floats in float16.
var targetForms = enum.NewTable[check.Target, targetForm]("target").
	With(check.Generic, targetForm{precision: Float32}).
	With(check.QNN, targetForm{precision: Float16, maskBytes: check.QNNMaskBytes}).
	With(check.MediaTek, targetForm{precision: Float16}).
	With(check.LiteRT, targetForm{precision: Float32, composites: true}).
	With(check.OpenVINO, targetForm{precision: Float32}).
	With(check.CoreML, targetForm{precision: Float16})

// formOf is what is chosen for a target; without one, as for any runtime.
func formOf(t check.Target) targetForm {
	if t == check.NoTarget {
		t = check.Generic
	}
	return targetForms.Get(t)
}

// MaskBytes is the most that the mask takes as graphs for a target add it to the scores, in pieces
// of fewer tokens where it would be more (lower.Source); 0: as it is.
func MaskBytes(t check.Target) int { return formOf(t).maskBytes }

// forTarget tells why the options do not go together with their target.
func (o Options) forTarget() error {
	if o.Quantized == nil || o.Target == check.NoTarget {
		return nil
	}
	return o.Quantized.Scheme.RunsOn(string(o.Target))
}

// halves tells whether all that stays in float must hold in float16: for the target, or
// because there are graphs in it.
func halves(list []manifest.Verification, target check.Target) bool {
	if formOf(target).precision == Float16 {
		return true
	}
	for _, v := range list {
		if v.Precision == manifest.Float16 {
			return true
		}
	}
	return false
}
