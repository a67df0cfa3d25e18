package host

import (
	"errors"
	"maps"
	"slices"

	"eisft/export/ir"
	"eisft/export/ort"
)

// parts are the sessions of a graph that comes in several, to be run one after another. What
// has one name is one tensor: an output that a later part reads, or an input of several.
type parts []session

func (p parts) Inputs() []ir.Port { return p.ports(session.Inputs) }

func (p parts) Outputs() []ir.Port { return p.ports(session.Outputs) }

func (p parts) ports(of func(session) []ir.Port) []ir.Port {
	var list []ir.Port
	for _, s := range p {
		list = append(list, of(s)...)
	}
	return list
}

func (p parts) Bind(given map[string]ort.Tensor) (binding, error) {
	b := &boundParts{tensors: maps.Clone(given)}
	if b.tensors == nil {
		b.tensors = map[string]ort.Tensor{}
	}
	for _, s := range p {
		known := map[string]ort.Tensor{}
		for _, in := range s.Inputs() {
			if t, ok := b.tensors[in.Name]; ok {
				known[in.Name] = t
			}
		}
		bound, err := s.Bind(known)
		if err != nil {
			return nil, errors.Join(err, b.Close())
		}
		b.bindings = append(b.bindings, bound)
		for _, port := range slices.Concat(s.Inputs(), s.Outputs()) {
			b.tensors[port.Name] = bound.Tensor(port.Name)
		}
	}
	return b, nil
}

func (p parts) Close() error {
	return closeAll(p...)
}

// boundParts are parts with their tensors.
type boundParts struct {
	bindings []binding
	tensors  map[string]ort.Tensor
}

func (b *boundParts) Tensor(name string) ort.Tensor { return b.tensors[name] }

func (b *boundParts) Run() error {
	for _, p := range b.bindings {
		if err := p.Run(); err != nil {
			return err
		}
	}
	return nil
}

func (b *boundParts) Close() error {
	return closeAll(b.bindings...)
}
