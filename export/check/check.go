// Package check holds ONNX graphs to the fixed-shape contract (docs/graphs.md), to the manifest that
// lists them and to what the vendors' runtimes take.
package check

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"eisft/export/ir"
	"eisft/export/manifest"
	"eisft/internal/enum"
	"eisft/internal/filehash"
	"eisft/quant"
)

// Severity says whether a finding keeps a graph from running.
type Severity string

// An error breaks the fixed-shape contract or a vendor's rule; a warning costs
// speed, memory or accuracy.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Finding is one thing that Check found.
type Finding struct {
	Severity Severity `json:"severity"`
	Rule     RuleName `json:"rule"`           // see Rules
	Graph    string   `json:"graph"`          // file name
	Node     string   `json:"node,omitempty"` // node or tensor, "" for the graph as a whole
	Message  string   `json:"message"`
}

// String gives the finding as one line.
func (f Finding) String() string {
	where := f.Graph
	if f.Node != "" {
		where += ": " + f.Node
	}
	return fmt.Sprintf("%s: %s: %s [%s]", f.Severity, where, f.Message, f.Rule)
}

// Target is a vendor whose rules are checked beside the contract's own.
type Target string

// The vendors whose rules Check knows. NoTarget and Generic check the contract alone.
const (
	NoTarget Target = ""
	Generic  Target = quant.Generic
	QNN      Target = quant.QNN
	MediaTek Target = quant.MediaTek
	LiteRT   Target = quant.LiteRT
	OpenVINO Target = quant.OpenVINO
	CoreML   Target = quant.CoreML
)

// Targets lists the targets.
func Targets() []Target {
	var list []Target
	for _, t := range quant.Targets() {
		list = append(list, Target(t))
	}
	return list
}

// ParseTarget reads a target's name as the command line has it.
func ParseTarget(name string) (Target, error) {
	if name == string(NoTarget) {
		return NoTarget, nil
	}
	return Target(name), enum.Check("target", Target(name), Targets()...)
}

// TargetOf returns the target that an exported folder was made for, NoTarget where it, or a
// single file, does not say.
func TargetOf(path string) (Target, error) {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return NoTarget, err
	}
	m, err := manifest.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return NoTarget, nil
	}
	if err != nil {
		return NoTarget, err
	}
	target, err := ParseTarget(m.Target)
	if err != nil {
		return NoTarget, fmt.Errorf("%s: %w", filepath.Join(path, manifest.Name), err)
	}
	return target, nil
}

// Path checks an exported folder or a single .onnx or .tflite file. A folder with a
// manifest is also held to it: its files with their sha256, ports, ops and state pairs.
// The error says why nothing could be checked; what is wrong with a graph is a finding.
func Path(path string, target Target) ([]Finding, error) {
	models, m, err := open(path)
	if err != nil {
		return nil, err
	}
	findings := Check(models, m, target)
	if inLite(path, m) {
		found, err := checkLite(path, m, target)
		if err != nil {
			return nil, err
		}
		findings = append(findings, found...)
	}
	if m != nil {
		for _, err := range m.VerifyFiles(path, filehash.Compute) {
			findings = append(findings, Finding{Severity: Error, Rule: RuleManifest, Graph: manifest.Name, Message: err.Error()})
		}
	}
	return findings, nil
}

// open opens a folder with its manifest, nil if it has none, or a single file.
func open(path string) ([]*ir.Model, *manifest.Manifest, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if isLite(path) {
		return nil, nil, nil
	}
	if !info.IsDir() {
		model, err := ir.Open(path)
		return []*ir.Model{model}, nil, err
	}
	m, err := manifest.Read(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	models, err := openAll(path, m)
	return models, m, err
}

// openAll opens the graphs that the manifest lists, or, without one, all .onnx files.
func openAll(folder string, m *manifest.Manifest) ([]*ir.Model, error) {
	var files []string
	if m != nil {
		files = m.GraphFiles()
	} else {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".onnx") && !strings.HasPrefix(e.Name(), ".") {
				files = append(files, e.Name())
			}
		}
	}
	if len(files) == 0 && !inLite(folder, m) {
		return nil, fmt.Errorf("%s: there is no .onnx file in it", folder)
	}
	var models []*ir.Model
	for _, name := range files {
		model, err := ir.Open(filepath.Join(folder, name))
		if err != nil {
			return nil, err
		}
		models = append(models, model)
	}
	return models, nil
}

// Check holds graphs that belong together (one export) to the fixed-shape contract
// and the target's rules. The manifest may be nil. It names the state pairs, which
// without it are the inputs and outputs called X_in and X_out.
func Check(models []*ir.Model, m *manifest.Manifest, target Target) []Finding {
	var findings []Finding
	graphs := make([]*graph, len(models))
	for i, model := range models {
		g := newGraph(model, &findings)
		graphs[i] = g
		for _, rule := range Rules() {
			if !rule.appliesTo(target) {
				continue
			}
			g.rule = rule.Name
			if rule.run != nil {
				rule.run(g)
			}
			for _, r := range rule.codes {
				g.checkCodes(r)
			}
		}
	}
	set := func(name RuleName) {
		for _, g := range graphs {
			g.rule = name
		}
	}
	if m != nil {
		set(RuleManifest)
		checkManifest(graphs, m)
	}
	for _, family := range families(graphs, m) {
		set(RuleStates)
		checkStates(family, statePairs(family, m))
		set(RulePoints)
		checkPoints(family)
	}
	return findings
}
