package quant

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"eisft/internal/head"
	"eisft/internal/ranks"
	"eisft/quant/encoding"
)

// The files of a partial run, in its folder: the weights of each finished layer, the hidden
// states behind the last of them, and what says which these are.
const (
	partialFile = "state.json"
	statesFile  = "states-%d.f32" // before a layer: float32, little endian
	floatsFile  = "floats-%d.f32" // the same of the float model
	layerFile   = "layer-%d.safetensors"
	// Of the weights that these hold, and of maps with more bits, what models are run from.
	productsFile = "products-%d.safetensors"
	// What attention makes of a layer at hand, only where files that are open cannot be removed.
	attendedFile = "attended-%d.f32"
)

// partialVersion is that of the files' form: of another one, a run begins anew.
const partialVersion = 2

// partial keeps the finished layers of a run of [RoundWeights] in files, for the rest of the job
// and, if it is stopped, for a later one.
type partial struct {
	shelf
	group   ranks.Group // which look at rank 0's files
	dir     string      // "": weights are in memory, and states lie in files without a name
	key     string      // of all that the weights depend on
	layer   int         // the first that is not finished; the head counts as one
	starts  []int
	infos   [][]weightInfo // of each finished layer
	weights []*Weight      // of all finished layers
	fitted  []Reconstructed
}

// partialState is partialFile.
type partialState struct {
	Key    string         `json:"key"`
	Starts []int          `json:"starts"` // of each sequence, in tokens; behind the last, the end
	Layers [][]weightInfo `json:"layers"` // the weights of each finished layer
	// Reconstructed is what finished layers have gained.
	Reconstructed []Reconstructed `json:"reconstructed,omitempty"`
}

// openPartial finds what an earlier run has left, or begins anew.
func openPartial(r *rounder) (*partial, error) {
	p := &partial{dir: r.options.Partial, group: r.options.Group}
	if p.dir == "" {
		return p, nil
	}
	var err error
	if p.key, err = r.key(); err != nil {
		return nil, err
	}
	if err := ranks.Agree(p.group, []ranks.Input{{Name: "what weights are rounded from", Sum: p.key}}); err != nil {
		return nil, err
	}
	text, err := ranks.OnFirst(p.group, p.left)
	if err != nil || len(text) == 0 {
		return p, err
	}
	var s partialState
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, err
	}
	if err := p.resume(s); err != nil {
		return nil, fmt.Errorf("%w; remove %s to begin anew", err, p.dir)
	}
	return p, nil
}

// left is what an earlier run has written of itself; where it had other weights, or there was none, the folder is
// made an empty one.
func (p *partial) left() ([]byte, error) {
	path := filepath.Join(p.dir, partialFile)
	text, err := head.Read(path, maxEncodings)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, p.clear()
	}
	if err != nil {
		return nil, err
	}
	var s partialState
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("%s: not valid JSON: %w; remove its folder to begin anew", path, err)
	}
	if s.Key != p.key {
		return nil, p.clear()
	}
	return text, nil
}

// writes says whether this rank writes what later runs find.
func (p *partial) writes() bool { return p.dir != "" && p.group.Rank() == 0 }

