package train

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/dustin/go-humanize/english"

	"eisft/data"
	"eisft/internal/bytesize"
	"eisft/internal/floatcache"
	"eisft/internal/ranks"
	"eisft/model/kernels"
	"eisft/train/config"
)

// keptDir is where what the base makes of samples is kept, in the run's folder.
const keptDir = ".kept"

// keepBase runs a stage in which the engine keeps what the frozen base makes of samples, as
// the configuration has it. Ranks find each other's files. What a killed process has left is
// removed first: no limit counts it.
func (t *trainer) keepBase(run func() error) (err error) {
	dir := filepath.Join(t.Dir, keptDir)
	if err := t.write(func() error { return os.RemoveAll(dir) }); err != nil {
		return err
	}
	var c *floatcache.Cache
	switch t.config.Model.Cache {
	case config.CacheMemory:
		c = floatcache.InMemory(t.keptLimit())
	case config.CacheDisk:
		c, err = floatcache.OnDisk(dir, t.keptLimit(), func(err error) {
			if t.options.Warn != nil {
				t.options.Warn(fmt.Sprintf("model.cache: %v; nothing more is kept, and the base reads samples again", err))
			}
		})
		if err != nil {
			return err
		}
		defer func() {
			if t.group.Rank() == 0 {
				err = errors.Join(err, os.RemoveAll(dir))
			}
		}()
	default:
		return run()
	}
	t.engine.KeepBase(c, floatcache.Name(t.inputs["model.path"], t.inputs["model.quantized"], t.rounding != nil, kernels.Bits()))
	defer func() { t.engine.KeepBase(nil, "") }()
	return run()
}

// keptLimit is how many bytes a process may keep: of files, the ranks share the limit.
func (t *trainer) keptLimit() int64 {
	if t.config.Model.Cache == config.CacheDisk {
		return t.config.Model.CacheBytes / int64(t.size)
	}
	return t.config.Model.CacheBytes
}

// keeping follows what the processes of a stage keep, sample by sample, as their caches do.
type keeping struct {
	where        config.BaseCache
	limit        int64   // of a process
	held         []int64 // by each
	has          map[keptBy]bool
	read, spared int // samples that the stage asks for, and those of them that are kept
}

// keptBy is a sample that a rank has kept; files are found by all.
type keptBy struct{ rank, sample int }

// ask takes note that a rank asks for a sample, which takes so many bytes.
func (k *keeping) ask(rank, sample int, bytes int64) {
	at := keptBy{rank, sample}
	if k.where == config.CacheDisk {
		at.rank = 0
	}
	k.read++
	if k.has[at] {
		k.spared++
	} else if k.held[rank]+bytes <= k.limit {
		k.held[rank] += bytes
		k.has[at] = true
	}
}

// keptAgenda says what of a stage's samples will be kept, and what that saves, and returns
// how much of a process's memory it takes.
func (t *trainer) keptAgenda(s config.Stage, o outlook) (text string, memory int64, err error) {
	where := t.config.Model.Cache
	if o.keeps == nil || where != config.CacheMemory && where != config.CacheDisk {
		return "", 0, nil
	}
	k := keeping{where: where, limit: t.keptLimit(), held: make([]int64, t.size), has: map[keptBy]bool{}}
	sampler, err := t.source.Sampler(t.samples, uint64(t.config.Seed), data.Cursor{})
	if err != nil {
		return "", 0, err
	}
	optimizer, _ := config.OptimizerOf(s)
	each := func(n int, ask func(rank, i int)) {
		for rank := range t.size {
			for first, last := ranks.Share(rank, t.size, n); first < last; first++ {
				ask(rank, first)
			}
		}
	}
	for step := range optimizer.Steps + 1 {
		if step > 0 {
			each(optimizer.Batch, func(rank, _ int) {
				sample := sampler.Next()
				k.ask(rank, sample, o.keeps(t.survey.Lengths[sample]))
			})
		}
		if t.validates(step, optimizer) {
			each(len(t.validation), func(rank, i int) {
				k.ask(rank, len(t.samples)+i, o.keeps(len(t.validation[i].IDs)))
			})
		}
	}
	all := int64(0)
	for _, n := range k.held {
		all += n
	}
	if where == config.CacheMemory {
		memory = slices.Max(k.held)
	}
	return fmt.Sprintf("%s holds %s of %s: of %s of samples, %s are spared", where, bytesize.Megabytes(all),
		english.Plural(len(k.has), "sample", ""), english.Plural(k.read, "reading", ""), comma(k.spared)), memory, nil
}
