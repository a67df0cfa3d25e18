package hf

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize/english"

	"eisft/internal/head"
)

// openFolder opens the safetensors files of a folder, nil if it has none that are a model's.
// As in transformers, model.safetensors goes before an index, and of the shards that an index
// names every tensor is read, listed or not (transformers 5, PreTrainedModel._load_pretrained_model).
func openFolder(dir string) (*Checkpoint, error) {
	found, err := filesIn(dir, ".safetensors")
	if err != nil {
		return nil, fmt.Errorf("open checkpoint: %w", err)
	}
	var weightMap map[string]string
	if exists(filepath.Join(dir, indexFile)) {
		if weightMap, err = readIndex(dir); err != nil {
			return nil, err
		}
	}
	single := exists(filepath.Join(dir, weightsFile))
	listed := slices.Compact(slices.Sorted(maps.Values(weightMap)))
	var c *Checkpoint
	switch {
	case single && !slices.Contains(listed, weightsFile):
		if c, err = openShards(dir, []string{weightsFile}, nil); err == nil {
			err = c.compare(dir, weightMap)
		}
	case weightMap != nil:
		if c, err = openListed(dir, listed, weightMap); err == nil {
			err = c.compareShards(dir, listed, found)
		}
	default:
		if listed, err = numbered(dir, found); err == nil && listed != nil {
			c, err = openShards(dir, listed, nil)
		}
	}
	if err != nil || c == nil {
		return nil, errors.Join(err, c.Close())
	}
	c.mention(dir, found)
	if kind, base := peftAdapter(dir); kind != "" {
		c.warn("%s: %s describes a PEFT adapter, which is not read: transformers would read %s with it in place of the weights here; delete the file if the adapter is merged into them, else merge it", dir, adapterFile, base)
	}
	return c, nil
}

// readIndex reads which file of a folder each tensor is in.
func readIndex(dir string) (map[string]string, error) {
	path := filepath.Join(dir, indexFile)
	text, err := head.ReadText(path, head.Index)
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
	return index.WeightMap, nil
}

