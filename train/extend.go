package train

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"eisft/train/config"
	"eisft/train/runs"
)

// goesOn finds the run that is resumed or extended, and makes the configuration that which it
// goes on with: what it was started with, and over it what is written now. It changes nothing
// of the run.
func (t *trainer) goesOn() (err error) {
	find := resumeDir
	if t.options.Extend {
		find = extendDir
	}
	if t.goOn.dir, err = find(t.config); err != nil {
		return err
	}
	path := filepath.Join(t.goOn.dir, runs.ConfigFile)
	was, err := config.Load(path)
	if err != nil {
		return err
	}
	now := t.config
	if t.config, err = now.Over(was, t.options.Written, path); err != nil {
		return err
	}
	if t.options.Extend {
		err = hasMore(was, t.config, path)
	} else {
		t.goOn.changed, err = sameConfig(was, t.config, path)
	}
	if err != nil {
		return err
	}
	d, err := difference(t.config, now)
	d = slices.DeleteFunc(d, func(found string) bool { return strings.HasPrefix(found, "model.quantized.sha256 ") })
	if len(d) > 0 {
		t.note("the configuration no longer gives what %s was started with, which stays as it was: %s by default", t.goOn.dir, strings.Join(d, " by default, "))
	}
	return err
}

// goOn is the run that is resumed or extended.
type goOn struct {
	dir     string
	changed string // what of the configuration has, beside training
	newEval bool   // the content of eval.data has
}

// reopen finds out whether the run is still there to go on with, and keeps others from it.
func (t *trainer) reopen(context.Context) error {
	return t.onFolder(func() (err error) {
		t.Dir = t.goOn.dir
		if t.lock, err = lockStill(t.Dir, t.goesOnFrom()); err != nil {
			return err
		}
		return t.readEvaluation()
	})
}

// goesOnFrom is the file that a run goes on from.
func (t *trainer) goesOnFrom() string {
	if t.options.Extend {
		return runs.FinishedFile
	}
	return runs.CheckpointFile
}

// takeUp changes the run that goes on, once all that it goes on from has been read and fits: until then
// it stays as it was.
func (t *trainer) takeUp(at position) error {
	return t.onFolder(func() error {
		if err := t.takeChanges(); err != nil {
			return err
		}
		if err := t.trimMetrics(at); err != nil {
			return err
		}
		if !t.options.Extend {
			return nil
		}
		t.evaluation.After = nil // it says nothing of what comes now
		return os.Rename(filepath.Join(t.Dir, runs.FinishedFile), filepath.Join(t.Dir, runs.CheckpointFile))
	})
}

// extendDir finds the run of a configuration that was finished last.
func extendDir(c *config.Config) (string, error) {
	found, err := runDirs(c)
	if err != nil {
		return "", err
	}
	dir := latestOf(found, runs.FinishedFile)
	if newest := latestOf(found, ""); dir == "" {
		if newest == "" {
			return "", fmt.Errorf("there is no run %s to extend; leave --extend out to start one", runDir(c, 1))
		}
		return "", fmt.Errorf("%s cannot be extended: it is not finished (--resume goes on), or an earlier version finished it, which kept nothing to go on from; --adapter %[1]s starts a new run from its adapter", newest)
	}
	return dir, nil
}

// hasMore fails unless a configuration is that of a finished run with more steps in the last
// stage, more stages behind it, or both.
func hasMore(was, c *config.Config, path string) error {
	last := len(was.Stages) - 1
	if len(c.Stages) <= last {
		return fmt.Errorf("%s: the run has %d stages, and the configuration %d; --extend wants more steps in the last stage, or more stages", path, last+1, len(c.Stages))
	}
	alike := *c
	alike.Stages = append(config.Stages(nil), c.Stages[:last+1]...)
	then, now := was.Stages[last].NumSteps(), c.Stages[last].NumSteps()
	if now > then {
		alike.Stages[last] = withSteps(alike.Stages[last], then)
	}
	d, err := difference(was, &alike)
	if err != nil {
		return err
	}
	other := slices.DeleteFunc(d, func(found string) bool { return isBeside(found) || strings.HasPrefix(found, "validation.") })
	switch {
	case len(other) > 0:
		return fmt.Errorf("%s: --extend goes on with the run as it is, with more steps in the last stage or more stages; but %s", path, strings.Join(other, ", "))
	case now == then && len(c.Stages) == last+1:
		return fmt.Errorf("%s: the run has all that the configuration asks for; raise stages[%d].steps above %d (--set stages.%[2]d.steps=N), or add stages", path, last, then)
	}
	return nil
}

// withSteps returns a stage with another number of steps.
func withSteps(s config.Stage, n int) config.Stage {
	switch s := s.(type) {
	case config.SSFT:
		s.Steps = n
		return s
	case config.Distill:
		s.Steps = n
		return s
	}
	return s
}

// extended is where a run that is extended goes on; it says how its learning rates do.
func (t *trainer) extended(at position) (position, error) {
	at.Validation.Waited, at.Validation.Used = 0, false
	s := t.config.Stages[at.Stage]
	o, ok := config.OptimizerOf(s)
	if !ok || at.Step >= o.Steps {
		t.note("extending %s: stage %d follows, with a schedule of its own", t.Dir, at.Stage+2)
		return at, nil
	}
	was := o
	was.Steps = at.Step
	t.note("extending %s: stage %d (%s) goes on at step %d of %d. Its learning rates follow the longer schedule from there: they had fallen to %.2g of the full ones, go on at %.2g and fall to %.2g",
		t.Dir, at.Stage+1, s.Kind(), at.Step, o.Steps, rateAt(was, max(0, at.Step-1)), rateAt(o, at.Step), rateAt(o, o.Steps-1))
	return at, nil
}

// takeChanges goes on with a run whose configuration has changed in what is beside training,
// or has more stages or steps.
func (t *trainer) takeChanges() error {
	was, err := config.Load(filepath.Join(t.Dir, runs.ConfigFile))
	if err != nil {
		return err
	}
	old, now := was.Eval, t.config.Eval
	old.Before = now.Before
	d, err := difference(&config.Config{Eval: old}, &config.Config{Eval: now})
	if err != nil {
		return err
	}
	why := ""
	switch {
	case len(d) > 0:
		why = "the configuration's section eval has changed"
	case t.goOn.newEval:
		why = "the content of eval.data has changed"
	}
	if why != "" {
		if err := t.dropBefore(why); err != nil {
			return err
		}
	}
	if t.goOn.changed != "" {
		t.note("the configuration has changed since the run was started: %s", t.goOn.changed)
	} else if !t.options.Extend {
		return nil
	}
	return t.config.Write(filepath.Join(t.Dir, runs.ConfigFile))
}

// dropBefore forgets what was measured before training, which is not to be compared with
// what will be measured after it.
func (t *trainer) dropBefore(why string) error {
	if err := os.RemoveAll(filepath.Join(t.Dir, beforeDir)); err != nil {
		return err
	}
	if t.evaluation.Before == nil {
		return nil
	}
	t.evaluation.Before = nil
	t.note("%s: what was measured before training is dropped, since it is not to be compared with what will be measured after it", why)
	err := os.Remove(filepath.Join(t.Dir, runs.EvalFile))
	return errors.Join(err, t.writeEvaluation())
}
