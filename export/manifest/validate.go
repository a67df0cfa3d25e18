package manifest

import (
	"encoding/hex"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"eisft/export/ir"
)

// roles are what a port can carry.
var roles = []string{
	"ids", "embeds", "hidden", "mask", "position_cos", "position_sin", "cache_cos", "cache_sin",
	"key", "value", "weight", "decay", "memory", "memory_mass", "logits", "retention", "write",
}

// Validate checks that the manifest is complete and agrees with itself. Errors begin
// with the key path: graphs[1].inputs[0].shape.
func (m *Manifest) Validate() error {
	for _, check := range []func() error{m.validateHead, m.validateShapes, m.validateGraphs, m.validateStates, m.validateFiles} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manifest) validateHead() error {
	switch {
	case m.Schema != Schema:
		return fmt.Errorf("schema: version %d, want %d", m.Schema, Schema)
	case m.Opset != 17 && m.Opset != 21:
		return fmt.Errorf("opset: %d, want 17 or 21", m.Opset)
	case m.Positions != "compact" && m.Positions != "absolute":
		return fmt.Errorf("positions: %q, want compact or absolute", m.Positions)
	case !(m.MaskValue < 0) || math.IsInf(m.MaskValue, 0):
		return fmt.Errorf("mask_value: %g, want a finite number below 0", m.MaskValue)
	case m.MemoryColumn != ColumnZero && m.MemoryColumn != ColumnLogTokens:
		return fmt.Errorf("memory_column: %q, want %s or %s", m.MemoryColumn, ColumnZero, ColumnLogTokens)
	case m.Embeddings != "" && !plainName(m.Embeddings):
		return fmt.Errorf("embeddings: %q must be a file name without a folder", m.Embeddings)
	case m.Features < 0:
		return fmt.Errorf("features: %d is negative", m.Features)
	case (m.Features > 0) != (m.MemoryScale > 0) || math.IsInf(m.MemoryScale, 0):
		return fmt.Errorf("memory_scale: %g, want a finite number above 0 with a memory, and 0 without", m.MemoryScale)
	case (m.MemoryColumn == ColumnLogTokens) != (m.EmptyTokens > 0) || math.IsInf(m.EmptyTokens, 0):
		return fmt.Errorf("empty_memory_tokens: %g, want a finite number above 0 with memory_column %s, and 0 else", m.EmptyTokens, ColumnLogTokens)
	case m.Quantization != nil && m.Quantization.Scheme == "":
		return fmt.Errorf("quantization.scheme: it is empty")
	case m.Quantization != nil && m.Quantization.Embeddings != "" && !plainName(m.Quantization.Embeddings):
		return fmt.Errorf("quantization.embeddings: %q must be a file name without a folder", m.Quantization.Embeddings)
	case m.Quantization != nil && (!(m.Quantization.MaskValue <= 0) || math.IsInf(m.Quantization.MaskValue, 0)):
		return fmt.Errorf("quantization.mask_value: %g, want a finite number below 0, or none", m.Quantization.MaskValue)
	case len(m.Shapes) == 0:
		return fmt.Errorf("shapes: there is none")
	case len(m.Graphs) == 0:
		return fmt.Errorf("graphs: there is none")
	}
	return m.validateKinds()
}

// validateKinds checks that each kind has layers of its own.
func (m *Manifest) validateKinds() error {
	if len(m.Kinds) == 0 {
		return fmt.Errorf("kinds: there is none")
	}
	seen := map[int]bool{}
	for i, k := range m.Kinds {
		at := fmt.Sprintf("kinds[%d]", i)
		switch {
		case k.Window < 0:
			return fmt.Errorf("%s.window: %d is negative", at, k.Window)
		case k.Suffix != Suffix(k.Window > 0, k.Unrotated, k.Slotless):
			return fmt.Errorf("%s.suffix: %q, want %q", at, k.Suffix, Suffix(k.Window > 0, k.Unrotated, k.Slotless))
		case k.Unrotated && len(k.Rope.InvFreq) > 0:
			return fmt.Errorf("%s.rope.inv_freq: %d frequencies, want none for layers that are not rotated", at, len(k.Rope.InvFreq))
		case slices.ContainsFunc(m.Kinds[:i], func(o Kind) bool { return o.Suffix == k.Suffix }):
			return fmt.Errorf("%s.suffix: %q is there twice", at, k.Suffix)
		case len(k.Layers) == 0:
			return fmt.Errorf("%s.layers: there is none", at)
		}
		for j, l := range k.Layers {
			if l < 0 || seen[l] {
				return fmt.Errorf("%s.layers[%d]: %d, want indices from 0 on, each in one kind", at, j, l)
			}
			seen[l] = true
		}
		if k.Unrotated {
			continue
		}
		if err := k.Rope.validate(); err != nil {
			return fmt.Errorf("%s.rope.%w", at, err)
		}
	}
	return nil
}