// clear makes the folder an empty one. It removes what this package has written there and
// fails if there is anything else.
func (p *partial) clear() error {
	entries, err := os.ReadDir(p.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return os.Mkdir(p.dir, 0o755)
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !isPartial(e.Name()) {
			return fmt.Errorf("%s in %s was not written by eisft quantize; move it away", e.Name(), p.dir)
		}
	}
	for _, e := range entries {
		if err := os.Remove(filepath.Join(p.dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// isPartial says whether a partial run has files of that name.
func isPartial(name string) bool {
	for _, pattern := range []string{statesFile, floatsFile, layerFile, attendedFile, productsFile} {
		var layer int
		if n, err := fmt.Sscanf(name, pattern, &layer); n == 1 && err == nil {
			return true
		}
	}
	return name == partialFile
}

// resume takes up what an earlier run has finished.
func (p *partial) resume(s partialState) error {
	p.layer, p.starts, p.infos, p.fitted = len(s.Layers), s.Starts, s.Layers, s.Reconstructed
	for i, infos := range s.Layers {
		var weights []*Weight
		for _, info := range infos {
			w, err := newWeight(info)
			if err != nil {
				return fmt.Errorf("%s: %w", partialFile, err)
			}
			weights = append(weights, w)
		}
		if err := p.take(p.path(layerFile, i), weights); err != nil {
			return err
		}
		p.weights = append(p.weights, weights...)
	}
	return nil
}

func (p *partial) path(pattern string, layer int) string {
	return filepath.Join(p.dir, fmt.Sprintf(pattern, layer))
}

// create returns empty states before a layer, for sequences as others have.
func (p *partial) create(pattern string, layer int, like *States) (*States, error) {
	if !p.writes() {
		return p.temporary(like.width, like)
	}
	s := &States{width: like.width, starts: like.starts, named: true}
	var err error
	s.file, err = os.OpenFile(p.path(pattern, layer), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	return s, err
}

// temporary returns empty states [n,width] that no later run finds, for sequences as others have.
func (p *partial) temporary(width int, like *States) (*States, error) {
	s := &States{width: width, starts: like.starts}
	var err error
	if s.file, err = os.CreateTemp(p.dir, strings.Replace(attendedFile, "%d", "*", 1)); err == nil && os.Remove(s.file.Name()) != nil {
		s.named = true // a system that does not remove open files
	}
	return s, err
}

// open returns the states before the first layer that is not finished.
func (p *partial) open(pattern string, width int) (*States, error) {
	if len(p.starts) < 2 {
		return nil, fmt.Errorf("%s: it has no sequences; remove %s to begin anew", partialFile, p.dir)
	}
	s := &States{width: width, starts: p.starts, named: p.writes()}
	var err error
	if s.file, err = os.Open(p.path(pattern, p.layer)); err != nil {
		return nil, err
	}
	info, err := s.file.Stat()
	if want := 4 * int64(s.tokens()) * int64(width); err == nil && info.Size() != want {
		err = fmt.Errorf("%s: it has %d bytes, want %d; remove %s to begin anew", s.file.Name(), info.Size(), want, p.dir)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// finish keeps a layer's weights, and says that it is finished: the states behind it lie in
// their files. fitted is what this and earlier layers have gained by reconstruction.
func (p *partial) finish(weights []shelved, fitted []Reconstructed, states ...*States) error {
	if p.dir == "" {
		for _, w := range weights {
			if err := w.remember(); err != nil {
				return err
			}
		}
		return nil
	}
	path := p.path(layerFile, p.layer)
	_, err := ranks.OnFirst(p.group, func() (bool, error) { return true, p.write(path, weights, fitted, states) })
	if err != nil || p.writes() {
		return err
	}
	var list []*Weight
	for _, w := range weights {
		list = append(list, w.Weight)
	}
	p.layer++
	return p.take(path, list)
}

// write is what rank 0 does to finish a layer.
func (p *partial) write(path string, weights []shelved, fitted []Reconstructed, states []*States) error {
	if err := p.put(path, weights); err != nil {
		return err
	}
	var infos []weightInfo
	for _, w := range weights {
		infos = append(infos, w.info())
	}
	for _, s := range states {
		if s == nil {
			continue
		}
		p.starts = s.starts
		if err := s.file.Sync(); err != nil {
			return err
		}
	}
	p.layer++
	p.infos = append(p.infos, infos)
	return writeJSON(filepath.Join(p.dir, partialFile), partialState{p.key, p.starts, p.infos, fitted})
}

// key is a hash of all that the weights depend on.
func (r *rounder) key() (string, error) {
	formats := map[string]encoding.Format{}
	for _, f := range frozen(r.model.Base) {
		formats[f.name] = r.options.Format(f.name, f.head)
	}
	hash := sha256.New()
	err := json.NewEncoder(hash).Encode(struct {
		Version     int
		Recipe      *Recipe
		Base, Model string
		Calibration Calibration
		Points      []*Point
		Formats     map[string]encoding.Format
		Spec        any
	}{partialVersion, r.options.Recipe, r.q.Base, r.model.Base.Identity(), r.q.Calibration, r.q.Points, formats, r.model.Spec})
	for _, p := range r.model.Params.List() {
		err = errors.Join(err, binary.Write(hash, binary.LittleEndian, p.Data))
	}
	return hex.EncodeToString(hash.Sum(nil)), err
}