// openListed opens the shards that an index names.
func openListed(dir string, shards []string, weightMap map[string]string) (*Checkpoint, error) {
	if err := complete(dir, shards, indexFile+" names"); err != nil {
		return nil, err
	}
	c, err := openShards(dir, shards, weightMap)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(weightMap)) {
		if c.tensors[name].file != weightMap[name] {
			err := fmt.Errorf("%s: weight_map.%s: found the shard %s, which lacks this tensor; index and shards are of different models: download both again",
				filepath.Join(dir, indexFile), name, weightMap[name])
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

// openShards opens safetensors files with all of their tensors. weightMap says which of the
// files has a tensor that several have; it may be nil.
func openShards(dir string, shards []string, weightMap map[string]string) (*Checkpoint, error) {
	c := &Checkpoint{tensors: map[string]stored{}}
	for _, shard := range shards {
		f, err := OpenFile(filepath.Join(dir, shard))
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.files, c.closers = append(c.files, f.path), append(c.closers, f.Close)
		for name, t := range f.tensors {
			other, twice := c.tensors[name]
			if listed := weightMap[name]; twice && listed == "" {
				err := fmt.Errorf("%s: tensor %s is both in %s and in %s; the files are of different models: download them again, without others beside them", dir, name, other.file, shard)
				return nil, errors.Join(err, c.Close())
			} else if listed == "" || listed == shard {
				c.tensors[name] = stored{Tensor: t, file: shard}
			}
		}
	}
	return c, nil
}

// complete reports the shards that are not there. who begins the message: "an index names".
func complete(dir string, shards []string, who string) error {
	var missing []string
	for _, shard := range shards {
		if !exists(filepath.Join(dir, shard)) {
			missing = append(missing, shard)
		}
	}
	if missing == nil {
		return nil
	}
	return fmt.Errorf("%s: %s %s, of which %s not there: %s; download what is missing into the folder",
		dir, who, english.Plural(len(shards), "file", ""), english.Plural(len(missing), "is", "are"), some(missing))
}

// compare holds model.safetensors to an index beside it, of which nothing is read.
func (c *Checkpoint) compare(dir string, weightMap map[string]string) error {
	if weightMap == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(weightMap)) {
		if !c.Has(name) {
			return fmt.Errorf("%s: found two models: %s has no tensor %s, which %s lists in %s; delete the one that is not to be read (transformers reads %s)",
				dir, weightsFile, name, indexFile, weightMap[name], weightsFile)
		}
	}
	for _, name := range c.Names() {
		if weightMap[name] == "" {
			return fmt.Errorf("%s: found two models: %s has the tensor %s, which %s does not list; delete the one that is not to be read (transformers reads %s)",
				dir, weightsFile, name, indexFile, weightsFile)
		}
	}
	c.warn("%s: %s is read, as transformers does, and the shards of %s beside it are not; delete those of the two that are not the model", dir, weightsFile, indexFile)
	return nil
}

// compareShards reports a tensor of a shard that the index does not list, if no listed file
// has it: without it, another model would be computed.
func (c *Checkpoint) compareShards(dir string, listed, found []string) error {
	for _, path := range found {
		name := filepath.Base(path)
		if slices.Contains(listed, name) || !shardName.MatchString(name) {
			continue
		}
		f, err := OpenFile(path)
		if err != nil {
			return fmt.Errorf("%w; %s does not list the file: delete it if it is no part of the model", err, indexFile)
		}
		for _, tensor := range f.Names() {
			if !c.Has(tensor) {
				err = fmt.Errorf("%s: tensor %s is in %s, which %s does not list; index and shards are of different versions: download all again, or delete the shard if it is no part of the model",
					dir, tensor, name, indexFile)
				break
			}
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// shardName is what shards are called: model-00001-of-00002.safetensors.
var shardName = regexp.MustCompile(`^(.+)-(\d{1,9})-of-(\d{1,9})\.safetensors$`)

// numbered returns the shards of a folder without an index, all that their numbering says
// there are; nil if there is none.
func numbered(dir string, found []string) ([]string, error) {
	var first []string // the parts of the first shard's name
	have := map[int]string{}
	for _, path := range found {
		name := filepath.Base(path)
		m := shardName.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		if first == nil {
			first = m
		}
		if m[1] != first[1] || m[3] != first[3] {
			return nil, fmt.Errorf("%s: found the shards of two models, %s and %s, and no %s to say which is meant; move one of them into a folder of its own", dir, first[0], name, indexFile)
		}
		n, _ := strconv.Atoi(m[2]) // nine digits at most
		have[n] = name
	}
	if first == nil {
		return nil, nil
	}
	total, _ := strconv.Atoi(first[3])
	const most = 1 << 16 // far more than there are of any model
	if total > most {
		return nil, fmt.Errorf("%s: found %s, which says that there are %d shards, want at most %d", dir, first[0], total, most)
	}
	var shards []string
	for n := 1; n <= total; n++ {
		shard := have[n]
		if shard == "" {
			shard = fmt.Sprintf("%s-%0*d-of-%s.safetensors", first[1], len(first[2]), n, first[3])
		}
		shards = append(shards, shard)
		delete(have, n)
	}
	for _, name := range have {
		return nil, fmt.Errorf("%s: found %s, whose number is not one of 1 to %d", dir, name, total)
	}
	return shards, complete(dir, shards, "the shards' own numbering names")
}

// mention warns of safetensors files that are not read, if that has not been said.
func (c *Checkpoint) mention(dir string, found []string) {
	if len(c.warnings) > 0 {
		return
	}
	used := map[string]bool{}
	for _, t := range c.tensors {
		used[t.file] = true
	}
	var unread []string
	for _, path := range found {
		if name := filepath.Base(path); !used[name] {
			unread = append(unread, name)
		}
	}
	verb := "are"
	if len(unread) == 1 {
		verb = "is"
	}
	if unread != nil {
		c.warn("%s: %s %s not read: the model's weights are in %s", dir, some(unread), verb, some(slices.Sorted(maps.Keys(used))))
	}
}

func (c *Checkpoint) warn(format string, args ...any) {
	c.warnings = append(c.warnings, fmt.Sprintf(format, args...))
}

// some lists the first few of many names.
func some(names []string) string {
	const most = 5
	if len(names) > most+1 {
		names = append(slices.Clone(names[:most]), fmt.Sprintf("%d more", len(names)-most))
	}
	return strings.Join(names, ", ")
}
