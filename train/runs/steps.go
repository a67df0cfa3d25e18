package runs

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// LongestLine bounds a line of metrics, which has some numbers for each head of each layer.
const LongestLine = 16 << 20

// ReadSteps reads a file of metrics, whose lines come stage by stage. Where there is no file
// there are no steps. Of a damaged one it returns the steps before the damage, and where
// that is.
func ReadSteps(path string) ([]Metrics, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var steps []Metrics
	stages := 0
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, LongestLine)
	for n := 1; lines.Scan(); n++ {
		var m Metrics
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return steps, fmt.Errorf("%s: line %d: %w", path, n, err)
		}
		switch {
		case m.Stage == stages:
			stages++
		case m.Stage < 0 || m.Stage != stages-1:
			return steps, fmt.Errorf("%s: line %d: found stage %d after %d stages; the file is damaged", path, n, m.Stage, stages)
		}
		steps = append(steps, m)
	}
	if err := lines.Err(); err != nil {
		return steps, fmt.Errorf("%s: %w", path, err)
	}
	return steps, nil
}

// AveragedSteps is over how many steps at either end of a stage a loss is averaged, if it has twice as
// many: single ones are noise.
const AveragedSteps = 10

// MeanLoss is the mean loss of some steps of a stage.
func MeanLoss(steps []Metrics) float64 {
	sum := 0.0
	for _, m := range steps {
		sum += m.Loss
	}
	return sum / float64(len(steps))
}

// StageSteps are the steps of a stage, and what they come to.
type StageSteps struct {
	Kind    string
	Steps   []Metrics
	Tokens  int
	Seconds float64
}

// ByStage divides steps, which come stage by stage, by their stages.
func ByStage(steps []Metrics) (stages []StageSteps) {
	for i, m := range steps {
		if i == 0 || m.Stage != steps[i-1].Stage {
			stages = append(stages, StageSteps{Kind: m.Kind})
		}
		s := &stages[len(stages)-1]
		s.Steps, s.Tokens, s.Seconds = append(s.Steps, m), s.Tokens+m.Tokens, s.Seconds+m.Seconds
	}
	return stages
}

// LastValidation is the stage's last loss on held-out rows, nil if it has none.
func (s StageSteps) LastValidation() (last *Validation) {
	for _, m := range s.Steps {
		if m.Validation != nil {
			last = m.Validation
		}
	}
	return last
}

// averaged is over how many steps at either end losses are averaged: no step is at both.
func (s StageSteps) averaged() int { return min(AveragedSteps, (len(s.Steps)+1)/2) }

// FirstLoss is the mean loss of the stage's first steps.
func (s StageSteps) FirstLoss() float64 { return MeanLoss(s.Steps[:s.averaged()]) }

// LastLoss is that of its last ones.
func (s StageSteps) LastLoss() float64 { return MeanLoss(s.Steps[len(s.Steps)-s.averaged():]) }

// PeakMemory is the most memory, in bytes, that was resident until any of the steps, 0 if it is not known.
func PeakMemory(steps []Metrics) (most int64) {
	for _, m := range steps {
		most = max(most, m.Memory)
	}
	return most
}