func (r Rope) validate() error {
	switch {
	case !(r.Theta > 0):
		return fmt.Errorf("theta: %g, want a number above 0", r.Theta)
	case len(r.InvFreq) == 0:
		return fmt.Errorf("inv_freq: it is empty, want one frequency for each pair of a head's elements")
	case !(r.Scale > 0):
		return fmt.Errorf("attention_scale: %g, want a number above 0", r.Scale)
	}
	return nil
}

func (m *Manifest) validateShapes() error {
	for i, s := range m.Shapes {
		at := fmt.Sprintf("shapes[%d]", i)
		if name := fmt.Sprintf("%dx%d", s.Tokens, s.Cache); s.Name != name {
			return fmt.Errorf("%s.name: %q, want %q", at, s.Name, name)
		}
		if slices.ContainsFunc(m.Shapes[:i], func(o Shape) bool { return o.Name == s.Name }) {
			return fmt.Errorf("%s.name: %q is there twice", at, s.Name)
		}
		if s.Tokens < 1 || s.Segment < 1 || min(s.Sinks, s.Slots, s.Window) < 0 {
			return fmt.Errorf("%s: t %d and l %d must be above 0, s %d, r %d and w %d not negative", at, s.Tokens, s.Segment, s.Sinks, s.Slots, s.Window)
		}
		if sum := s.Sizes().Capacity(); s.Cache != sum {
			return fmt.Errorf("%s.c: %d, want s+r+w+l = %d", at, s.Cache, sum)
		}
	}
	return nil
}

func (m *Manifest) validateGraphs() error {
	for i, g := range m.Graphs {
		at := fmt.Sprintf("graphs[%d]", i)
		switch {
		case g.Name == "" || slices.ContainsFunc(m.Graphs[:i], func(o Graph) bool { return o.Name == g.Name }):
			return fmt.Errorf("%s.name: %q is empty or there twice", at, g.Name)
		case !slices.Contains([]string{PromptGraph, GenerationGraph, CommitGraph}, g.Kind):
			return fmt.Errorf("%s.kind: %q, want prompt, generation or commit", at, g.Kind)
		case !slices.ContainsFunc(m.Shapes, func(s Shape) bool { return s.Name == g.Shape }):
			return fmt.Errorf("%s.shape: there is no shape %q", at, g.Shape)
		case g.Precision == "":
			return fmt.Errorf("%s.precision: it is empty, want float or a quantization scheme", at)
		case !(g.FloatMACs >= 0 && g.FloatMACs <= 1):
			return fmt.Errorf("%s.float_macs_share: %g, want a share from 0 to 1", at, g.FloatMACs)
		case len(g.Parts) == 0:
			return fmt.Errorf("%s.parts: there is none", at)
		}
		for j, p := range g.Parts {
			if i := slices.IndexFunc(p.Encodings, func(f string) bool { return !plainName(f) }); i >= 0 {
				return fmt.Errorf("%s.parts[%d].encodings[%d]: %q must be a file name without a folder", at, j, i, p.Encodings[i])
			}
			if !plainName(p.File) {
				return fmt.Errorf("%s.parts[%d].file: %q must be a file name without a folder", at, j, p.File)
			}
		}
		if err := validatePorts(at+".inputs", g.Inputs); err != nil {
			return err
		}
		if err := validatePorts(at+".outputs", g.Outputs); err != nil {
			return err
		}
		if err := g.validateParts(); err != nil {
			return fmt.Errorf("%s.%w", at, err)
		}
	}
	return nil
}

