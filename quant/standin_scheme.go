package quant

// Stands in for the rows of scheme.go that are to come.

import "eisft/quant/encoding"

var everyTarget = []string{"qnn", "mediatek", "litert", "openvino"}

func TargetNames() []string { return everyTarget }

var _ = schemes.
	With("w4a16", Scheme{
		Name: "w4a16", Weight: encoding.Format{Bits: 4}, Head: encoding.Format{Bits: 8},
		Activation: encoding.Format{Bits: 16}, Cache: encoding.Format{Bits: 8},
	}).
	With("w4-g128", Scheme{Name: "w4-g128", Weight: encoding.Format{Bits: 4, Block: 64}, Head: encoding.Format{Bits: 8}}).
	With("w8a8", Scheme{
		Name: "w8a8", Weight: encoding.Format{Bits: 8}, Head: encoding.Format{Bits: 8},
		Activation: encoding.Format{Bits: 8}, Cache: encoding.Format{Bits: 8},
	})

func (s Scheme) targets() []string {
	switch s.Name {
	case "w4-g128":
		return []string{"openvino"}
	case "w8a8":
		return []string{"mediatek", "litert"}
	case "w4a16":
		return []string{"qnn", "mediatek", "litert"}
	}
	return everyTarget
}

func SchemesFor(target string) []string {
	var list []string
	for _, n := range SchemeNames() {
		for _, t := range schemes.Get(n).targets() {
			if t == target {
				list = append(list, n)
			}
		}
	}
	return list
}
