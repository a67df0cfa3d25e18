package train

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"eisft/data"
	"eisft/internal/atomicfile"
	"eisft/internal/peakmem"
	"eisft/model"
	"eisft/model/hf"
	"eisft/model/kernels"
	"eisft/train/runs"
)

// position is where training stands: after Step steps of stage Stage.
type position struct {
	Stage  int         `json:"stage"`
	Step   int         `json:"step"`
	Cursor data.Cursor `json:"cursor"`
	// Validation is what losses on held-out samples have said of the stage.
	Validation watch `json:"validation,omitzero"`
}

// checkpointFormat names the version of the checkpoint's file. Those of the first one have
// no hash of their content.
const (
	checkpointFormat      = "eisft-checkpoint-2"
	firstCheckpointFormat = "eisft-checkpoint-1"
)

// state guards what a checkpoint holds: whoever saves it sees a whole step.
type state struct {
	sync.Mutex
	saved *position // the last one that was saved
}

// step takes a step, by do, and writes its metrics. Then at is the position behind it.
func (t *trainer) step(at *position, do func() (runs.Metrics, data.Cursor)) error {
	t.state.Lock()
	defer t.state.Unlock()
	m, cursor := do()
	at.Step, at.Cursor = m.Step, cursor
	if t.group.Rank() > 0 {
		return nil
	}
	m.Memory, m.Before, t.stageBegins = peakmem.Peak(), t.stageBegins, nil
	return t.appendMetrics(m)
}

// saveWhenStopped saves the last whole step as soon as ctx ends, whatever is at work then,
// until end is called. A launcher that has lost a rank leaves the others little time (mpirun a
// second), in which this one may wait for the lost one.
func (t *trainer) saveWhenStopped(ctx context.Context, at *position) (end func()) {
	if t.group.Size() == 1 || t.group.Rank() > 0 {
		return func() {}
	}
	ended := false
	stop := context.AfterFunc(ctx, func() {
		t.state.Lock()
		defer t.state.Unlock()
		if ended || *at == (position{}) {
			return
		}
		if err := t.saveWhole(*at); err == nil && t.options.Note != nil { // else it is tried again where an error can be told
			t.options.Note(fmt.Sprintf("%s holds a checkpoint after step %d of stage %d, from which --resume goes on with any number of ranks", t.Dir, at.Step, at.Stage+1))
		}
	})
	return func() {
		stop()
		t.state.Lock()
		ended = true
		t.state.Unlock()
	}
}

// keepWhole saves the last whole step before training ends with err.
func (t *trainer) keepWhole(at position, err error) error {
	if t.group.Rank() > 0 || at == (position{}) && !t.measuresBefore() {
		return err
	}
	if saveErr := t.save(at); saveErr != nil {
		return errors.Join(err, saveErr)
	}
	return fmt.Errorf("%w; %s holds a checkpoint after step %d of stage %d, from which --resume goes on", err, t.Dir, at.Step, at.Stage+1)
}

// save writes everything that an exact continuation needs, and the adapter as
// it is now, so that a stopped run can be tried out.
func (t *trainer) save(at position) error {
	t.state.Lock()
	defer t.state.Unlock()
	return t.saveWhole(at)
}

func (t *trainer) saveWhole(at position) error {
	if t.state.saved != nil && *t.state.saved == at {
		return nil
	}
	err := t.saveCheckpoint(at)
	if err == nil {
		err = t.keepAdapter(at)
	}
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	t.state.saved = &at
	return nil
}

func (t *trainer) saveCheckpoint(at position) error {
	where, err := json.Marshal(at)
	if err != nil {
		return err
	}
	block, err := json.Marshal(t.Model.Spec)
	if err != nil {
		return err
	}
	if err := t.Model.SaveAdapter(t.Dir, t.config.Model.Path); err != nil {
		return err
	}
	inputs, err := json.Marshal(t.inputs)
	if err != nil {
		return err
	}
	meta := map[string]string{
		"format": checkpointFormat, "position": string(where), "block": string(block), "inputs": string(inputs),
		"products": kernels.Bits(),
	}
	entries := t.optimizer.entries()
	if t.best != nil {
		entries = append(entries, t.best.Entries(prefixBest)...)
	}
	return hf.WriteSummed(filepath.Join(t.Dir, runs.CheckpointFile), entries, meta)
}

// prefixBest is that of the parameters with the best loss on held-out samples.
const prefixBest = "best."

// keepAdapter keeps the adapter of a checkpoint, and removes those of the oldest that are
// too many.
func (t *trainer) keepAdapter(at position) error {
	keep := t.config.Checkpoint.Keep
	if keep == 0 || at == (position{}) {
		return nil
	}
	all := filepath.Join(t.Dir, runs.CheckpointsDir)
	own := fmt.Sprintf("stage-%02d-step-%06d", at.Stage+1, at.Step)
	if err := os.MkdirAll(filepath.Join(all, own), 0o755); err != nil {
		return err
	}
	if err := t.Model.SaveAdapter(filepath.Join(all, own), t.config.Model.Path); err != nil {
		return err
	}
	entries, err := os.ReadDir(all) // by name, which is by step
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && e.Name() <= own && strings.HasPrefix(e.Name(), "stage-") { // later ones are written anew
			names = append(names, e.Name())
		}
	}
	for len(names) > keep {
		if err := os.RemoveAll(filepath.Join(all, names[0])); err != nil {
			return err
		}
		names = names[1:]
	}
	return nil
}

