package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize/english"

	"eisft/data"
	"eisft/internal/ranks"
	"eisft/model"
	"eisft/train/config"
	"eisft/train/runs"
)

// watch is what the losses on held-out samples of a stage have said. It is part of the
// position, so that a resumed run stops where one would that was not stopped.
type watch struct {
	Step     int     `json:"step"` // of the last one
	Best     float64 `json:"best"`
	BestStep int     `json:"best_step"` // 0: there is none
	Waited   int     `json:"waited"`    // that were no better since
	Used     bool    `json:"used,omitempty"`
}

// readValidation reads the held-out samples of a configuration that has some: those of a file
// of their own, or the rows that are held out of the training data.
func (t *trainer) readValidation(ctx context.Context, answers bool) (err error) {
	files, section, key := t.config.Validation.Data, t.config.Data, "validation.data"
	if len(files) == 0 && t.heldOut == nil {
		return nil
	}
	source := t.heldOut
	if len(files) == 0 {
		key = "validation.share"
	}
	defer func() {
		if err != nil && !ranks.Told(err) {
			err = fmt.Errorf("%s: %w", key, err)
		}
	}()
	if len(files) > 0 {
		if source, err = (data.Set{Files: files, Options: section.Options}).Open(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, source.Close()) }()
	}
	source = source.First(t.config.Validation.Samples)
	found, err := ranks.OnFirst(t.group, func() (*data.Survey, error) {
		return data.CheckRows(ctx, source, t.encoder, data.CheckOptions{Answers: answers, Progress: t.options.Progress})
	})
	if err != nil {
		return err
	}
	rows, err := found.Use(section.OnBadRow)
	if err != nil {
		return err
	}
	for _, row := range rows {
		e, err := source.Encode(row, t.encoder)
		if err != nil {
			return err
		}
		t.validation = append(t.validation, e)
	}
	t.inputs[key] = found.Hash
	return nil
}

// validates says whether the loss on held-out samples is due after a step, or before the first one.
func (t *trainer) validates(step int, o config.Optimizer) bool {
	every := t.config.Validation.Every
	return len(t.validation) > 0 && (step == 0 || step == o.Steps || every > 0 && step%every == 0)
}

// validate takes the loss on the held-out samples where it is due: it is that of a batch of
// all of them. Each rank reads a share, and all find the same. stop says that a rank was
// asked to stop; then nothing has been found.
func (t *trainer) validate(ctx context.Context, at *position, o config.Optimizer, gradients batchGradients, progress func(done int)) (stop bool, err error) {
	if !t.validates(at.Step, o) || at.Step > 0 && at.Validation.Step == at.Step {
		return false, nil
	}
	started := time.Now()
	found, stop, err := t.validationLoss(ctx, gradients, progress)
	switch {
	case err != nil || stop:
		return stop, err
	case at.Step == 0:
		return false, t.before(*at, found, time.Since(started))
	case math.IsNaN(found.Loss) || math.IsInf(found.Loss, 0):
		return false, ranks.Failed(fmt.Errorf("the validation loss is %v: training has diverged; lower the learning rates (lr) or raise warmup", found.Loss))
	}
	return false, t.watch(at, found, time.Since(started))
}

// validationLoss is the loss on the held-out samples, of which each rank reads a share.
func (t *trainer) validationLoss(ctx context.Context, gradients batchGradients, progress func(done int)) (found figures, stop bool, err error) {
	mine, err := t.validationShare(ctx, gradients, progress)
	switch {
	case ctx.Err() != nil:
		mine = contribution{Stop: true}
	case err != nil:
		return found, false, fmt.Errorf("validation: %w", err)
	}
	all, err := ranks.Meet(t.group, mine)
	if err != nil {
		return found, false, err
	}
	for _, c := range all {
		stop = stop || c.Stop
		for _, f := range c.Samples {
			found.add(f, len(t.validation))
		}
	}
	return found, stop, nil
}

// before notes the loss on the held-out samples with which a stage begins. It decides nothing:
// the best one is that of a step.
func (t *trainer) before(at position, found figures, took time.Duration) error {
	t.stageBegins = &runs.Before{Loss: found.Loss, Seconds: took.Seconds()}
	kind := t.config.Stages[at.Stage].Kind()
	t.note("stage %d (%s): loss on held-out rows %.4f before its first step", at.Stage+1, kind, found.Loss)
	if t.group.Rank() > 0 {
		return nil
	}
	return t.events.before(t.globalStep(at.Stage, 0), string(kind), found.Loss)
}

