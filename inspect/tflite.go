package inspect

import (
	"context"
	"fmt"

	"eisft/export/tflite"
)

// inspectLite describes a .tflite file.
func inspectLite(_ context.Context, r *Report, path string, _ Options) error {
	m, err := tflite.Open(path)
	if err != nil {
		return err
	}
	r.Kind = "TFLite file"
	r.fact("size", Bytes(m.Bytes))
	r.fact("signatures", len(m.Signatures))
	for _, s := range m.Signatures {
		r.lite(s.Name+": inputs", s.Inputs)
		r.lite(s.Name+": outputs", s.Outputs)
		r.table(opTable(s.Name+": ops", s.Ops))
	}
	r.findings(path)
	return nil
}

func (r *Report) lite(title string, ports []tflite.Port) {
	t := Table{Title: title, Columns: []string{"name", "type", "shape", "scale"}}
	for _, p := range ports {
		var scale any
		if e := p.Tensor.Encoding; e != nil {
			scale = float64(e.Scales[0])
		}
		t.row(p.Name, p.Tensor.DType.String(), fmt.Sprint(p.Tensor.Shape), scale)
	}
	r.table(t)
}
