package runs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"eisft/eval"
	"eisft/internal/atomicfile"
	"eisft/train/config"
)

// State is how far a run is.
type State string

// The states.
const (
	Running  State = "running"  // a process trains it
	Stopped  State = "stopped"  // it has a checkpoint, from which --resume goes on
	Finished State = "finished" // all its stages are done
	Broken   State = "broken"   // neither: it was killed before its first checkpoint, or its files cannot be read
)

// StageSummary is what a run's metrics say of a stage.
type StageSummary struct {
	Kind  string  `json:"kind"`
	Steps int     `json:"steps"` // taken
	Of    int     `json:"of"`    // of its configuration; 0 if that is not known
	Loss  float64 `json:"loss"`  // of the last step
	// Before is the loss on held-out samples before the first step; nil: it was not taken.
	Before *Before `json:"before,omitempty"`
	// Validation is the last loss on held-out samples; nil: there was none.
	Validation *Validation `json:"validation,omitempty"`
	Seconds    float64     `json:"seconds"`
}

// Summary is what there is to say of a run at a glance.
type Summary struct {
	Dir    string         `json:"dir"`
	State  State          `json:"state"`
	By     string         `json:"by,omitempty"` // the process that trains it
	Latest bool           `json:"latest,omitempty"`
	Stages []StageSummary `json:"stages,omitempty"`
	// Evaluation is what a policy that training changes recalled at the end, by Metric.
	Policy  string    `json:"policy,omitempty"`
	Metric  string    `json:"metric,omitempty"`
	Score   *float64  `json:"score,omitempty"`
	Bytes   int64     `json:"bytes"` // of all its files
	Changed time.Time `json:"changed"`
	Problem string    `json:"problem,omitempty"`
}

// List describes all runs in a folder, such as runs, by name.
func List(output string) ([]Summary, error) {
	entries, err := os.ReadDir(output)
	if err != nil {
		return nil, err
	}
	latest, _ := os.Readlink(filepath.Join(output, Latest))
	list := []Summary{} // in JSON [], not null
	for _, e := range entries {
		dir := filepath.Join(output, e.Name())
		if !e.IsDir() {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, ConfigFile)); err != nil {
			continue
		}
		s := Summarize(dir)
		s.Latest = e.Name() == filepath.Base(latest)
		list = append(list, s)
	}
	return list, nil
}

// Summarize describes a run. What of it cannot be read is its Problem.
func Summarize(dir string) Summary {
	s := Summary{Dir: dir, State: Broken}
	problem := func(err error) {
		if err != nil && s.Problem == "" {
			s.Problem = err.Error()
		}
	}
	has := func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	}
	switch held := atomicfile.Holder(filepath.Join(dir, LockFile)); {
	case held != nil:
		s.State, s.By = Running, held.Error()
	case has(CheckpointFile):
		s.State = Stopped
	case has("adapter.safetensors"):
		s.State = Finished
	default:
		s.Problem = "it has no adapter: it was killed before its first checkpoint"
	}
	c, err := config.Load(filepath.Join(dir, ConfigFile))
	problem(err)
	if s.Stages, err = stagesOf(dir, c); s.State != Running { // a step may be half written
		problem(err)
	}
	problem(s.evaluation())
	problem(s.size())
	return s
}

// stagesOf sums metrics up by stage; c is nil if the configuration cannot be read.
func stagesOf(dir string, c *config.Config) ([]StageSummary, error) {
	all, err := ReadSteps(filepath.Join(dir, MetricsFile))
	var list []StageSummary
	if c != nil {
		for _, stage := range c.Stages {
			list = append(list, StageSummary{Kind: string(stage.Kind()), Of: stage.NumSteps()})
		}
	}
	for i, found := range ByStage(all) {
		if i == len(list) {
			list = append(list, StageSummary{Kind: found.Kind})
		}
		s, last := &list[i], found.Steps[len(found.Steps)-1]
		s.Steps, s.Loss, s.Seconds = last.Step, last.Loss, found.Seconds
		s.Before, s.Validation = found.Steps[0].Before, found.LastValidation()
	}
	return list, err
}

// evaluation takes the score of the last policy that was evaluated after training.
func (s *Summary) evaluation() error {
	e, err := ReadEvaluation(s.Dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(e.After) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	r := e.After[len(e.After)-1]
	metric := eval.Metrics()[0]
	score := r.Score(eval.All).Metrics[metric]
	s.Policy, s.Metric, s.Score = string(r.Policy), string(metric), &score
	return nil
}

// size adds up files, and notes when the newest was written.
func (s *Summary) size() error {
	return filepath.WalkDir(s.Dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) { // it was a temporary one
			return nil
		}
		if err == nil {
			s.Bytes += info.Size()
			if info.ModTime().After(s.Changed) {
				s.Changed = info.ModTime()
			}
		}
		return err
	})
}
