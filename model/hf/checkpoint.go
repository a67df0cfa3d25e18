package hf

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	weightsFile = "model.safetensors"
	indexFile   = "model.safetensors.index.json"
)

// Checkpoint is a model's weights by their Hugging Face names, whatever files
// they come from. It may be used from several goroutines.
type Checkpoint struct {
	tensors map[string]stored
	closers []func() error
}

// stored is a tensor as it lies in its file.
type stored struct {
	Tensor
	file string
	// pairedHeads is not 0 if the rows of that many heads were reordered for
	// interleaved rotary embedding, as GGUF files of the llama family have them.
	pairedHeads int
	// shifted says that 1 was added to the numbers, as GGUF files have it in the
	// norms of the gemma family.
	shifted bool
}

// Open opens the weights of a model: a Hugging Face folder with
// model.safetensors or model.safetensors.index.json and its shards, a folder
// with one .gguf file, or a .gguf file. Files are mapped into memory and only
// their headers are read.
func Open(path string) (*Checkpoint, error) {
	switch {
	case isGGUF(path):
		return openGGUFCheckpoint(path)
	case exists(filepath.Join(path, weightsFile)):
		return openShards(path, []string{weightsFile}, nil)
	case exists(filepath.Join(path, indexFile)):
		return openIndex(path)
	}
	gguf, err := FindGGUF(path)
	if err != nil {
		return nil, err
	}
	if gguf == "" {
		return nil, noWeights(path)
	}
	return openGGUFCheckpoint(gguf)
}

// Names lists the tensors in alphabetical order.
func (c *Checkpoint) Names() []string { return slices.Sorted(maps.Keys(c.tensors)) }

// Has says whether the checkpoint holds the tensor.
func (c *Checkpoint) Has(name string) bool {
	_, ok := c.tensors[name]
	return ok
}

// FileOf returns the file that holds a tensor, "" if there is no such tensor.
func (c *Checkpoint) FileOf(name string) string { return c.tensors[name].file }

// Tensor returns a tensor: a view of the mapped file, or a copy where GGUF
// stores rows in another order than Hugging Face, or other numbers.
func (c *Checkpoint) Tensor(name string) (Tensor, error) {
	s, ok := c.tensors[name]
	if !ok {
		return Tensor{}, fmt.Errorf("tensor %s is not in the checkpoint, which holds %d others", name, len(c.tensors))
	}
	if s.pairedHeads > 0 {
		s.Data = unpairRows(s.Data, s.Shape[0], s.pairedHeads)
	}
	if s.shifted {
		return s.minusOne()
	}
	return s.Tensor, nil
}

// minusOne returns the tensor in F32 with 1 subtracted.
func (t Tensor) minusOne() (Tensor, error) {
	values, err := t.Float32()
	t.DType, t.Data = DTypeF32, make([]byte, 0, 4*len(values))
	for _, v := range values {
		t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(v-1))
	}
	return t, err
}

// Close unmaps all files. Tensors obtained from the checkpoint must not be read afterwards.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, closeFile := range c.closers {
		errs = append(errs, closeFile())
	}
	c.closers = nil
	return errors.Join(errs...)
}

// openIndex opens the shards that an index names, and of each the tensors that
// the index places there.
func openIndex(dir string) (*Checkpoint, error) {
	path := filepath.Join(dir, indexFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("open checkpoint: %w", err)
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &index); err != nil {
		return nil, fmt.Errorf("%s: invalid JSON: %w; %s", path, err, again)
	}
	if len(index.WeightMap) == 0 {
		return nil, fmt.Errorf("%s: found no weight_map, want one that names each tensor's file; %s", path, again)
	}
	for _, name := range slices.Sorted(maps.Keys(index.WeightMap)) {
		if shard := index.WeightMap[name]; !filepath.IsLocal(shard) {
			return nil, fmt.Errorf("%s: weight_map.%s: found %q, want a file name within the folder", path, name, shard)
		}
	}
	shards := slices.Compact(slices.Sorted(maps.Values(index.WeightMap)))
	return openShards(dir, shards, index.WeightMap)
}

// openShards opens safetensors files. weightMap says which file each tensor is
// in; nil takes every tensor of every file.
func openShards(dir string, shards []string, weightMap map[string]string) (*Checkpoint, error) {
	c := &Checkpoint{tensors: map[string]stored{}}
	files := map[string]*File{}
	for _, shard := range shards {
		f, err := OpenFile(filepath.Join(dir, shard))
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%s names the shard %s: %w; download it into %s", indexFile, shard, err, dir)
		}
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.closers = append(c.closers, f.Close)
		files[shard] = f
		if weightMap == nil {
			for name, t := range f.tensors {
				c.tensors[name] = stored{Tensor: t, file: f.path}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(weightMap)) {
		t, ok := files[weightMap[name]].tensors[name]
		if !ok {
			err := fmt.Errorf("%s: weight_map.%s: found the shard %s, which lacks this tensor; index and shards are of different models: download both again",
				filepath.Join(dir, indexFile), name, weightMap[name])
			return nil, errors.Join(err, c.Close())
		}
		c.tensors[name] = stored{Tensor: t, file: files[weightMap[name]].path}
	}
	return c, nil
}

// noWeights says what a folder without weights has instead.
func noWeights(path string) error {
	want := fmt.Sprintf("want %s, %s or one .gguf file", weightsFile, indexFile)
	found := "none of them"
	if old, _ := filesIn(path, ".bin"); len(old) > 0 {
		found = filepath.Base(old[0]) + ", which is not read since it can run code: save the model as safetensors"
	}
	return fmt.Errorf("%s: %s, found %s", path, want, found)
}

// FindGGUF returns the .gguf file that a path names or that the folder it names has one
// of, or "" if there is none.
func FindGGUF(path string) (string, error) {
	if isGGUF(path) {
		return path, nil
	}
	found, err := filesIn(path, ".gguf")
	if err != nil {
		return "", fmt.Errorf("open checkpoint: %w", err)
	}
	switch len(found) {
	case 0:
		return "", nil
	case 1:
		return found[0], nil
	default:
		return "", fmt.Errorf("%s: found %d .gguf files, want one: name the file itself, for example %s", path, len(found), found[0])
	}
}

// filesIn lists a folder's files with an extension.
func filesIn(dir, ext string) ([]string, error) {
	all, err := os.ReadDir(dir)
	var found []string
	for _, f := range all {
		if strings.EqualFold(filepath.Ext(f.Name()), ext) {
			found = append(found, filepath.Join(dir, f.Name()))
		}
	}
	return found, err
}

func isGGUF(path string) bool { return strings.EqualFold(filepath.Ext(path), ".gguf") }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