// warnOfProducts says that matrix products had other bits when the checkpoint was written;
// earlier versions did not write what computed them.
func (t *trainer) warnOfProducts(was string) {
	if now := kernels.Bits(); was != "" && was != now && t.options.Warn != nil {
		t.options.Warn(fmt.Sprintf("%s was trained with matrix products of %s and goes on with those of %s: the result differs from that of the same library throughout by float32's rounding (%s chooses)", t.Dir, was, now, kernels.EnvBLAS))
	}
}

// restore reads a checkpoint back.
func (t *trainer) restore(path string) (position, error) {
	f, err := hf.OpenFile(path)
	if err != nil {
		return position{}, err
	}
	defer func() { _ = f.Close() }()
	switch have := f.Metadata["format"]; have {
	case checkpointFormat:
		if err := f.Intact(); err != nil {
			return position{}, fmt.Errorf("%s: %w: start a new run, without --resume and --extend", path, err)
		}
	case firstCheckpointFormat:
	default:
		return position{}, fmt.Errorf("%s: format is %q; this version of eisft resumes %q", path, have, checkpointFormat)
	}
	var at position
	if err := json.Unmarshal([]byte(f.Metadata["position"]), &at); err != nil {
		return position{}, fmt.Errorf("%s: position: %w", path, err)
	}
	if at.Stage < 0 || at.Stage >= len(t.config.Stages) || at.Step < 0 || at.Step > t.config.Stages[at.Stage].NumSteps() {
		return position{}, fmt.Errorf("%s: position %+v is not one of this configuration's stages", path, at)
	}
	if err := t.inputs.changed(f.Metadata["inputs"]); err != nil {
		return position{}, fmt.Errorf("%s: %w", path, err)
	}
	if then := inputsOf(f.Metadata["inputs"])[evalData]; then != "" && then != t.inputs[evalData] {
		t.goOn.newEval = true
	}
	t.warnOfProducts(f.Metadata["products"])
	if err := t.restoreBlock(f.Metadata["block"]); err != nil {
		return position{}, fmt.Errorf("%s: block: %w", path, err)
	}
	t.optimizer = newAdamW(t.Model.Params)
	t.optimizer.step = at.Step
	if err := t.optimizer.readFrom(f); err != nil {
		return position{}, fmt.Errorf("%s: %w", path, err)
	}
	if at.Validation.BestStep > 0 {
		t.best = t.Model.Params.Zero()
		if err := t.best.ReadFrom(f, prefixBest); err != nil {
			return position{}, fmt.Errorf("%s: %w", path, err)
		}
	}
	t.state.saved = &at
	return at, nil
}

// restoreBlock takes away the slots that pruning had taken away.
func (t *trainer) restoreBlock(text string) error {
	var s model.Spec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	if err := s.Validate(); err != nil {
		return err
	}
	if s.Equal(t.Model.Spec) {
		return nil
	}
	if difference := s.Difference(t.Model.Spec.PrunedAs(s)); difference != "" {
		return fmt.Errorf("%s in the configuration: the files belong to different runs, start a new one without --resume", difference)
	}
	m, err := t.Model.KeepSlots(s.SlotLayers)
	if err == nil {
		t.use(m)
	}
	return err
}

// trimMetrics keeps the lines of steps up to the position.
func (t *trainer) trimMetrics(at position) error {
	path := filepath.Join(t.Dir, runs.MetricsFile)
	old, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = old.Close() }()
	var kept []byte
	lines := bufio.NewScanner(old)
	lines.Buffer(nil, runs.LongestLine)
	for lines.Scan() {
		var m runs.Metrics
		if json.Unmarshal(lines.Bytes(), &m) != nil {
			break // a line that was being written when the machine stopped
		}
		if m.Stage > at.Stage || m.Stage == at.Stage && m.Step > at.Step {
			break
		}
		line := lines.Bytes()
		if m.Validation != nil && m.Stage == at.Stage && m.Step > at.Validation.Step { // it is taken again
			m.Validation = nil
			if line, err = json.Marshal(m); err != nil {
				return err
			}
		}
		kept = append(append(kept, line...), '\n')
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return atomicfile.WriteFile(path, kept)
}

// appendMetrics adds a line to metrics.jsonl.
func (t *trainer) appendMetrics(m runs.Metrics) error {
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(t.Dir, runs.MetricsFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = t.events.step(t.globalStep(m.Stage, m.Step), m)
	}
	return err
}

// amendMetrics writes a loss on held-out samples into the last line of metrics.jsonl, that of
// the step after which it was taken.
func (t *trainer) amendMetrics(at position, v *runs.Validation) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(t.Dir, runs.MetricsFile), os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	end, err := f.Seek(-int64(len("}\n")), io.SeekEnd)
	if err == nil {
		_, err = f.WriteAt(slices.Concat([]byte(`,"validation":`), text, []byte("}\n")), end)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = t.events.validation(t.globalStep(at.Stage, at.Step), string(t.config.Stages[at.Stage].Kind()), v)
	}
	return err
}

// globalStep counts a step of a stage behind those of the stages before, as the
// configuration has them.
func (t *trainer) globalStep(stage, step int) int {
	for _, s := range t.config.Stages[:stage] {
		step += s.NumSteps()
	}
	return step
}
