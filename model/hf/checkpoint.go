package hf

import (
	"encoding/binary"
	"errors"
	"fmt"
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
	tensors  map[string]stored // by the names of a causal language model's checkpoint
	decoder  string            // what the files' names of its decoder begin with, if it is not "model."
	inFiles  map[string]string // then: the files' names of the tensors
	warnings []string
	files    []string
	closers  []func() error
}

// stored is a tensor as it lies in its file.
type stored struct {
	Tensor
	file string // as its folder, or an index, names it
	// pairedHeads is not 0 if the rows of that many heads were reordered for
	// interleaved rotary embedding, as GGUF files of the llama family have them.
	pairedHeads int
	// shifted says that 1 was added to the numbers, as GGUF files have it in the
	// norms of the gemma family.
	shifted bool
}

// Open opens the weights of a model: a Hugging Face folder with
// model.safetensors, with model.safetensors.index.json and its shards, or with numbered shards
// alone, a folder with one .gguf file or the parts of one, or a .gguf file; see [Resolve]. Files are mapped into
// memory and only their headers are read. Tensors have the names of a causal language model
// (model.layers.0…, lm_head), whatever the files' names of its decoder begin with.
func Open(path string) (*Checkpoint, error) {
	path, err := Resolve(path)
	if err != nil {
		return nil, err
	}
	if isGGUF(path) {
		return openGGUFCheckpoint(path)
	}
	c, err := openFolder(path)
	if err != nil {
		return nil, err
	}
	if c != nil {
		if err := c.rename(); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", path, err), c.Close())
		}
		return c, nil
	}
	gguf, err := FindGGUF(path)
	if err != nil {
		return nil, err
	}
	if gguf == "" {
		return nil, noModel(path, fmt.Sprintf("%s, %s or one .gguf file", weightsFile, indexFile))
	}
	return openGGUFCheckpoint(gguf)
}

// Warnings lists what is odd about the files and was decided: what is not read, and why.
func (c *Checkpoint) Warnings() []string { return c.warnings }

// Names lists the tensors in alphabetical order.
func (c *Checkpoint) Names() []string { return slices.Sorted(maps.Keys(c.tensors)) }

// Files lists the files that the weights lie in.
func (c *Checkpoint) Files() []string { return slices.Clone(c.files) }

// Has says whether the checkpoint holds the tensor.
func (c *Checkpoint) Has(name string) bool {
	_, ok := c.tensors[name]
	return ok
}

// FileOf returns the file that holds a tensor, "" if there is no such tensor.
func (c *Checkpoint) FileOf(name string) string {
	file := c.tensors[name].file
	for _, path := range c.files {
		if file != "" && strings.HasSuffix(path, file) {
			return path
		}
	}
	return ""
}

// wrappers are the prefixes that modules of PyTorch around a model give its tensors' names.
var wrappers = []string{"module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."}

// Tensor returns a tensor: a view of the mapped file, or a copy where GGUF
// stores rows in another order than Hugging Face, or other numbers.
func (c *Checkpoint) Tensor(name string) (Tensor, error) {
	s, ok := c.tensors[name]
	if codes := strings.TrimSuffix(name, "weight") + "qweight"; !ok && c.Has(codes) {
		return Tensor{}, fmt.Errorf("tensor %s is not in the checkpoint, but %s is: its weights are quantized with GPTQ or AWQ, which is not read; take the model as it was before quantization, or a GGUF file of it", c.nameInFiles(name), c.nameInFiles(codes))
	}
	if !ok {
		for _, prefix := range wrappers {
			if c.Has(prefix + name) {
				return Tensor{}, fmt.Errorf("tensor %s is not in the checkpoint, but %s is: the model was saved inside a wrapper of PyTorch (DataParallel, torch.compile), whose prefix %q its names have; save the module within (model.module, model._orig_mod), or rename the tensors", c.nameInFiles(name), prefix+name, prefix)
			}
		}
		return Tensor{}, fmt.Errorf("tensor %s is not in the checkpoint, which holds %d others", c.nameInFiles(name), len(c.tensors))
	}
	if s.pairedHeads > 0 {
		s.Tensor = s.Gather(UnpairedRows(s.Shape[0], s.pairedHeads))
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
	if c == nil {
		return nil
	}
	var errs []error
	for _, closeFile := range c.closers {
		errs = append(errs, closeFile())
	}
	c.closers = nil
	return errors.Join(errs...)
}

// FindGGUF returns the .gguf file that a path names or that the folder it names has one
// of, or "" if there is none; of a model in parts, one of these.
func FindGGUF(path string) (string, error) {
	path, err := Resolve(path)
	if err != nil || isGGUF(path) {
		return path, err
	}
	found, err := filesIn(path, ".gguf")
	if err != nil {
		return "", fmt.Errorf("open checkpoint: %w", err)
	}
	models := slices.DeleteFunc(slices.Clone(found), func(file string) bool { // what sees, beside its text model
		return strings.HasPrefix(strings.ToLower(filepath.Base(file)), "mmproj")
	})
	if len(models) == 0 {
		models = found
	}
	switch models = wholeModels(models); len(models) {
	case 0:
		return "", nil
	case 1:
		return models[0], nil
	}
	return "", fmt.Errorf("%s: found %d .gguf files, want one: name the file itself, for example %s", path, len(models), models[0])
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
