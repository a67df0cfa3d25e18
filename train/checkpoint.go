package train

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"eisft/data"
	"eisft/internal/atomicfile"
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
}

// checkpointFormat names the version of the checkpoint's file. Those of the first one have
// no hash of their content.
const (
	checkpointFormat      = "eisft-checkpoint-2"
	firstCheckpointFormat = "eisft-checkpoint-1"
)

// record writes what a step found, and a checkpoint if it is to be saved.
func (t *trainer) record(m runs.Metrics, at position, save bool) error {
	return t.write(func() error {
		if err := t.appendMetrics(m); err != nil || !save {
			return err
		}
		return t.save(at)
	})
}

// save writes everything that an exact continuation needs, and the adapter as
// it is now, so that a stopped run can be tried out.
func (t *trainer) save(at position) error {
	err := t.saveCheckpoint(at)
	if err == nil {
		err = pointLatest(t.Dir)
	}
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
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
		"ranks": strconv.Itoa(t.group.Size()), "products": kernels.Bits(),
	}
	return hf.WriteSummed(filepath.Join(t.Dir, runs.CheckpointFile), t.optimizer.entries(), meta)
}

// warnOfRounding says what differs from when the checkpoint was written and changes float32's rounding.
func (t *trainer) warnOfRounding(metadata map[string]string) {
	if t.options.Warn == nil {
		return
	}
	const differs = "the result differs from that of the same %s throughout by float32's rounding"
	if was := metadata["ranks"]; was != "" && was != strconv.Itoa(t.group.Size()) {
		t.options.Warn(fmt.Sprintf("%s was trained by %s ranks and goes on with %d: "+differs, t.Dir, was, t.group.Size(), "number"))
	}
	if was, now := metadata["products"], kernels.Bits(); was != "" && was != now {
		t.options.Warn(fmt.Sprintf("%s was trained with matrix products of %s and goes on with those of %s: "+differs+" (%s chooses)", t.Dir, was, now, "library", kernels.EnvBLAS))
	}
}

// restore reads the checkpoint back and drops the metrics written after it.
func (t *trainer) restore() (position, error) {
	path := filepath.Join(t.Dir, runs.CheckpointFile)
	f, err := hf.OpenFile(path)
	if err != nil {
		return position{}, err
	}
	defer func() { _ = f.Close() }()
	switch have := f.Metadata["format"]; have {
	case checkpointFormat:
		if err := f.Intact(); err != nil {
			return position{}, fmt.Errorf("%s: %w: start a new run without --resume", path, err)
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
	t.warnOfRounding(f.Metadata)
	if err := t.restoreBlock(f.Metadata["block"]); err != nil {
		return position{}, fmt.Errorf("%s: block: %w", path, err)
	}
	t.optimizer = newAdamW(t.Model.Params)
	t.optimizer.step = at.Step
	if err := t.optimizer.readFrom(f); err != nil {
		return position{}, fmt.Errorf("%s: %w", path, err)
	}
	return at, t.write(func() error { return t.trimMetrics(at) })
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
	want := t.Model.Spec
	if want.SlotLayers = s.SlotLayers; s.Slots == 0 {
		want.Slots = 0
	}
	if difference := s.Difference(want); difference != "" {
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
	for lines.Scan() {
		var m runs.Metrics
		if json.Unmarshal(lines.Bytes(), &m) != nil {
			break // a line that was being written when the machine stopped
		}
		if m.Stage > at.Stage || m.Stage == at.Stage && m.Step > at.Step {
			break
		}
		kept = append(append(kept, lines.Bytes()...), '\n')
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
	return errors.Join(err, f.Close())
}