// validateParts checks that every part of several reads inputs of the graph and what earlier
// parts made, and that each output is made by one part.
func (g Graph) validateParts() error {
	if len(g.Parts) == 1 {
		if p := g.Parts[0]; len(p.Inputs)+len(p.Outputs)+len(g.Hidden) > 0 {
			return fmt.Errorf("parts[0]: it is the whole graph, want no inputs and outputs of its own, and no hidden ports")
		}
		return nil
	}
	if err := validatePorts("hidden", g.Hidden); err != nil {
		return err
	}
	inputs, outputs, made := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, p := range g.Inputs {
		inputs[p.Name] = true
	}
	for _, p := range slices.Concat(g.Outputs, g.Hidden) {
		if outputs[p.Name] = true; inputs[p.Name] {
			return fmt.Errorf("hidden: %q is an input of the graph, too", p.Name)
		}
	}
	for i, p := range g.Parts {
		for j, name := range p.Inputs {
			if !inputs[name] && !made[name] {
				return fmt.Errorf("parts[%d].inputs[%d]: %q is neither an input of the graph nor made by an earlier part", i, j, name)
			}
		}
		for j, name := range p.Outputs {
			if !outputs[name] || made[name] {
				return fmt.Errorf("parts[%d].outputs[%d]: %q is none of the graph's outputs and hidden ports, or made twice", i, j, name)
			}
			made[name] = true
		}
	}
	for name := range outputs {
		if !made[name] {
			return fmt.Errorf("outputs: no part makes %q", name)
		}
	}
	return nil
}

func validatePorts(at string, ports []Port) error {
	if len(ports) == 0 {
		return fmt.Errorf("%s: there is none", at)
	}
	seen := map[string]bool{}
	for i, p := range ports {
		if err := p.validate(); err != nil {
			return fmt.Errorf("%s[%d].%w", at, i, err)
		}
		if seen[p.Name] {
			return fmt.Errorf("%s[%d].name: %q is there twice", at, i, p.Name)
		}
		seen[p.Name] = true
	}
	return nil
}

// kindless is a role without the suffix of a kind of layers.
func kindless(role string) string {
	for _, suffix := range []string{SlotlessSuffix, UnrotatedSuffix, SlidingSuffix} {
		role = strings.TrimSuffix(role, suffix)
	}
	return role
}

func (p Port) validate() error {
	dtype, err := ir.ParseDType(p.DType)
	if err != nil {
		return fmt.Errorf("dtype: %w", err)
	}
	_, _, codes := dtype.Codes()
	switch {
	case p.Name == "":
		return fmt.Errorf("name: it is empty")
	case !slices.Contains(roles, kindless(p.Role)):
		return fmt.Errorf("role: %q, want one of %s", p.Role, strings.Join(roles, ", "))
	case p.Layer != nil && *p.Layer < 0:
		return fmt.Errorf("layer: %d is negative", *p.Layer)
	case len(p.Shape) > ir.MaxRank || slices.ContainsFunc(p.Shape, func(s int) bool { return s < 1 }):
		return fmt.Errorf("shape: %v, want at most %d sizes above 0", p.Shape, ir.MaxRank)
	case len(p.Axes) != len(p.Shape):
		return fmt.Errorf("axes: %d names for the %d axes of shape", len(p.Axes), len(p.Shape))
	case codes != (p.Encoding != nil):
		return fmt.Errorf("encoding: a port of %s must have %s", dtype, map[bool]string{true: "one", false: "none"}[codes])
	case codes && ir.CodeType(*p.Encoding) != dtype:
		return fmt.Errorf("encoding: it is for %s, but the port is %s", p.Encoding.Type(), dtype)
	}
	if codes {
		if _, err := p.Encoding.ParamShape(p.Shape); err != nil {
			return fmt.Errorf("encoding: %w", err)
		}
	}
	return nil
}