// validationShare takes this rank's share of the loss.
func (t *trainer) validationShare(ctx context.Context, gradients batchGradients, progress func(done int)) (mine contribution, err error) {
	loss, err := gradients(t.validation, true)
	if err != nil {
		return mine, err
	}
	first, last := ranks.Share(t.group.Rank(), t.group.Size(), len(t.validation))
	unused := t.Model.Params.Zero()
	for i, e := range t.validation[first:last] {
		progress(i)
		f, err := loss(ctx, e, unused)
		if err != nil {
			return mine, fmt.Errorf("%s: %w", e.Where, err)
		}
		mine.Samples = append(mine.Samples, f)
	}
	return mine, nil
}

// watch notes a loss on the held-out samples, and keeps the parameters if it is the best.
func (t *trainer) watch(at *position, found figures, took time.Duration) error {
	w := at.Validation
	w.Step = at.Step
	w.Waited++
	better := w.BestStep == 0 || found.Loss < w.Best
	if better {
		w.Best, w.BestStep, w.Waited = found.Loss, at.Step, 0
	}
	v := &runs.Validation{
		Loss: found.Loss, Samples: len(t.validation), AnswerTokens: found.AnswerTokens, Kept: found.Kept,
		Best: w.Best, BestStep: w.BestStep, Waited: w.Waited, Stopped: t.outOfPatience(w), Seconds: took.Seconds(),
	}
	err := t.write(func() error {
		if !better {
			return nil
		}
		dir := filepath.Join(t.Dir, runs.BestDir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		return t.Model.SaveAdapter(dir, t.config.Model.Path)
	})
	if err != nil {
		return err
	}
	t.state.Lock()
	defer t.state.Unlock()
	if better {
		t.best = copyOf(t.Model.Params)
	}
	at.Validation = w
	if t.group.Rank() > 0 {
		return nil
	}
	return t.amendMetrics(*at, v)
}

// copyOf copies parameters.
func copyOf(p *model.Params) *model.Params {
	c := p.Zero()
	setParams(c, p)
	return c
}

// setParams gives p the values of others.
func setParams(p, values *model.Params) {
	from := values.List()
	for i, to := range p.List() {
		copy(to.Data, from[i].Data)
	}
}

// outOfPatience says whether losses have not become better for long enough.
func (t *trainer) outOfPatience(w watch) bool {
	patience := t.config.Validation.Patience
	return patience > 0 && w.Waited >= patience
}

// over says whether a stage has ended.
func (t *trainer) over(at position, o config.Optimizer) bool {
	return at.Step >= o.Steps || t.outOfPatience(at.Validation)
}

// whyOver says of a stage that has ended before its last step why it has.
func (t *trainer) whyOver(at position) string {
	if !t.outOfPatience(at.Validation) {
		return ""
	}
	return fmt.Sprintf("; the stage ends here, %d in a row being no better", at.Validation.Waited)
}

// useBest ends a stage with its best parameters, where that is asked for.
func (t *trainer) useBest(at *position) {
	if !t.config.Validation.UseBest || t.best == nil || at.Validation.Used {
		return
	}
	t.state.Lock()
	defer t.state.Unlock()
	setParams(t.Model.Params, t.best)
	at.Validation.Used = true
}

// validationPlan says when the loss on held-out samples is taken.
func (t *trainer) validationPlan() string {
	v := t.config.Validation
	from := v.Data.String()
	if from == "" {
		from = "what is held out"
	}
	text := fmt.Sprintf("on %s of %s before and at the end of each stage", english.Plural(len(t.validation), "sample", ""), from)
	if v.Every > 0 {
		text += fmt.Sprintf(" and every %s", english.Plural(v.Every, "step", ""))
	}
	if v.Patience > 0 {
		text += fmt.Sprintf("; a stage ends after %s in a row that are no better", english.Plural(v.Patience, "loss", "losses"))
	}
	if v.UseBest {
		text += "; the best parameters are used"
	}
	return text
}