// validateStates checks every state in the graphs of every precision that has it.
func (m *Manifest) validateStates() error {
	for i, s := range m.States {
		if s.Policy != Append && s.Policy != Replace {
			return fmt.Errorf("states[%d].policy: %q, want append or replace", i, s.Policy)
		}
		for _, precision := range m.Precisions() {
			if err := m.validateState(s, precision); err != nil {
				return fmt.Errorf("states[%d]%w", i, err)
			}
		}
	}
	return nil
}

func (m *Manifest) validateState(s State, precision string) error {
	in, isInput := m.port(s.In, precision, func(g Graph) []Port { return g.Inputs })
	out, isOutput := m.port(s.Out, precision, func(g Graph) []Port { return g.Outputs })
	switch {
	case !isInput:
		return fmt.Errorf(".in: no %s graph has the input %q", precision, s.In)
	case !isOutput:
		return fmt.Errorf(".out: no %s graph has the output %q", precision, s.Out)
	case in.DType != out.DType:
		return fmt.Errorf(": %q is %s, %q is %s; they must be of one type", s.In, in.DType, s.Out, out.DType)
	case s.Policy == Replace && !slices.Equal(in.Shape, out.Shape):
		return fmt.Errorf(": %q has the shape %v, %q has %v; a state that is replaced keeps its shape", s.In, in.Shape, s.Out, out.Shape)
	}
	return nil
}

// port finds a port by name on one side of the graphs of a precision.
func (m *Manifest) port(name, precision string, side func(Graph) []Port) (Port, bool) {
	for _, g := range m.Graphs {
		if g.Precision != precision {
			continue
		}
		for _, p := range side(g) {
			if p.Name == name {
				return p, true
			}
		}
	}
	return Port{}, false
}

// validateFiles checks the list of files; a mirror in a graph has none.
func (m *Manifest) validateFiles() error {
	for i, f := range m.Files {
		at := fmt.Sprintf("files[%d]", i)
		sum, err := hex.DecodeString(f.SHA256)
		switch {
		case !filepath.IsLocal(f.Name) || f.Name == "." || strings.Contains(f.Name, `\`):
			return fmt.Errorf("%s.name: %q must be the name of a file in the export's folder", at, f.Name)
		case f.Bytes < 0:
			return fmt.Errorf("%s.bytes: %d is negative", at, f.Bytes)
		case err != nil || len(sum) != 32:
			return fmt.Errorf("%s.sha256: %q is no sha256 in hexadecimal", at, f.SHA256)
		}
	}
	for _, name := range m.filesOf(func(Part) bool { return true }) {
		if len(m.Files) > 0 && !slices.ContainsFunc(m.Files, func(f File) bool { return f.Name == name }) {
			return fmt.Errorf("files: %q, a part of a graph, is not listed", name)
		}
	}
	return m.validatePointers()
}

// validatePointers checks the names of the files that text and golden vectors are in.
func (m *Manifest) validatePointers() error {
	for i, e := range m.Evaluated {
		if !slices.ContainsFunc(m.Shapes, func(s Shape) bool { return s.Name == e.Shape }) {
			return fmt.Errorf("evaluated[%d]: there is no shape %q", i, e.Shape)
		}
	}
	for i, g := range m.Golden {
		at := fmt.Sprintf("golden[%d]", i)
		switch {
		case !plainName(g.Steps):
			return fmt.Errorf("%s.steps: %q must be a file name without a folder", at, g.Steps)
		case !plainName(g.Tensors):
			return fmt.Errorf("%s.tensors: %q must be a file name without a folder", at, g.Tensors)
		case len(m.Of(g.Shape, g.Precision)) == 0:
			return fmt.Errorf("%s: there are no graphs of shape %q and precision %q", at, g.Shape, g.Precision)
		}
	}
	if m.Text == nil {
		return nil
	}
	for key, name := range map[string]string{"tokenizer": m.Text.Tokenizer, "config": m.Text.Config, "template": m.Text.Template} {
		if !plainName(name) && (name != "" || key == "tokenizer") {
			return fmt.Errorf("text.%s: %q must be a file name without a folder", key, name)
		}
	}
	return nil
}

// plainName tells whether name is a file directly in the export's folder.
func plainName(name string) bool {
	return filepath.IsLocal(name) && name != "." && !strings.ContainsAny(name, `/\`)
}
